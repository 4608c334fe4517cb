import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ring } from '../src/data/ring.ts';

function offsets(ring: Ring): number[] {
  return Array.from({ length: ring.length }, (_, i) => ring.offset(i));
}

function filled(capacity: number, from: number, to: number): Ring {
  const ring = new Ring(capacity);
  for (let n = from; n <= to; n++) ring.push(n, n * 10, n * 100);
  return ring;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

test('a ring keeps the newest in order', () => {
  for (const to of [0, 1, 3, 4, 5, 8, 9]) {
    const ring = filled(4, 1, to);
    assert.deepEqual(offsets(ring), range(Math.max(1, to - 3), to), `after ${to}`);
    for (let i = 0; i < ring.length; i++) {
      assert.equal(ring.time(i), ring.offset(i) * 10);
      assert.equal(ring.value(i), ring.offset(i) * 100);
    }
  }
});

test('a ring changes its size and keeps the newest that fit', () => {
  for (const [before, to, after, want] of [
    [4, 9, 8, range(6, 9)],
    [8, 9, 4, range(6, 9)],
    [4, 2, 8, range(1, 2)],
    [4, 9, 4, range(6, 9)],
  ] as const) {
    const ring = filled(before, 1, to);
    ring.resize(after);
    assert.equal(ring.capacity, after);
    assert.deepEqual(offsets(ring), want);
    ring.push(100, 0, 0);
    assert.equal(ring.offset(ring.length - 1), 100);
  }
});

test('a hole is marked once, and never first', () => {
  const ring = new Ring(8);
  ring.cut();
  assert.equal(ring.length, 0);
  ring.push(1, 10, 5);
  ring.cut();
  ring.cut();
  ring.push(2, 20, 6);
  assert.deepEqual([0, 1, 2].map((i) => ring.value(i)), [5, NaN, 6]);
  assert.equal(ring.length, 3);
});

test('every change is counted', () => {
  const ring = filled(4, 1, 2);
  let before = ring.version;
  const changed = (what: string): void => {
    assert.notEqual(ring.version, before, what);
    before = ring.version;
  };
  ring.push(3, 0, 0);
  changed('push');
  ring.cut();
  changed('cut');
  ring.resize(9);
  changed('resize');
  ring.clear();
  changed('clear');
});
