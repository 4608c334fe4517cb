import { spanOf, tileAt, tilesOf } from './grid.ts';
import type { Level, Shelf, Tile } from './shelf.ts';
import type { Range } from './view.ts';

/**
 * Picture is what is drawn of one series: rows in ascending time, which are
 * buckets, or single readings, whose low and high are null. A row of nulls is a
 * hole: the line does not go on over it. Of states a single reading has the place
 * of its word, a bucket the share of "on".
 */
export interface Picture {
  /** Length of the longest bucket in milliseconds; 0 for single readings. */
  step: number;
  /** Where a row is drawn, Unix milliseconds: the middle of a bucket. */
  times: number[];
  low: (number | null)[];
  avg: (number | null)[];
  high: (number | null)[];
  /** Readings in the row. */
  count: number[];
  /** Begin and end of the row; the same for a single reading. */
  begins: number[];
  ends: number[];
  /** Whether all that was wanted is there; if not, this is the best there is meanwhile. */
  whole: boolean;
  /** Whether there are older readings in the range, too many to be fetched. */
  partial: boolean;
}

/** Draws a range at a level from the tiles that there are and the live readings that are newer than they. */
export function pictureOf(shelf: Shelf, range: Range, wanted: Level, edge: number): Picture {
  const isThere = ({ first, last }: { first: number; last: number }): boolean => {
    for (let k = first; k <= last; k++) if (!shelf.tile(wanted, k) && spanOf(k, k, wanted.step).from <= edge) return false;
    return true;
  };
  const whole = isThere({ first: tileAt(range.from, wanted.step), last: tileAt(range.to, wanted.step) });
  const level = whole ? wanted : shelf.covering(range, wanted);
  const p: Picture = { step: 0, times: [], low: [], avg: [], high: [], count: [], begins: [], ends: [], whole, partial: false };
  const tiles = new Map<number, Tile>();
  const { first, last } = tilesOf(range, level.step);
  for (let k = first; k <= last; k++) {
    let tile = shelf.use(level, k);
    // Readings leave sooner than their sums.
    if (tile && level.raw && tile.times.length === 0) tile = shelf.use({ ...level, raw: false }, k) ?? tile;
    if (!tile) continue;
    tiles.set(k, tile);
    take(p, tile, range, level.step);
  }
  takeLive(p, shelf, tiles, range, level);
  const now = p.ends.length - 1;
  if (now >= 0 && (p.ends[now] as number) > edge) p.times[now] = Math.max(p.begins[now] as number, Math.min(p.times[now] as number, edge));
  return p;
}

function take(p: Picture, tile: Tile, range: Range, margin: number): void {
  p.step = Math.max(p.step, tile.step);
  p.partial ||= tile.partial;
  const reach = Math.max(margin, tile.step);
  for (let i = 0; i < tile.times.length; i++) {
    const t = tile.times[i] as number;
    if (t < range.from - reach) {
      // The last reading before the range, so that the line enters from the edge.
      const next = tile.times[i + 1];
      if (tile.step > 0 || (next !== undefined && next < range.from - reach)) continue;
    }
    if (t > range.to + reach) break;
    const sum = tile.step > 0;
    p.times.push(t + tile.step / 2);
    p.begins.push(t);
    p.ends.push(t + tile.step);
    p.avg.push(tile.avg[i] as number);
    p.low.push(sum ? (tile.low[i] as number) : null);
    p.high.push(sum ? (tile.high[i] as number) : null);
    p.count.push(sum ? (tile.count[i] as number) : 1);
  }
}

/** Adds what the tiles do not have yet from the ring. */
function takeLive(p: Picture, shelf: Shelf, tiles: ReadonlyMap<number, Tile>, range: Range, level: Level): void {
  const { ring } = shelf.series;
  const before = p.times.length;
  const buckets = new Map<number, number>();
  for (let i = 0; i < before; i++) if (p.low[i] !== null) buckets.set(p.begins[i] as number, i);
  for (let n = 0; n < ring.length; n++) {
    const t = ring.time(n);
    const v = ring.value(n);
    if (t > range.to + level.step || t < range.from - level.step || Number.isNaN(v)) continue;
    const tile = tiles.get(tileAt(t, level.step));
    if (tile && ring.offset(n) <= tile.seen) continue;
    if (tile) tile.open = true;
    const step = tile ? tile.step : level.raw || tiles.size === 0 ? 0 : level.step;
    if (step === 0) {
      push(p, t, t, v);
      continue;
    }
    const begin = Math.floor(t / step) * step;
    if (t > range.to && begin <= range.to) continue; // a picture that stands still does not change
    p.step = Math.max(p.step, step);
    const value = shelf.kind === 'state' ? Number(shelf.series.words[v] === 'on') : v;
    const i = buckets.get(begin);
    if (i === undefined) buckets.set(begin, push(p, begin, begin + step, value));
    else grow(p, i, value);
  }
  let sorted = true;
  for (let i = Math.max(1, before); i < p.times.length; i++) sorted &&= (p.times[i] as number) >= (p.times[i - 1] as number);
  if (!sorted) sort(p);
}

