import type { Reading } from '../transport/wire.ts';
import { spanOf, tileAt } from './grid.ts';
import { chartCapacity, kindOf, type Series } from './series.ts';
import type { Range } from './view.ts';

/** How closely the past is looked at: single readings, or buckets of so many milliseconds. Either is cut into tiles by step. */
export interface Level {
  step: number;
  raw: boolean;
}

/** One series of the server's answer, as columns. */
export interface Sum {
  device: string;
  metric: string;
  step: number;
  time: number[];
  min: number[];
  max: number[];
  avg: number[];
  count: number[];
}

/** A stretch of the past of one series, as columns; ascending in time. */
export interface Tile {
  k: number;
  /** Length of the buckets, which the server may have made longer than asked; 0 for single readings. */
  step: number;
  times: number[];
  avg: number[];
  /** Empty for single readings, as is count. */
  low: number[];
  high: number[];
  count: number[];
  /** Whether older readings of the stretch were too many to be fetched. */
  partial: boolean;
  /** Newest offset of the series when the tile was asked for: what came later stands in the ring. */
  seen: number;
  /** Holes of the ring by then. */
  cuts: number;
  /** Whether readings have come for it since, or will. */
  open: boolean;
  /** When it was asked for. */
  at: number;
}

/** What was true of a series when it was asked for. */
export interface Asked {
  seen: number;
  cuts: number;
  /** The device's now. */
  edge: number;
  /** Ours. */
  at: number;
}

/** Tiles that are kept of a series. */
const most = 96;

/** Below so many readings a bucket, single readings are clearer and not longer. */
const sparse = 1.5;

/** An open tile is not asked for more often, in milliseconds. */
const refreshAfter = 2000;

/** Shelf keeps tiles of one series, those used last. */
export class Shelf {
  readonly series: Series;
  readonly kind: Series['kind'];
  readonly #tiles = new Map<string, Tile>();
  readonly #raw = new Map<number, boolean>();
  readonly #dense = new Set<number>();

  constructor(series: Series) {
    this.series = series;
    this.kind = series.kind;
    series.ring.resize(chartCapacity);
  }

  /** Single readings where buckets would hold hardly more than one; decided once for each step, until an answer teaches better. */
  level(step: number): Level {
    let raw = this.#raw.get(step);
    if (raw === undefined) {
      raw = !canSum(this.series) || !(intervalOf(this.series) < step / 2);
      this.#raw.set(step, raw);
    }
    return { step, raw };
  }

