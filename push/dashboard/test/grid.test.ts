import assert from 'node:assert/strict';
import { test } from 'node:test';
import { perTile, runs, spanOf, stepFor, steps, tileAt, tilesOf } from '../src/data/grid.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

test('buckets for a picture', () => {
  for (const [length, pixels, want] of [
    [300, 600, 1],
    [5 * minute, 600, 500],
    [hour, 600, 10_000],
    [hour, 320, 15_000],
    [day, 600, 5 * minute],
    [7 * day, 600, 30 * minute],
    [30 * day, 600, 2 * hour],
    [365 * day, 600, day],
    [30 * 365 * day, 300, 28 * day * 2],
  ] as const) {
    const got = stepFor(length, pixels);
    assert.equal(got, Math.min(want, steps.at(-1) as number), `${length} ms in ${pixels} px`);
    assert.ok(length / got <= pixels || got === steps.at(-1), 'no bucket below a pixel');
  }
});

test('buckets are whole multiples of what the server keeps', () => {
  for (const s of steps) {
    assert.equal(Math.round(s), s);
    if (s >= minute) assert.equal(s % minute, 0, `${s}`);
    if (s >= hour) assert.equal(s % hour, 0, `${s}`);
  }
  assert.deepEqual([...steps].sort((a, b) => a - b), steps);
});

test('tiles of a range, with a bucket on either side', () => {
  const tile = 10 * perTile;
  for (const [from, to, first, last] of [
    [tile + 500, tile + 600, 1, 1],
    [tile, 2 * tile - 11, 0, 1],
    [tile + 11, 2 * tile - 10, 1, 2],
    [tile + 11, 2 * tile - 11, 1, 1],
    [0, 5, 0, 0],
  ] as const) {
    assert.deepEqual(tilesOf({ from, to }, 10), { first, last }, `${from} ${to}`);
  }
  assert.deepEqual(spanOf(1, 2, 10), { from: tile, to: 3 * tile });
  assert.equal(tileAt(tile, 10), 1);
  assert.equal(tileAt(tile - 0.001, 10), 0);
});

test('runs', () => {
  for (const [ks, want] of [
    [[], []],
    [[3], [[3, 3]]],
    [[1, 2, 3], [[1, 3]]],
    [[1, 2, 5, 7, 8], [[1, 2], [5, 5], [7, 8]]],
  ] as const) {
    assert.deepEqual(runs(ks).map(({ first, last }) => [first, last]), want);
  }
});
