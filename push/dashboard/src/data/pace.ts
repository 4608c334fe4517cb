/** Intervals that are remembered to find the usual one. */
const remembered = 15;

/** A device may always be silent for this long, in milliseconds. */
const patience = 5000;

/** So many usual intervals without a reading mean that something is wrong, and three times as many that the device is gone. */
const missed = 3;

/** Longest interval that counts as one: beyond, the device was away. */
const longest = 24 * 3600_000;

/** Pace learns how often a device sends, from the times of its readings. */
export class Pace {
  #intervals: number[] = [];
  #next = 0;
  #last = NaN;
  #median = NaN;

  /** Takes the time of a reading; those of one moment count once. */
  beat(time: number): void {
    const interval = time - this.#last;
    if (interval <= 0) return;
    this.#last = time;
    if (!(interval < longest)) return;
    this.#intervals[this.#next] = interval;
    this.#next = (this.#next + 1) % remembered;
    this.#median = NaN;
  }

  /** The usual interval in milliseconds; NaN until two readings have come. */
  get usual(): number {
    if (Number.isNaN(this.#median) && this.#intervals.length > 0) {
      const sorted = [...this.#intervals].sort((a, b) => a - b);
      this.#median = sorted[sorted.length >> 1] as number;
    }
    return this.#median;
  }

  /** What a silence of so many milliseconds means. */
  judge(silence: number): 'online' | 'late' | 'offline' {
    const expected = Math.max(patience, missed * (Number.isNaN(this.usual) ? 0 : this.usual));
    if (silence <= expected) return 'online';
    return silence <= missed * expected ? 'late' : 'offline';
  }
}
