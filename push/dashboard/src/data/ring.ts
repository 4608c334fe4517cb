/**
 * Ring holds the newest readings of one series in typed arrays: the only place
 * where readings are kept. A hole in the stream is an entry whose value is NaN.
 */
export class Ring {
  #times: Float64Array;
  #values: Float64Array;
  #offsets: Float64Array;
  #start = 0;
  #length = 0;

  /** Counts changes, so that a painter knows whether there is something new. */
  version = 0;

  /** Counts the holes. */
  cuts = 0;

  constructor(capacity: number) {
    this.#times = new Float64Array(capacity);
    this.#values = new Float64Array(capacity);
    this.#offsets = new Float64Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  get capacity(): number {
    return this.#times.length;
  }

  /** The i-th oldest; i must be below length. Unix milliseconds. */
  time(i: number): number {
    return this.#times[this.#at(i)] as number;
  }

  value(i: number): number {
    return this.#values[this.#at(i)] as number;
  }

  offset(i: number): number {
    return this.#offsets[this.#at(i)] as number;
  }

  /** Adds the newest; the oldest makes room. */
  push(offset: number, time: number, value: number): void {
    const i = this.#at(this.#length);
    this.#times[i] = time;
    this.#values[i] = value;
    this.#offsets[i] = offset;
    if (this.#length < this.capacity) this.#length++;
    else this.#start = (this.#start + 1) % this.capacity;
    this.version++;
  }

  /** Marks that something is missing after the newest reading. */
  cut(): void {
    this.cuts++;
    const last = this.#length - 1;
    if (last < 0 || Number.isNaN(this.value(last))) return;
    this.push(this.offset(last), this.time(last), NaN);
  }

  clear(): void {
    this.#start = this.#length = 0;
    this.version++;
  }

  /** Changes the capacity and keeps the newest that fit. */
  resize(capacity: number): void {
    if (capacity === this.capacity) return;
    const next = new Ring(capacity);
    for (let i = Math.max(0, this.#length - capacity); i < this.#length; i++) {
      next.push(this.offset(i), this.time(i), this.value(i));
    }
    this.#take(next);
  }

  #at(i: number): number {
    return (this.#start + i) % this.#times.length;
  }

  #take(other: Ring): void {
    this.#times = other.#times;
    this.#values = other.#values;
    this.#offsets = other.#offsets;
    this.#start = other.#start;
    this.#length = other.#length;
    this.version++;
  }
}