  /** Learns how many readings the rows of a whole picture hold. */
  learn(step: number, rows: number, readings: number): void {
    if (rows > 0 && readings < sparse * rows && !this.#dense.has(step)) this.#raw.set(step, true);
  }

  tile(level: Level, k: number): Tile | undefined {
    return this.#tiles.get(keyOf(level, k));
  }

  /** The tile, which is now used last. */
  use(level: Level, k: number): Tile | undefined {
    const key = keyOf(level, k);
    const tile = this.#tiles.get(key);
    if (tile) {
      this.#tiles.delete(key);
      this.#tiles.set(key, tile);
    }
    return tile;
  }

  /** Whether a tile, with what the ring has, is all there is. */
  isFresh(tile: Tile | undefined, now: number): boolean {
    if (!tile) return false;
    if (!tile.open || now - tile.at < refreshAfter) return true;
    const { ring } = this.series;
    const reaches = ring.length < ring.capacity || ring.offset(0) <= tile.seen;
    return reaches && tile.cuts === ring.cuts;
  }

  /** The level whose tiles cover most of a range, the nearest to the one wanted if several do. */
  covering(range: Range, wanted: Level): Level {
    const covered = new Map<string, { level: Level; length: number }>();
    for (const [key, tile] of this.#tiles) {
      const level = levelOf(key);
      const span = spanOf(tile.k, tile.k, level.step);
      const length = Math.min(span.to, range.to) - Math.max(span.from, range.from);
      if (length <= 0) continue;
      const name = keyOf(level, 0);
      const sum = covered.get(name) ?? { level, length: 0 };
      sum.length += length;
      covered.set(name, sum);
    }
    const far = (l: Level): number => Math.abs(Math.log(l.step / wanted.step)) + (l.raw === wanted.raw ? 0 : 0.1);
    let best = { level: wanted, length: 0 };
    for (const c of covered.values()) {
      const more = c.length - best.length;
      if (more > 1 || (more > -1 && far(c.level) < far(best.level))) best = c;
    }
    return best.level;
  }

  /** Takes the server's sums for tiles from first to last; undefined when it has none. */
  takeSums(level: Level, first: number, last: number, sum: Sum | undefined, asked: Asked): void {
    const tiles = this.#empty(level, first, last, sum?.step ?? level.step, asked);
    for (let i = 0; sum && i < sum.time.length; i++) {
      const t = sum.time[i] as number;
      const tile = tiles[Math.min(last, Math.max(first, tileAt(t, level.step))) - first] as Tile;
      tile.times.push(t);
      tile.low.push(sum.min[i] as number);
      tile.high.push(sum.max[i] as number);
      tile.avg.push(sum.avg[i] as number);
      tile.count.push(sum.count[i] as number);
    }
  }

  /** Takes readings of tiles from first to last; `complete` unless there were older ones. Of states only the changes are kept. */
  takeReadings(level: Level, first: number, last: number, readings: readonly Reading[], complete: boolean, asked: Asked): void {
    if (!complete && canSum(this.series)) {
      this.#dense.add(level.step);
      this.#raw.set(level.step, false);
      return;
    }
    const own = readings.filter((r) => kindOf(r.value) === this.kind).sort((a, b) => a.time - b.time || a.offset - b.offset);
    const isNews = (v: number, tile: Tile): boolean => this.kind === 'number' || tile.avg.at(-1) !== v;
    const tiles = this.#empty(level, first, last, 0, asked);
    const reach = complete ? -Infinity : (own[0]?.time ?? Infinity);
    for (const tile of tiles) tile.partial = spanOf(tile.k, tile.k, level.step).from < reach;
    for (const r of own) {
      const tile = tiles[tileAt(r.time, level.step) - first];
      const v = this.series.code(r.value);
      if (!tile || !isNews(v, tile)) continue;
      tile.times.push(r.time);
      tile.avg.push(v);
    }
  }

  #empty(level: Level, first: number, last: number, step: number, { seen, cuts, edge, at }: Asked): Tile[] {
    const tiles: Tile[] = [];
    for (let k = first; k <= last; k++) {
      const open = spanOf(k, k, level.step).to > edge;
      const tile = { k, step: level.raw ? 0 : step, times: [], low: [], avg: [], high: [], count: [], partial: false, seen, cuts, open, at };
      tiles.push(tile);
      const key = keyOf(level, k);
      this.#tiles.delete(key);
      this.#tiles.set(key, tile);
    }
    for (const key of this.#tiles.keys()) {
      if (this.#tiles.size <= most) break;
      this.#tiles.delete(key);
    }
    return tiles;
  }
}

/** Whether the server sums up such a series: numbers, and what is only on or off. */
export function canSum(series: Series): boolean {
  return series.kind === 'number' || series.words.every((w) => w === 'on' || w === 'off');
}

function keyOf(level: Level, k: number): string {
  return `${level.raw ? 'r' : 'b'} ${level.step} ${k}`;
}

function levelOf(key: string): Level {
  const [kind, step] = key.split(' ');
  return { raw: kind === 'r', step: Number(step) };
}

/** Usual time between two of the newest readings; NaN when there are not two. */
function intervalOf(series: Series): number {
  const { ring } = series;
  const n = Math.min(ring.length, 60);
  if (n < 2) return NaN;
  return (ring.time(ring.length - 1) - ring.time(ring.length - n)) / (n - 1);
}
