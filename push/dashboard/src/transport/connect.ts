import { signal, type ReadonlySignal } from '@preact/signals-core';
import { delay, reconnect, type Backoff } from './backoff.ts';
import { later, StatusError, withQuery, type Env, type Start, type Technique } from './carrier.ts';
import { Order } from './order.ts';
import { answerWithin, ask, startLongPoll, startPoll } from './polls.ts';
import { startNDJSON, startSSE } from './streams.ts';
import { Trial, type Judge } from './trial.ts';
import { startWebSocket } from './websocket.ts';
import type { Message } from './wire.ts';

export type Phase = 'connecting' | 'live' | 'waiting' | 'unauthorized' | 'closed';

export interface LinkState {
  phase: Phase;
  /** What carries the stream; null unless live. */
  technique: Technique | null;
  /** When the next try is made, on the clock of `now`; only while waiting. */
  retryAt: number;
  /** Why the last connection ended, for people. */
  error: string;
}

/** Counters, read at leisure. */
export interface LinkStats {
  readings: number;
  reconnects: number;
  cursor: string | null;
  /** The server's clock minus ours, milliseconds, right to a second; 0 until known. */
  clockOffset: number;
}

export interface Options {
  /** Readings of each series to begin with. */
  last?: number;
  /** Use this technique alone. */
  technique?: Technique | null;
  env?: Partial<Env>;
}

export interface Connection {
  readonly state: ReadonlySignal<LinkState>;
  readonly stats: Readonly<LinkStats>;
  /** The technique that is used alone; null if the choice is free. */
  readonly forced: ReadonlySignal<Technique | null>;
  /** Use this technique alone from now on, or choose freely again. */
  force(technique: Technique | null): void;
  /** Look now whether the connection still carries, or try now if it is waiting. */
  check(): void;
  close(): void;
}

const starts: Record<Technique, Start> = {
  websocket: startWebSocket,
  sse: startSSE,
  stream: startNDJSON,
  longpoll: startLongPoll,
  poll: startPoll,
  socketio: later(() => import('./socketio.ts').then((m) => m.startSocketIO)), // only for who forces it
};

const upgrade: Backoff = { first: 30_000, most: 300_000 };

/** A connection that lasted this long, in milliseconds, was a good one: what follows is a first failure. */
const goodAfter = 5000;

/** A WebSocket that is cut sooner, several times in a row, is not worth having. */
const cutWithin = 10_000;
const maxCuts = 3;

/** How long each technique may be silent before a probe. Streams have a heartbeat every 15 s, Socket.IO every 25 s, a WebSocket's is invisible here. */
const quiet: Record<Technique, number> = { websocket: 20_000, sse: 35_000, stream: 35_000, longpoll: 40_000, poll: 20_000, socketio: 35_000 };
const watchEvery = 5000;

/** A timer this late means that the machine slept. */
const slept = 15_000;

/** Readings that a probe brought must come by the carrier too, this much later. */
const probeGrace = 3000;

/** After a longer absence a new snapshot is quicker than all that was missed. */
const resumeWithin = 5 * 60_000;

/**
 * Connects to a live URL and keeps connected until closed. onMessage gets every
 * reading once and in order, from the snapshot on, whichever techniques carry
 * them; a reset says that what came before belongs to another store.
 *
 * It begins with polling, which works everywhere, and looks for something
 * better meanwhile: a WebSocket that hangs or is refused costs nothing.
 */
export function connect(url: URL | string, options: Options, onMessage: (m: Message) => void): Connection {
  return new Link(new URL(url), options, onMessage);
}

class Link implements Connection, Judge {
  readonly #url: URL;
  readonly #env: Env;
  readonly #last: number;
  readonly #onMessage: (m: Message) => void;
  readonly #order = new Order();
  readonly #state = signal<LinkState>({ phase: 'connecting', technique: null, retryAt: 0, error: '' });
  readonly #stats: LinkStats = { readings: 0, reconnects: 0, cursor: null, clockOffset: 0 };

  readonly #forced = signal<Technique | null>(null);
  #active: Trial | null = null;
  #candidate: Trial | null = null;
  #abort = new AbortController();
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #upgradeTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #watchTimer: ReturnType<typeof setInterval>;

