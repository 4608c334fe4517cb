import assert from 'node:assert/strict';
import { test } from 'node:test';
import { perTile, spanOf } from '../src/data/grid.ts';
import { figuresOf, pictureOf, withHoles, type Picture } from '../src/data/picture.ts';
import { Series } from '../src/data/series.ts';
import { Shelf, type Asked, type Level, type Sum } from '../src/data/shelf.ts';
import type { Reading, Value } from '../src/transport/wire.ts';

const step = 1000;
const tile = perTile * step;
const edge = 10 * tile + 5500;
const sums: Level = { step, raw: false };
const single: Level = { step, raw: true };

function asked(seen = 0): Asked {
  return { seen, cuts: 0, edge, at: 0 };
}

/** The server's sums of buckets at these times, each of three readings around v. */
function sum(...rows: [time: number, v: number][]): Sum {
  return {
    device: 'a',
    metric: 'x',
    step,
    time: rows.map(([t]) => t),
    min: rows.map(([, v]) => v - 1),
    max: rows.map(([, v]) => v + 1),
    avg: rows.map(([, v]) => v),
    count: rows.map(() => 3),
  };
}

function reading(offset: number, time: number, value: Value): Reading {
  return { offset, device: 'a', metric: 'x', time, value };
}

function rows(p: Picture): unknown[] {
  return p.times.map((t, i) => (p.low[i] === null ? [t - 10 * tile, p.avg[i]] : [t - 10 * tile, p.low[i], p.avg[i], p.high[i], p.count[i]]));
}

test('tiles and what came since make one picture', () => {
  const series = new Series('a', 'x');
  const shelf = new Shelf(series);
  series.push(7, 10 * tile + 4200, 50); // the server had that
  shelf.takeSums(sums, 10, 10, sum([10 * tile + 3000, 20], [10 * tile + 4000, 30]), asked(7));
  series.push(8, 10 * tile + 4900, 38);
  series.push(9, 10 * tile + 5100, 10);
  series.push(10, 10 * tile + 5400, 14);
  const p = pictureOf(shelf, { from: 10 * tile, to: edge }, sums, edge);
  assert.deepEqual(rows(p), [[3500, 19, 20, 21, 3], [4500, 29, 32, 38, 4], [5500, 10, 12, 14, 2]]);
  assert.equal(p.whole, true);
  assert.equal(p.step, step);
});

test('the bucket that still grows is drawn at now, not beyond', () => {
  const shelf = new Shelf(new Series('a', 'x'));
  shelf.takeSums(sums, 10, 10, sum([10 * tile + 5000, 20]), asked());
  const now = 10 * tile + 5100;
  assert.deepEqual(pictureOf(shelf, { from: 10 * tile, to: now }, sums, now).times, [now]);
});

test('a picture that stands still does not change', () => {
  const series = new Series('a', 'x');
  const shelf = new Shelf(series);
  shelf.takeSums(sums, 10, 10, sum([10 * tile + 4000, 20]), asked());
  const range = { from: 10 * tile, to: 10 * tile + 4500 };
  const before = rows(pictureOf(shelf, range, sums, edge));
  series.push(1, 10 * tile + 4700, 90);
  assert.deepEqual(rows(pictureOf(shelf, range, sums, edge)), before);
  series.push(2, 10 * tile + 4400, 91);
  assert.notDeepEqual(rows(pictureOf(shelf, range, sums, edge)), before, 'unless it comes late');
});

test('a late reading goes where its time is', () => {
  const series = new Series('a', 'x');
  const shelf = new Shelf(series);
  shelf.takeSums(sums, 9, 10, sum([9 * tile, 20], [9 * tile + 2000, 30], [10 * tile, 40]), asked(5));
  assert.equal(shelf.tile(sums, 9)?.open, false);
  series.push(6, 9 * tile + 1200, 7);
  series.push(7, 9 * tile + 2200, 90);
  const p = pictureOf(shelf, { from: 9 * tile, to: edge }, sums, edge);
  assert.deepEqual(rows(p).slice(0, 3), [[500 - tile, 19, 20, 21, 3], [1500 - tile, 7, 7, 7, 1], [2500 - tile, 29, 45, 90, 4]]);
  assert.equal(shelf.tile(sums, 9)?.open, true);
});

