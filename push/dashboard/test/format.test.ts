import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Series } from '../src/data/series.ts';
import { age, decimalsOf, duration, lastValue, mark, number } from '../src/draw/format.ts';
import type { Value } from '../src/transport/wire.ts';

/** The form of numbers depends on where the test runs: only its digits count. */
function digits(text: string): string {
  const point = new Intl.NumberFormat().format(0.5).charAt(1);
  return text.split(point).map((part) => part.replace(/[^\d-]/g, '')).join('.');
}

test('decimals worth showing', () => {
  for (const [v, want] of [[21, 0], [21.5, 1], [21.537846, 2], [1013.4219, 1], [0.1, 1], [3.1415926, 3], [0.12345678, 4], [-18.25, 2], [0, 0], [1e9, 0]] as const) {
    assert.equal(decimalsOf(v), want, String(v));
  }
});

test('numbers', () => {
  for (const [v, want] of [[21.5, '21.5'], [1234567, '1234567'], [-18.19, '-18.19'], [0.00001234, /^1\.234e-5$/], [3e20, /^3\.000e\+20$/]] as const) {
    if (want instanceof RegExp) assert.match(number(v), want);
    else assert.equal(digits(number(v)), want);
  }
});

test('a value keeps its width', () => {
  const series = new Series('a', 'x');
  const show = (v: Value): string => {
    series.push(1, 0, v);
    return lastValue(series);
  };
  assert.equal(digits(show(21)), '21');
  assert.equal(digits(show(21.54)), '21.54');
  assert.equal(digits(show(21.5)), '21.50');
  assert.equal(digits(show(1013)), '1013.0');
  assert.equal(show(true), 'on');
  assert.equal(show(false), 'off');
  assert.equal(show('eco'), 'eco');
});

test('marks on an axis differ', () => {
  assert.deepEqual([1013.4, 1013.45, 1013.5].map((v) => digits(mark(v, 0.05))), ['1013.40', '1013.45', '1013.50']);
  assert.deepEqual([0, 50, 100].map((v) => mark(v, 50)), ['0', '50', '100']);
});

test('lengths of time', () => {
  for (const [ms, want] of [[80, '80 ms'], [1000, '1 s'], [1499, '1 s'], [42_000, '42 s'], [99_400, '99 s'], [100_000, '2 min'], [3 * 60_000, '3 min'], [2 * 3600_000, '2 h'], [49 * 3600_000, '2 d']] as const) {
    assert.equal(duration(ms), want);
  }
  assert.equal(age(0), 'now');
  assert.equal(age(-500), 'now');
  assert.equal(age(3000), '3 s ago');
});
