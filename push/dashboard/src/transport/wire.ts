// How messages are read.

import type { Cursor, DeviceState, Failure, Gap, Message, Presence, Readings, Reset } from './messages.ts';

export type * from './messages.ts';

/** Reads `<store>-<offset>`; null if it is not of that form. */
export function parseCursor(text: string): Cursor | null {
  const dash = text.lastIndexOf('-');
  const digits = text.slice(dash + 1);
  if (dash < 1 || !/^\d+$/.test(digits)) return null;
  return { store: text.slice(0, dash), offset: Number(digits) };
}

/** Reads one message; null for kinds that this client did not ask for, an Error for what is no message. */
export function parseMessage(text: string): Message | null {
  return checkMessage(JSON.parse(text));
}

/** Is parseMessage for what has been read from JSON already. */
export function checkMessage(raw: unknown): Message | null {
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