test('single readings, the one before the range too', () => {
  const series = new Series('a', 'x');
  const shelf = new Shelf(series);
  const all = [reading(3, 10 * tile + 3000, 3), reading(1, 10 * tile + 100, 1), reading(2, 10 * tile + 900, 2)];
  shelf.takeReadings(single, 10, 10, all, true, asked(3));
  for (const r of all) series.push(r.offset, r.time, r.value);
  series.push(4, 10 * tile + 5000, 4);
  const p = pictureOf(shelf, { from: 10 * tile + 2500, to: edge }, single, edge);
  assert.deepEqual(rows(p), [[900, 2], [3000, 3], [5000, 4]]);
  assert.equal(p.step, 0);
  const after = pictureOf(shelf, { from: 10 * tile + 4500, to: 10 * tile + 4600 }, single, edge);
  assert.deepEqual(rows(after), [[3000, 3], [5000, 4]]);
});

test('before the first answer there is what the page has seen', () => {
  const series = new Series('a', 'x');
  const shelf = new Shelf(series);
  series.push(1, 10 * tile + 4000, 5);
  series.push(2, 10 * tile + 5000, 6);
  const p = pictureOf(shelf, { from: 10 * tile, to: edge }, sums, edge);
  assert.deepEqual([rows(p), p.whole, p.step], [[[4000, 5], [5000, 6]], false, 0]);
});

test('meanwhile the level that covers most is drawn', () => {
  const shelf = new Shelf(new Series('a', 'x'));
  const coarse: Level = { step: 10_000, raw: false };
  const all = spanOf(9, 9, step);
  shelf.takeSums(coarse, 0, 0, { ...sum([all.from + 5000 - ((all.from + 5000) % 10_000), 8]), step: 10_000 }, asked());
  shelf.takeSums({ step: 500, raw: false }, 18, 18, { ...sum([all.from, 9]), step: 500 }, asked());
  const p = pictureOf(shelf, all, sums, edge);
  assert.deepEqual([p.step, p.whole], [10_000, false]);
});

test('where the readings have left, their sums are drawn', () => {
  const shelf = new Shelf(new Series('a', 'x'));
  shelf.takeReadings(single, 9, 9, [], true, asked());
  assert.deepEqual(pictureOf(shelf, spanOf(9, 9, step), single, edge).times, []);
  shelf.takeSums(sums, 9, 9, { ...sum([9 * tile, 4]), step: 60_000 }, asked());
  const p = pictureOf(shelf, spanOf(9, 9, step), single, edge);
  assert.deepEqual([p.avg, p.step], [[4], 60_000]);
});

test('single readings or buckets', () => {
  const of = (interval: number, value: Value = 1): Shelf => {
    const series = new Series('a', 'x');
    for (let i = 0; i < 10; i++) series.push(i + 1, i * interval, value);
    return new Shelf(series);
  };
  for (const { name, shelf, want } of [
    { name: 'nothing known', shelf: new Shelf(new Series('a', 'x')), want: true },
    { name: 'seldom', shelf: of(1000), want: true },
    { name: 'two a bucket', shelf: of(500), want: true },
    { name: 'often', shelf: of(400), want: false },
    { name: 'a switch, often', shelf: of(400, true), want: false },
    { name: 'words, often', shelf: of(400, 'eco'), want: true },
  ]) {
    assert.equal(shelf.level(step).raw, want, name);
  }
  const taught = of(400);
  taught.learn(step, 100, 200);
  assert.equal(taught.level(step).raw, false);
  taught.learn(step, 100, 120);
  assert.equal(taught.level(step).raw, true, 'in another stretch they were fewer');
});

test('a series that is denser than thought is summed up', () => {
  const shelf = new Shelf(new Series('a', 'x'));
  assert.equal(shelf.level(step).raw, true);
  shelf.takeReadings(single, 9, 9, [reading(1, 9 * tile, 1)], false, asked());
  assert.equal(shelf.level(step).raw, false);
  shelf.learn(step, 100, 101);
  assert.equal(shelf.level(step).raw, false, 'and stays so');
});