  #failures = 0; // starts in a row that came to nothing
  #refusals = 0; // WebSockets in a row that did not open or carry
  #cuts = 0; // WebSockets in a row that were cut soon
  #notBefore = 0; // when to try a WebSocket again
  #since: number; // when the active carrier took over
  #aliveAt: number;
  #watchedAt: number;
  #probing = false;

  constructor(url: URL, options: Options, onMessage: (m: Message) => void) {
    this.#url = url;
    this.#last = options.last ?? 60;
    this.#forced.value = options.technique ?? null;
    this.#onMessage = onMessage;
    this.#env = {
      fetch: (input, init) => fetch(input, init),
      WebSocket: globalThis.WebSocket,
      now: () => Date.now(),
      random: Math.random,
      ...options.env,
    };
    this.#since = this.#aliveAt = this.#watchedAt = this.#env.now();
    this.#watchTimer = setInterval(() => this.#watch(), watchEvery);
    void this.#start();
  }

  get state(): ReadonlySignal<LinkState> {
    return this.#state;
  }

  get forced(): ReadonlySignal<Technique | null> {
    return this.#forced;
  }

  get stats(): Readonly<LinkStats> {
    return this.#stats;
  }

  force(technique: Technique | null): void {
    if (this.#state.value.phase === 'closed') return;
    this.#forced.value = technique;
    this.#refusals = this.#cuts = this.#failures = this.#notBefore = 0;
    this.#stop();
    this.#set('connecting', {});
    void this.#start();
  }

  check(): void {
    const { phase } = this.#state.value;
    if (phase === 'waiting') {
      this.#stop();
      void this.#start();
    } else if (phase === 'live') {
      void this.#probe();
    }
  }

  close(): void {
    this.#stop();
    clearInterval(this.#watchTimer);
    this.#set('closed', {});
  }

  // Judge: what the carriers report.

  received(): number {
    return this.#stats.readings;
  }

  alive(): void {
    this.#aliveAt = this.#env.now();
  }

  message(_: Trial, m: Message): void {
    this.#pass(m);
  }

  promote(trial: Trial): void {
    if (trial === this.#candidate) this.#candidate = null;
    this.#active?.close();
    this.#active = trial;
    this.#since = this.#aliveAt = this.#env.now();
    if (trial.technique === 'websocket') {
      clearTimeout(this.#upgradeTimer);
      this.#refusals = 0;
    }
    this.#set('live', { technique: trial.technique });
  }

  fail(trial: Trial, reason: Error): void {
    if (trial === this.#candidate) {
      this.#candidate = null;
      if (this.#active === null) this.#retry(reason);
      else this.#refused(trial.technique);
      return;
    }
    if (trial !== this.#active) return;
    const short = this.#env.now() - this.#since < cutWithin;
    if (trial.technique === 'websocket') this.#cuts = short ? this.#cuts + 1 : 0;
    this.#retry(reason);
  }

  // The way up: snapshot or resume, long polling, something better.

  async #start(): Promise<void> {
    const abort = (this.#abort = new AbortController());
    const cursor = this.#order.cursor;
    const leap = cursor !== null && this.#env.now() - this.#aliveAt > resumeWithin;
    const position: Record<string, string> = cursor === null || leap ? { last: String(this.#last) } : { after: cursor };
    try {
      const { message, date } = await ask(this.#env, withQuery(this.#url, position), answerWithin, abort.signal);
      if (abort.signal.aborted) return;
      if (date !== null) this.#stats.clockOffset = date + 500 - Date.now();
      this.alive();
      if (leap) this.#onMessage({ type: 'gap', cursor, from: cursor, reason: 'away' });
      if (message) this.#pass(message);
      if (abort.signal.aborted) return;
    } catch (reason) {
      if (!abort.signal.aborted) this.#retry(reason as Error);
      return;
    }
    const forced = this.#forced.peek();
    if (forced === null || forced === 'longpoll' || forced === 'poll') {
      const trial = this.#try(forced ?? 'longpoll', true);
      trial.trust();
      this.promote(trial);
    }
    if (forced === null) this.#upgrade();
    else if (this.#active === null) this.#candidate = this.#try(forced, true);
  }

  #try(technique: Technique, alone: boolean): Trial {
    const request = { url: this.#url, cursor: () => this.#order.cursor, env: this.#env };
    return new Trial(technique, starts[technique], request, this, alone);
  }

  #upgrade(): void {
    if (this.#candidate !== null || this.#active === null) return;
    if (this.#cuts >= maxCuts) {
      this.#cuts = 0;
      this.#refused('websocket');
    } else if (this.#env.now() < this.#notBefore) {
      this.#fallBack();
    } else {
      this.#candidate = this.#try('websocket', false);
    }
  }

  /** A better technique did not work: try the next one down, and the WebSocket again later. */
  #refused(technique: Technique): void {
    if (technique !== 'websocket') return;
    this.#refusals++;
    this.#notBefore = this.#env.now() + delay(upgrade, this.#refusals, this.#env.random);
    this.#fallBack();
  }

  #fallBack(): void {
    clearTimeout(this.#upgradeTimer);
    this.#upgradeTimer = setTimeout(() => this.#upgrade(), Math.max(0, this.#notBefore - this.#env.now()));
    if (this.#active?.technique === 'longpoll') this.#candidate = this.#try('sse', false);
  }

  // The way down.

  #stop(): void {
    this.#abort.abort();
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#upgradeTimer);
    this.#active?.close();
    this.#candidate?.close();
    this.#active = this.#candidate = null;
    this.#probing = false;
  }

  #retry(reason: Error): void {
    const lasted = this.#active !== null && this.#env.now() - this.#since >= goodAfter;
    this.#stop();
    if (reason instanceof StatusError && (reason.status === 401 || reason.status === 403)) {
      this.#set('unauthorized', { error: reason.message });
      return;
    }
    this.#failures = lasted ? 1 : this.#failures + 1;
    this.#stats.reconnects++;
    const wait = delay(reconnect, this.#failures, this.#env.random);
    this.#set('waiting', { retryAt: this.#env.now() + wait, error: reason.message });
    this.#retryTimer = setTimeout(() => void this.#start(), wait);
  }

  #set(phase: Phase, rest: Partial<LinkState>): void {
    this.#state.value = { phase, technique: null, retryAt: 0, error: '', ...rest };
  }

  #pass(message: Message): void {
    for (const m of this.#order.accept(message)) {
      if (m.type === 'readings') this.#stats.readings += m.readings.length;
      this.#stats.cursor = this.#order.cursor;
      this.#onMessage(m);
      if (m.type === 'reset') {
        this.#order.clear();
        this.#retry(new Error(m.reason));
        return;
      }
    }
  }

  // The watch: is what seems quiet still there?

  #watch(): void {
    const now = this.#env.now();
    if (now < this.#watchedAt) this.#since = this.#aliveAt = now; // the clock was set back
    const late = now - this.#watchedAt > watchEvery + slept;
    this.#watchedAt = now;
    const { phase, technique } = this.#state.value;
    if (phase !== 'live' || technique === null) return;
    if (late || now - this.#aliveAt > quiet[technique]) void this.#probe();
  }

  async #probe(): Promise<void> {
    const active = this.#active;
    const cursor = this.#order.cursor;
    if (this.#probing || active === null || cursor === null) return;
    this.#probing = true;
    const before = this.#aliveAt;
    try {
      const { message } = await ask(this.#env, withQuery(this.#url, { after: cursor }), answerWithin, this.#abort.signal);
      if (active !== this.#active) return;
      const some = message?.type === 'readings' && message.readings.length > 0;
      if (message) this.#pass(message);
      if (!some) this.alive();
      else if (this.#aliveAt === before) setTimeout(() => this.#expect(active, before), probeGrace);
    } catch (reason) {
      if (active === this.#active) this.#retry(reason as Error);
    } finally {
      if (active === this.#active) this.#probing = false;
    }
  }

  /** The probe brought readings: a carrier that works brings them too. */
  #expect(active: Trial, before: number): void {
    if (active === this.#active && this.#aliveAt === before) this.#retry(new Error('silent'));
  }
}
