import type { Value } from '../transport/wire.ts';
import { Ring } from './ring.ts';

export type Kind = 'number' | 'state';

/** Capacity of a series that only a card shows, and of one whose chart is open. */
export const cardCapacity = 60;
export const chartCapacity = 4096;

/** Different words that a state may have; beyond, they share the last place. */
const maxWords = 256;

/** Series is one metric of one device. Numbers stand in the ring as they are, states as places in `words`. */
export class Series {
  readonly device: string;
  readonly metric: string;
  readonly ring = new Ring(cardCapacity);
  /** What shows this series; marked when a reading comes. */
  readonly cells = new Set<object>();
  kind: Kind = 'number';
  words: string[] = [];
  last: Value = '';
  lastTime = 0;
  /** Most decimals seen, so that a value does not change its width with every reading. */
  decimals = 0;

  constructor(device: string, metric: string) {
    this.device = device;
    this.metric = metric;
  }

  push(offset: number, time: number, value: Value): void {
    const kind = kindOf(value);
    if (kind !== this.kind) this.#become(kind);
    this.last = value;
    this.lastTime = time;
    this.ring.push(offset, time, this.code(value));
  }

  /** How the value stands in the ring. */
  code(value: Value): number {
    if (typeof value === 'number') return value;
    const word = wordOf(value);
    let i = this.words.indexOf(word);
    if (i < 0) {
      i = Math.min(this.words.length, maxWords - 1);
      this.words[i] = word;
    }
    return i;
  }

  #become(kind: Kind): void {
    this.kind = kind;
    this.words = [];
    this.decimals = 0;
    this.ring.clear();
  }
}

export function kindOf(value: Value): Kind {
  return typeof value === 'number' ? 'number' : 'state';
}

export function wordOf(value: Value): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return String(value);
}
