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