/** Adds a row of one reading and returns its place. */
function push(p: Picture, begin: number, end: number, v: number): number {
  p.times.push((begin + end) / 2);
  p.begins.push(begin);
  p.ends.push(end);
  p.avg.push(v);
  p.low.push(end > begin ? v : null);
  p.high.push(end > begin ? v : null);
  return p.count.push(1) - 1;
}

/** Adds a reading to the i-th row, a bucket. */
function grow(p: Picture, i: number, v: number): void {
  const n = p.count[i] as number;
  p.low[i] = Math.min(p.low[i] as number, v);
  p.high[i] = Math.max(p.high[i] as number, v);
  p.avg[i] = ((p.avg[i] as number) * n + v) / (n + 1);
  p.count[i] = n + 1;
}

function sort(p: Picture): void {
  const order = p.times.map((_, i) => i).sort((a, b) => (p.times[a] as number) - (p.times[b] as number) || a - b);
  const by = <T>(column: T[]): T[] => order.map((i) => column[i] as T);
  Object.assign(p, {
    times: by(p.times),
    low: by(p.low),
    avg: by(p.avg),
    high: by(p.high),
    count: by(p.count),
    begins: by(p.begins),
    ends: by(p.ends),
  });
}

/** A silence is a hole when it is so many usual intervals of buckets or of readings long, and this part of the picture. */
const missedBuckets = 2.5;
const missedReadings = 8;
const visible = 1 / 80;

/** Puts a row of nulls into each silence that is longer than usual. */
export function withHoles(p: Picture, length: number): Picture {
  const n = p.times.length;
  if (n < 3) return p;
  const apart: number[] = [];
  for (let i = 1; i < n; i++) apart.push((p.times[i] as number) - (p.times[i - 1] as number));
  const usual = apart.toSorted((a, b) => a - b)[apart.length >> 1] as number;
  const limit = Math.max(usual * (p.step > 0 ? missedBuckets : missedReadings), missedBuckets * p.step, visible * length);
  if (!apart.some((d) => d > limit)) return p;
  const out: Picture = { ...p, times: [], low: [], avg: [], high: [], count: [], begins: [], ends: [] };
  for (let i = 0; i < n; i++) {
    if (i > 0 && (apart[i - 1] as number) > limit) row(out, ((p.times[i - 1] as number) + (p.times[i] as number)) / 2, null, null, null, 0, 0, 0);
    row(
      out,
      p.times[i] as number,
      p.low[i] as number | null,
      p.avg[i] as number | null,
      p.high[i] as number | null,
      p.count[i] as number,
      p.begins[i] as number,
      p.ends[i] as number,
    );
  }
  return out;
}

function row(p: Picture, t: number, low: number | null, avg: number | null, high: number | null, count: number, begin: number, end: number): void {
  p.times.push(t);
  p.low.push(low);
  p.avg.push(avg);
  p.high.push(high);
  p.count.push(count);
  p.begins.push(begin);
  p.ends.push(end);
}

/** The rows of a picture that lie in a range, summed up. */
export interface Figures {
  min: number;
  avg: number;
  max: number;
  count: number;
}

/** Null when the range holds none. */
export function figuresOf(p: Picture, range: Range): Figures | null {
  const f: Figures = { min: Infinity, avg: 0, max: -Infinity, count: 0 };
  for (let i = 0; i < p.times.length; i++) {
    const avg = p.avg[i] as number | null;
    if (avg === null || (p.ends[i] as number) < range.from || (p.begins[i] as number) > range.to) continue;
    f.min = Math.min(f.min, p.low[i] ?? avg);
    f.max = Math.max(f.max, p.high[i] ?? avg);
    f.avg += avg * (p.count[i] as number);
    f.count += p.count[i] as number;
  }
  if (f.count === 0) return null;
  f.avg /= f.count;
  return f;
}
