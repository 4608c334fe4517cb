import { signal, type Signal } from '@preact/signals-core';
import type { Reading } from '../transport/wire.ts';
import { edgeOf, type Device } from './board.ts';
import { perTile, runs, spanOf, stepFor, tilesOf } from './grid.ts';
import { pictureOf, type Picture } from './picture.ts';
import type { Series } from './series.ts';
import { canSum, Shelf, type Asked, type Level, type Sum } from './shelf.ts';
import type { Range } from './view.ts';

/** A stretch of the past of some series of a device; of all if none is named. An end that is NaN is open. */
export interface Stretch extends Range {
  device: string;
  metrics: readonly string[];
}

/** Where the past comes from. */
export interface Source {
  /** The series summed up in at most so many buckets. */
  sums(stretch: Stretch, points: number, abort: AbortSignal): Promise<Sum[]>;
  /** The newest readings, in no certain order. */
  readings(stretch: Stretch, limit: number, abort: AbortSignal): Promise<Reading[]>;
}

/** How long the view must rest before something is asked for, and how long one may go on moving it, milliseconds. */
const rest = 120;
const patience = 350;

/** Series that are asked for at once: their names stand in the address. */
const perRequest = 24;

/** Readings that a tile of a series may have; denser ones are summed up. */
const perRawTile = perTile * 4;

/** Readings that are asked for at once of a series that cannot be summed up. */
const mostWords = 20_000;

/** Waits between tries when the server does not answer, milliseconds. */
const retries = [1000, 2000, 5000, 15_000];

interface Want {
  shelf: Shelf;
  level: Level;
  ks: number[];
  /** Whether it is looked at, not only next to it. */
  seen: boolean;
}

interface Load {
  level: Level;
  first: number;
  last: number;
  shelves: readonly Shelf[];
  abort: AbortController;
}

/**
 * Past is what is known of the past of one device. Looking at it draws what is
 * there and sees to it that the rest is fetched: first what is looked at, then
 * what lies beside it.
 */
export class Past {
  /** Whether something that is looked at is being fetched. */
  readonly busy: Signal<boolean> = signal(false);
  /** Why the last try failed; empty when it did not. */
  readonly trouble: Signal<string> = signal('');
  readonly #device: Device;
  readonly #source: Source;
  readonly #changed: () => void;
  readonly #shelves = new Map<Series, Shelf>();
  readonly #wants = new Map<Shelf, Want>();
  readonly #loads = new Set<Load>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #movedAt = -Infinity;
  #waitingSince = NaN;
  #failures = 0;
  #retryAt = 0;
  #closed = false;

  /** changed is called when there is more to draw. */
  constructor(device: Device, source: Source, changed: () => void) {
    this.#device = device;
    this.#source = source;
    this.#changed = changed;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const load of this.#loads) load.abort.abort();
  }

