import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ring } from '../src/data/ring.ts';
import { extent, GrowingRange, windowOf } from '../src/data/window.ts';

function ringOf(...readings: [time: number, value: number][]): Ring {
  const ring = new Ring(Math.max(1, readings.length));
  readings.forEach(([t, v], i) => ring.push(i + 1, t, v));
  return ring;
}

const cases: { name: string; in: [number, number][]; want: [number, number | null][] }[] = [
  { name: 'empty', in: [], want: [] },
  { name: 'inside', in: [[1000, 1], [1500, 2], [2000, 3]], want: [[1, 1], [1.5, 2], [2, 3]] },
  { name: 'one before enters from the edge', in: [[200, 8], [900, 9], [1500, 2]], want: [[0.9, 9], [1.5, 2]] },
  { name: 'later ones stay out', in: [[1500, 2], [2500, 3]], want: [[1.5, 2]] },
  { name: 'all before', in: [[100, 1], [200, 2]], want: [] },
  { name: 'a hole', in: [[1100, 1], [1100, NaN], [1900, 2]], want: [[1.1, 1], [1.1, null], [1.9, 2]] },
  { name: 'out of order', in: [[1900, 1], [1100, 2], [1500, 3]], want: [[1.1, 2], [1.5, 3], [1.9, 1]] },
];

for (const c of cases) {
  test(`window: ${c.name}`, () => {
    const { times, values } = windowOf(ringOf(...c.in), 1000, 2000, 100);
    assert.deepEqual(times.map((t, i) => [t, values[i]]), c.want);
  });
}

test('a crowded window is thinned, peaks and holes stay', () => {
  const readings: [number, number][] = [];
  for (let i = 0; i < 10_000; i++) readings.push([1000 + i / 10, Math.sin(i / 50)]);
  readings[3333] = [1333.3, 40];
  readings[6666] = [1666.6, -40];
  readings[8000] = [1800, NaN];
  const { times, values } = windowOf(ringOf(...readings), 1000, 2000, 100);
  assert.ok(times.length <= 301, `${times.length} left`);
  assert.deepEqual(extent(values), [-40, 40]);
  assert.ok(values.includes(null));
  for (let i = 1; i < times.length; i++) assert.ok((times[i] as number) >= (times[i - 1] as number));
});

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