test('of words only the changes are kept, and what is missing is said', () => {
  const series = new Series('a', 'x');
  series.push(100, 10 * tile + 5000, 'idle');
  const shelf = new Shelf(series);
  const words = ['idle', 'idle', 'run', 'run', 'idle'].map((w, i) => reading(i + 1, 9 * tile + tile / 2 + i * 1000, w));
  shelf.takeReadings(single, 8, 9, words, false, asked(100));
  assert.deepEqual(shelf.tile(single, 9)?.avg.map((v) => series.words[v]), ['idle', 'run', 'idle']);
  assert.equal(pictureOf(shelf, spanOf(8, 9, step), single, edge).partial, true);
});

test('the share of a switch goes on with what comes', () => {
  const series = new Series('a', 'x');
  series.push(1, 10 * tile + 4000, true);
  const shelf = new Shelf(series);
  shelf.takeSums(sums, 10, 10, { ...sum([10 * tile + 5000, 1]), min: [1], max: [1] }, asked(1));
  series.push(2, 10 * tile + 5200, false);
  const p = pictureOf(shelf, { from: 10 * tile, to: edge }, sums, edge);
  assert.deepEqual([p.avg, p.low, p.high, p.count], [[0.75], [0], [1], [4]]);
});

test('tiles used least go', () => {
  const shelf = new Shelf(new Series('a', 'x'));
  for (let k = 0; k < 96; k++) shelf.takeSums(sums, k, k, undefined, asked());
  shelf.use(sums, 0);
  shelf.takeSums(sums, 200, 200, undefined, asked());
  assert.deepEqual([0, 1, 2, 200].map((k) => shelf.tile(sums, k) !== undefined), [true, false, true, true]);
});

function plain(...rows: [time: number, v: number][]): Picture {
  const times = rows.map(([t]) => t);
  const none = rows.map(() => null);
  return { step: 0, times, low: none, high: none, avg: rows.map(([, v]) => v), count: rows.map(() => 1), begins: times, ends: times, whole: true, partial: false };
}

test('a silence much longer than usual is a hole', () => {
  const every = (n: number, from: number): [number, number][] => Array.from({ length: n }, (_, i) => [from + i * 10, i]);
  for (const { name, picture, length, want } of [
    { name: 'none', picture: plain(...every(10, 0)), length: 100, want: [] },
    { name: 'one', picture: plain(...every(10, 0), ...every(10, 1000)), length: 1100, want: [545] },
    { name: 'too small to be seen', picture: plain(...every(10, 0), ...every(10, 200)), length: 100_000, want: [] },
    { name: 'of readings that come as they like: none', picture: plain(...every(10, 0), ...every(10, 150)), length: 300, want: [] },
    { name: 'of buckets', picture: { ...plain(...every(10, 0), ...every(10, 150)), step: 10 }, length: 300, want: [120] },
    { name: 'one empty bucket', picture: { ...plain(...every(10, 0), ...every(10, 110)), step: 10 }, length: 300, want: [] },
    { name: 'two readings', picture: plain([0, 1], [5000, 1]), length: 5000, want: [] },
  ]) {
    const p = withHoles(picture, length);
    assert.deepEqual(p.times.filter((_, i) => p.avg[i] === null), want, name);
    assert.equal(p.low.length, p.times.length);
    assert.equal(p.ends.length, p.times.length);
  }
});

test('figures of what is inside', () => {
  const p = plain([0, 100], [10, 1], [20, 3], [30, -50]);
  assert.deepEqual(figuresOf(p, { from: 5, to: 25 }), { min: 1, avg: 2, max: 3, count: 2 });
  assert.equal(figuresOf(p, { from: 100, to: 200 }), null);
  const buckets: Picture = { ...p, low: [0, 0, 0, 0], high: [100, 9, 9, 0], count: [1, 1, 3, 1] };
  assert.deepEqual(figuresOf(buckets, { from: 5, to: 25 }), { min: 0, avg: 2.5, max: 9, count: 4 });
});
