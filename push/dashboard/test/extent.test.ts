import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extent, GrowingRange } from '../src/data/extent.ts';

test('extent', () => {
  assert.equal(extent([]), null);
  assert.equal(extent([null]), null);
  assert.deepEqual(extent([3, null, -1, 2]), [-1, 3]);
});

test('a range only grows until it is reset', () => {
  const range = new GrowingRange();
  assert.deepEqual(range.take([]), [0, 1]);
  const first = range.take([10, 20]);
  assert.ok(first[0] < 10 && first[1] > 20);
  assert.deepEqual(range.take([14, 15]), first);
  const second = range.take([12, 40]);
  assert.equal(second[0], first[0]);
  assert.ok(second[1] > 40);
  range.reset();
  assert.ok(range.take([14, 15])[1] < 20);
  range.reset();
  const flat = range.take([0, 0]);
  assert.ok(flat[0] < 0 && flat[1] > 0);
});
