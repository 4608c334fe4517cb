import type { Presence, Reading } from '../transport/wire.ts';

/** Recent knows the middle one of the last few figures, so that one that is far off says nothing. */
export class Recent {
  readonly #most: number;
  readonly #figures: number[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  add(figure: number): void {
    this.#figures.push(figure);
    if (this.#figures.length > this.#most) this.#figures.shift();
  }

  clear(): void {
    this.#figures.length = 0;
  }

  /** null before the first. */
  get median(): number | null {
    const sorted = this.#figures.toSorted((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? null;
  }
}

/** An answer in which the server told its time. All in milliseconds. */
interface Told {
  /** The server's clock minus ours, wrong by at most half the round trip. */
  offset: number;
  roundTrip: number;
}

/** How many answers a clock goes by: it drifts. */
const believed = 8;

/** ServerClock is what we know of the server's clock. */
export class ServerClock {
  #told: Told[] = [];

  /** The question went out at `asked` and was answered at `answered` by our clock; the server says `time`. Unix milliseconds. */
  note(asked: number, answered: number, time: number): void {
    const roundTrip = Math.max(0, answered - asked);
    // The server's milliseconds are cut off, not rounded.
    const told = { offset: time + 0.5 - (asked + answered) / 2, roundTrip };
    const fits = (o: Told): boolean => Math.abs(o.offset - told.offset) <= (o.roundTrip + roundTrip) / 2 + 1;
    this.#told = [...this.#told.filter(fits), told].slice(-believed); // else a clock was set
  }

  /** The server's clock minus ours by the quickest answer, in milliseconds; null before the first. */
  get offset(): number | null {
    let best: Told | undefined;
    for (const t of this.#told) if (!best || t.roundTrip <= best.roundTrip) best = t;
    return best?.offset ?? null;
  }
}

/**
 * When the server received what of the readings it received first, by its clock,
 * Unix milliseconds; NaN if nothing is known of the devices. Without a clock of its
 * own a device has the server's times. Else it gave them, and by how much it is
 * ahead the server tells; only its newest reading then counts, since it may send
 * many at once that it has gathered.
 */
export function firstReceipt(readings: readonly Reading[], presenceOf: (device: string) => Presence | null): number {
  let first = Number.NaN;
  const newer = new Set<string>();
  for (const r of readings.toReversed()) {
    const p = presenceOf(r.device);
    if (p === null) continue;
    const ahead = p.clock === 'wrong' ? undefined : p.skew;
    if (ahead !== undefined && newer.has(r.device)) continue;
    newer.add(r.device);
    const receipt = r.time - (ahead ?? 0);
    if (!(receipt >= first)) first = receipt;
  }
  return first;
}
