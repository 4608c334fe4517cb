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
