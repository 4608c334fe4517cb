// The messages of GET api/v1/live, the same on every technique.

export type Value = number | boolean | string;

/** One value of one metric of one device at one moment; time is Unix milliseconds. */
export interface Reading {
  offset: number;
  device: string;
  metric: string;
  time: number;
  value: Value;
}

export interface Readings {
  type: 'readings';
  cursor: string;
  readings: Reading[];
}

/** Something asked for is no longer kept, or was left out to catch up. */
export interface Gap {
  type: 'gap';
  cursor: string;
  from?: string;
  reason: string;
}

/** The store is another one: whatever was shown before belongs to the past. */
export interface Reset {
  type: 'reset';
  cursor: string;
  reason: string;
}

/** A metric that tells of the device itself. */
export interface Gauge {
  metric: string;
  value: number;
}

/** What the server knows of a device beside its readings; what it does not know is absent. Times and lengths are milliseconds. */
export interface Presence {
  id: string;
  /** Removed: its registration has ended, and it never sent. Unknown: not heard since the server started. */
  state: 'online' | 'late' | 'offline' | 'unknown' | 'removed';
  /** For people. */
  name?: string;
  received?: number;
  since?: number;
  interval?: number;
  address?: string;
  transport?: string;
  /** Plain readings in its name are refused. */
  guarded?: boolean;
  clock: 'ok' | 'wrong';
  /** By how much its clock is ahead. */
  skew?: number;
  /** Percent. */
  loss?: number;
  duplicates: number;
  limited?: number;
  battery?: Gauge;
  rssi?: Gauge;
}

/** The state of a device; it has no position in the stream. */
export interface DeviceState {
  type: 'device';
  device: Presence;
}

export interface Failure {
  type: 'error';
  error: string;
}

export type Message = Readings | Gap | Reset | DeviceState | Failure;

export interface Cursor {
  store: string;
  offset: number;
}

/** Reads `<store>-<offset>`; null if it is not of that form. */
export function parseCursor(text: string): Cursor | null {
  const dash = text.lastIndexOf('-');
  const digits = text.slice(dash + 1);
  if (dash < 1 || !/^\d+$/.test(digits)) return null;
  return { store: text.slice(0, dash), offset: Number(digits) };
}

/** Reads one message; null for kinds that this client did not ask for, an Error for what is no message. */
export function parseMessage(text: string): Message | null {
  const raw: unknown = JSON.parse(text);
  if (typeof raw !== 'object' || raw === null || !('type' in raw)) throw new Error('not a message');
  const m = raw as { type: unknown; cursor?: unknown; readings?: unknown };
  switch (m.type) {
    case 'readings':
      if (typeof m.cursor !== 'string' || !Array.isArray(m.readings)) throw new Error('readings without a cursor');
      return raw as Readings;
    case 'gap':
    case 'reset':
      if (typeof m.cursor !== 'string') throw new Error(`${m.type} without a cursor`);
      return raw as Gap | Reset;
    case 'device': {
      const { device } = raw as { device?: Partial<Presence> | null };
      if (typeof device?.id !== 'string' || typeof device.state !== 'string') throw new Error('a device without id or state');
      return raw as DeviceState;
    }
    case 'error':
      return raw as Failure;
    default:
      return null;
  }
}
