import { batch, signal, type Signal } from '@preact/signals-core';
import type { Message, Presence, Reading } from '../transport/wire.ts';
import { Pace } from './pace.ts';
import { Series } from './series.ts';

/** Whether a device is there; silent: it has sent nothing yet. */
export type DeviceState = 'online' | 'late' | 'offline' | 'silent';

/** Whether its last values may no longer be true. */
export function isStale(state: DeviceState): boolean {
  return state === 'late' || state === 'offline';
}

/** How long a device counts as new, in milliseconds. */
const newFor = 60_000;

const natural = new Intl.Collator(undefined, { numeric: true });

/** Device is what the page knows of one device. Its signals change with its structure, never with a reading. */
export class Device {
  readonly id: string;
  readonly series: Signal<readonly Series[]> = signal([]);
  readonly state: Signal<DeviceState>;
  /** What the server says of it; null until it does. */
  readonly presence: Signal<Presence | null> = signal(null);
  /** What people call it; empty: nothing but its id. */
  readonly name = signal('');
  readonly isNew: Signal<boolean>;
  readonly pace = new Pace();
  readonly byMetric = new Map<string, Series>();
  /** What shows the age; marked when a reading comes. */
  readonly cells = new Set<object>();
  /** When we last heard of it, on our clock, Unix milliseconds. */
  heardAt = 0;
  /** Newest time that it gave. */
  lastTime = 0;
  readings = 0;
  /** When it began to count as new, on our clock. */
  firstAt: number;

  constructor(id: string, isNew: boolean, now: number, state: DeviceState) {
    this.id = id;
    this.isNew = signal(isNew);
    this.firstAt = now;
    this.state = signal(state);
  }

  /** The server's word, or where it has none, what the rhythm of the readings says. */
  judge(now: number): DeviceState {
    const told = this.presence.peek()?.state;
    if (told === 'online' || told === 'late' || told === 'offline') return told;
    return this.readings === 0 ? 'silent' : this.pace.judge(now - this.heardAt);
  }
}

/** The right edge of a device's charts: its own clock, going on since it was last heard. Unix milliseconds. */
export function edgeOf(device: Device, now: number): number {
  return device.lastTime + Math.max(0, now - device.heardAt);
}

/** What people call a device. */
export function titleOf(device: Device): string {
  return device.name.value || device.id;
}

/** What a batch of readings changed, for the painter. */
export interface Touched {
  mark(cell: object): void;
}

/** When and how a message came. */
export interface Arrival {
  /** Our clock, Unix milliseconds. */
  now: number;
  /** The server's clock minus ours, milliseconds. */
  clockOffset: number;
  /** Whether it was pushed as it happened, not fetched later. */
  live: boolean;
}

/** Board is everything the page shows: the devices and their series, fed by the live stream. */
export class Board {
  /** In natural order of their ids. */
  readonly devices: Signal<readonly Device[]> = signal([]);
  /** Whether the first answer has come, be it empty. */
  readonly begun = signal(false);
  /** Readings received, and those of them that were pushed as they happened. */
  readings = 0;
  pushed = 0;
  /** The server may tell of thousands of devices one by one: they are listed together, at the next review. */
  #unlisted = false;
  readonly #byId = new Map<string, Device>();
  readonly #touched: Touched;

  constructor(touched: Touched) {
    this.#touched = touched;
  }

  device(id: string): Device | undefined {
    return this.#byId.get(id);
  }

  apply(message: Message, arrival: Arrival): void {
    switch (message.type) {
      case 'readings':
        this.#readings(message.readings, arrival);
        break;
      case 'gap':
        for (const d of this.#byId.values()) for (const s of d.byMetric.values()) s.ring.cut();
        break;
      case 'reset':
        this.#byId.clear();
        this.devices.value = [];
        this.begun.value = false;
        break;
      case 'device':
        if (this.#presence(message.device, arrival.now)) this.#unlisted = true;
        break;
      case 'error':
        break;
    }
  }

  /** What the server says of its devices where it does not push that. */
  learn(presences: readonly Presence[], now: number): void {
    batch(() => {
      for (const p of presences) if (this.#presence(p, now)) this.#unlisted = true;
      this.#list();
    });
  }

  /** Once a second: who is there, and who has been silent for too long. Returns those whose state changed. */
  review(now: number): Device[] {
    const changed: Device[] = [];
    batch(() => {
      if (this.#unlisted) this.#list();
      for (const d of this.#byId.values()) {
        if (this.#judge(d, now)) changed.push(d);
        if (d.isNew.peek() && now - d.firstAt > newFor) d.isNew.value = false;
      }
    });
    return changed;
  }

  #judge(d: Device, now: number): boolean {
    const state = d.judge(now);
    if (state === d.state.peek()) return false;
    d.state.value = state;
    for (const s of d.byMetric.values()) for (const cell of s.cells) this.#touched.mark(cell);
    return true;
  }

  /** Returns whether there is a device more, or less. */
  #presence(p: Presence, now: number): boolean {
    let d = this.#byId.get(p.id);
    if (p.state === 'removed') return d !== undefined && d.readings === 0 && this.#byId.delete(p.id);
    const isNew = !d;
    const first = d?.presence.peek() == null;
    if (!d) {
      d = new Device(p.id, false, now, 'silent');
      this.#byId.set(p.id, d);
    }
    d.presence.value = p;
    d.name.value = p.name ?? '';
    if (first) this.#judge(d, now); // else the next review tells the change
    return isNew;
  }

  #readings(readings: readonly Reading[], arrival: Arrival): void {
    const grown = new Set<Device>();
    let more = false;
    for (const r of readings) {
      let d = this.#byId.get(r.device);
      if (!d) {
        d = new Device(r.device, arrival.live, arrival.now, 'online');
        this.#byId.set(r.device, d);
        more = true;
      }
      let s = d.byMetric.get(r.metric);
      if (!s) {
        s = new Series(r.device, r.metric);
        d.byMetric.set(r.metric, s);
        grown.add(d);
      }
      const before = s.kind;
      s.push(r.offset, r.time, r.value);
      if (before !== s.kind) grown.add(d);
      this.#hear(d, r.time, arrival);
      for (const cell of s.cells) this.#touched.mark(cell);
      for (const cell of d.cells) this.#touched.mark(cell);
    }
    this.readings += readings.length;
    if (arrival.live) this.pushed += readings.length;
    this.begun.value = true;
    if (more || grown.size > 0) batch(() => this.#publish(grown, more || this.#unlisted));
  }

  #hear(d: Device, time: number, arrival: Arrival): void {
    if (d.readings++ === 0) this.#greet(d, arrival);
    d.pace.beat(time);
    if (time > d.lastTime) d.lastTime = time;
    const at = arrival.live ? arrival.now : Math.min(arrival.now, time - arrival.clockOffset);
    if (at > d.heardAt) d.heardAt = at;
  }

  /** Its first reading; that it is there may have been told before, or a moment ago. */
  #greet(d: Device, arrival: Arrival): void {
    if (d.state.peek() === 'silent') d.state.value = 'online';
    if (!arrival.live) return;
    d.isNew.value = true;
    d.firstAt = arrival.now;
  }

  #publish(grown: ReadonlySet<Device>, more: boolean): void {
    for (const d of grown) {
      d.series.value = [...d.byMetric.values()].sort((a, b) => natural.compare(a.metric, b.metric));
    }
    if (more) this.#list();
  }

  #list(): void {
    this.#unlisted = false;
    this.devices.value = [...this.#byId.values()].sort((a, b) => natural.compare(a.id, b.id));
  }
}