  /** The view is moving: what was wanted may not be any more. */
  moved(): void {
    this.#movedAt = Date.now();
    this.#wants.clear();
    if (this.#timer !== undefined || this.#loads.size > 0) this.#schedule();
  }

  /** Tries again now, if it is waiting. */
  retry(): void {
    if (this.trouble.peek() === '') return;
    this.#retryAt = 0;
    this.#schedule();
  }

  /** What there is of a range for a picture of so many pixels. */
  look(series: Series, range: Range, pixels: number): Picture {
    const shelf = this.#shelf(series);
    const edge = edgeOf(this.#device, Date.now());
    const level = shelf.level(stepFor(range.to - range.from, pixels));
    this.#want(shelf, range, level, edge);
    const picture = pictureOf(shelf, range, level, edge);
    if (picture.whole && picture.step === level.step) {
      shelf.learn(level.step, picture.count.length, picture.count.reduce((sum, n) => sum + n, 0));
    }
    return picture;
  }

  /** Begin of the oldest bucket of all there is; NaN when nothing is kept. */
  async oldest(): Promise<number> {
    const all: Stretch = { device: this.#device.id, metrics: [], from: NaN, to: NaN };
    const sums = await this.#source.sums(all, 100, new AbortController().signal);
    const from = Math.min(...sums.map((x) => x.time[0] ?? Infinity));
    return Number.isFinite(from) ? from : NaN;
  }

  #shelf(series: Series): Shelf {
    let shelf = this.#shelves.get(series);
    if (!shelf || shelf.kind !== series.kind) {
      shelf = new Shelf(series);
      this.#shelves.set(series, shelf);
    }
    return shelf;
  }

  #want(shelf: Shelf, range: Range, level: Level, edge: number): void {
    const { first, last } = tilesOf(range, level.step);
    let want = this.#wanting(shelf, level, first, last, edge, true);
    if (!want && canSum(shelf.series)) want = this.#wanting(shelf, level, first - 1, last + 1, edge, false);
    if (!want) {
      if (this.#wants.delete(shelf)) this.#tell();
      return;
    }
    this.#wants.set(shelf, want);
    if (this.#timer === undefined) this.#schedule();
  }

  /** What is missing of a run of tiles, and not on its way. */
  #wanting(shelf: Shelf, level: Level, first: number, last: number, edge: number, seen: boolean): Want | null {
    const now = Date.now();
    const missing = (l: Level): number[] => {
      const ks: number[] = [];
      for (let k = Math.max(0, first); k <= last; k++) {
        if (spanOf(k, k, l.step).from > edge || shelf.isFresh(shelf.tile(l, k), now)) continue;
        ks.push(k);
      }
      return ks;
    };
    const ks = missing(level);
    if (ks.length > 0) return { shelf, level, ks, seen };
    if (!level.raw || !canSum(shelf.series)) return null;
    // Where there are no readings any more there may be their sums.
    const sums = { ...level, raw: false };
    const none = missing(sums).filter((k) => shelf.tile(level, k)?.times.length === 0);
    return none.length > 0 ? { shelf, level: sums, ks: none, seen } : null;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const now = Date.now();
    if (Number.isNaN(this.#waitingSince)) this.#waitingSince = now;
    const calm = Math.min(this.#movedAt + rest, this.#waitingSince + patience);
    this.#timer = setTimeout(() => this.#flush(), Math.max(calm, this.#retryAt, now + 10) - now);
  }

  #flush(): void {
    this.#timer = undefined;
    this.#waitingSince = NaN;
    for (const load of this.#loads) if (!this.#isWanted(load)) this.#drop(load);
    const groups = new Map<string, { want: Want; first: number; last: number; shelves: Shelf[] }>();
    for (const want of this.#wants.values()) {
      // What was missing when it was looked at may have come since.
      const ks = want.ks.filter((k) => !this.#isLoading(want.shelf, want.level, k) && !want.shelf.isFresh(want.shelf.tile(want.level, k), Date.now()));
      for (const { first, last } of runs(ks)) {
        // States are denser than numbers and would use up what readings these may have.
        const key = `${want.level.raw && want.shelf.kind} ${want.level.step} ${first} ${last}`;
        const group = groups.get(key) ?? { want, first, last, shelves: [] };
        group.shelves.push(want.shelf);
        groups.set(key, group);
      }
    }
    for (const { want, first, last, shelves } of groups.values()) {
      for (let i = 0; i < shelves.length; i += perRequest) void this.#load(want.level, first, last, shelves.slice(i, i + perRequest));
    }
    this.#tell();
  }

  async #load(level: Level, first: number, last: number, shelves: readonly Shelf[]): Promise<void> {
    const load: Load = { level, first, last, shelves, abort: new AbortController() };
    this.#loads.add(load);
    const edge = edgeOf(this.#device, Date.now());
    const asked = shelves.map(({ series: { ring } }): Asked => {
      return { seen: ring.length > 0 ? ring.offset(ring.length - 1) : 0, cuts: ring.cuts, edge, at: Date.now() };
    });
    const metrics = shelves.map((x) => x.series.metric);
    const stretch: Stretch = { device: this.#device.id, metrics, ...spanOf(first, last, level.step) };
    try {
      if (level.raw) await this.#readings(load, stretch, asked);
      else await this.#sums(load, stretch, asked);
      this.#failures = 0;
      this.trouble.value = '';
    } catch (reason) {
      if (load.abort.signal.aborted) return;
      this.#retryAt = Date.now() + (retries[Math.min(this.#failures, retries.length - 1)] as number);
      this.#failures++;
      this.trouble.value = (reason as Error).message;
      this.#schedule();
    } finally {
      this.#loads.delete(load);
      if (!this.#closed) {
        this.#tell();
        this.#changed();
      }
    }
  }

  async #sums({ level, first, last, shelves, abort }: Load, stretch: Stretch, asked: readonly Asked[]): Promise<void> {
    const sums = await this.#source.sums(stretch, (last - first + 1) * perTile, abort.signal);
    const own = new Map(sums.map((x) => [x.metric, x]));
    shelves.forEach((x, i) => x.takeSums(level, first, last, own.get(x.series.metric), asked[i] as Asked));
  }

  async #readings({ level, first, last, shelves, abort }: Load, stretch: Stretch, asked: readonly Asked[]): Promise<void> {
    const limit = shelves.every((x) => canSum(x.series)) ? perRawTile * (last - first + 1) * shelves.length : mostWords;
    const readings = await this.#source.readings(stretch, limit, abort.signal);
    const complete = readings.length < limit;
    if (!complete && shelves.length > 1) {
      // Some are denser than thought; each alone shows which.
      for (const x of shelves) void this.#load(level, first, last, [x]);
      return;
    }
    const own = new Map<string, Reading[]>(shelves.map((x) => [x.series.metric, []]));
    for (const r of readings) own.get(r.metric)?.push(r);
    shelves.forEach((x, i) => x.takeReadings(level, first, last, own.get(x.series.metric) ?? [], complete, asked[i] as Asked));
  }

  /** Whether any of what is on its way is still looked at, or lies beside it. */
  #isWanted(load: Load): boolean {
    return load.shelves.some((x) => {
      const want = this.#wants.get(x);
      return want !== undefined && want.level.step === load.level.step && want.ks.some((k) => k >= load.first && k <= load.last);
    });
  }

  #isLoading(shelf: Shelf, level: Level, k: number): boolean {
    for (const l of this.#loads) {
      if (l.level.step === level.step && l.level.raw === level.raw && k >= l.first && k <= l.last && l.shelves.includes(shelf)) return true;
    }
    return false;
  }

  #drop(load: Load): void {
    load.abort.abort();
    this.#loads.delete(load);
  }

  #tell(): void {
    let busy = false;
    for (const w of this.#wants.values()) busy ||= w.seen;
    this.busy.value = busy && this.trouble.peek() === '' && this.#loads.size > 0;
  }
}
