// How time is cut into buckets and tiles. Buckets begin at whole multiples of
// their length since the epoch, as the server's do, so that what is asked for at
// different times fits together.

import type { Range } from './view.ts';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** Lengths of buckets in milliseconds. From a minute on they are whole minutes, from an hour on whole hours, as the server keeps them. */
export const steps: readonly number[] = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * second),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * minute),
  ...[1, 2, 3, 6, 12].map((n) => n * hour),
  ...[1, 2, 7, 14, 28].map((n) => n * day),
];

/** The bucket for a picture of so many pixels: never less than a pixel wide. */
export function stepFor(length: number, pixels: number): number {
  const least = length / Math.max(1, pixels);
  return steps.find((s) => s >= least) ?? (steps.at(-1) as number);
}

/** Buckets of a tile, the unit in which the past is fetched and kept. */
export const perTile = 256;

export function tileAt(time: number, step: number): number {
  return Math.max(0, Math.floor(time / (step * perTile)));
}

/** The tiles that a range needs, with a bucket on either side of it so that lines enter from the edge. */
export function tilesOf(range: Range, step: number): { first: number; last: number } {
  return { first: tileAt(range.from - step, step), last: tileAt(range.to + step, step) };
}

/** The time that tiles from `first` to `last` span. */
export function spanOf(first: number, last: number, step: number): Range {
  return { from: first * perTile * step, to: (last + 1) * perTile * step };
}

/** Runs of numbers that follow each other, from ascending ones. */
export function runs(ks: readonly number[]): { first: number; last: number }[] {
  const out: { first: number; last: number }[] = [];
  for (const k of ks) {
    const run = out.at(-1);
    if (run && run.last === k - 1) run.last = k;
    else out.push({ first: k, last: k });
  }
  return out;
}
