import type { Ring } from './ring.ts';

/** Readings of one stretch of time as columns, ascending; null is a hole. Times in seconds, as charts want them. */
export interface Columns {
  times: number[];
  values: (number | null)[];
}

/**
 * Copies what lies in [from, to] (Unix milliseconds) and one reading before it,
 * so that a line enters from the edge. More than two readings for each of
 * `pixels` are thinned to the lowest and highest of each pixel.
 */
export function windowOf(ring: Ring, from: number, to: number, pixels: number): Columns {
  const picked: number[] = [];
  let sorted = true;
  for (let i = 0; i < ring.length; i++) {
    const t = ring.time(i);
    const enters = t < from && i + 1 < ring.length && ring.time(i + 1) >= from;
    if ((t < from && !enters) || t > to) continue;
    const before = picked.at(-1);
    if (before !== undefined && t < ring.time(before)) sorted = false;
    picked.push(i);
  }
  if (!sorted) picked.sort((a, b) => ring.time(a) - ring.time(b) || a - b);
  const kept = picked.length > pixels * 2 ? thin(ring, picked, from, to, pixels) : picked;
  return {
    times: kept.map((i) => ring.time(i) / 1000),
    values: kept.map((i) => {
      const v = ring.value(i);
      return Number.isNaN(v) ? null : v;
    }),
  };
}

function thin(ring: Ring, picked: readonly number[], from: number, to: number, pixels: number): number[] {
  const out: number[] = [];
  const width = (to - from) / pixels;
  let low = -1;
  let high = -1;
  let bucket = -Infinity;
  const flush = (): void => {
    if (low >= 0) out.push(...(low === high ? [low] : ring.time(low) <= ring.time(high) ? [low, high] : [high, low]));
    low = high = -1;
  };
  for (const i of picked) {
    const b = Math.floor((ring.time(i) - from) / width);
    if (b !== bucket) {
      flush();
      bucket = b;
    }
    const v = ring.value(i);
    if (Number.isNaN(v)) {
      flush();
      out.push(i);
    } else {
      if (low < 0 || v < ring.value(low)) low = i;
      if (high < 0 || v >= ring.value(high)) high = i;
    }
  }
  flush();
  return out;
}

/** Lowest and highest of the columns; null if there is none. */
export function extent(values: readonly (number | null)[]): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    if (v === null) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : null;
}

/** A range that starts around the values and afterwards only grows, so that the scale does not flicker. */
export class GrowingRange {
  #low = Infinity;
  #high = -Infinity;

  reset(): void {
    this.#low = Infinity;
    this.#high = -Infinity;
  }

  take(values: readonly (number | null)[]): [number, number] {
    const seen = extent(values);
    if (seen) {
      const [low, high] = seen;
      const room = (high - low || Math.abs(high) || 1) * 0.12;
      if (low < this.#low) this.#low = low - room;
      if (high > this.#high) this.#high = high + room;
    }
    return this.#low <= this.#high ? [this.#low, this.#high] : [0, 1];
  }
}
