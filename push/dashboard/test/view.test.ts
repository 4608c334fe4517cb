import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginning, frozen, lengths, live, longest, panned, rangeOf, shortest, Trail, viewOf, zoomed, type View } from '../src/data/view.ts';

const edge = 1_764_000_000_000;
const hour = lengths.hour;

function at(from: number, to: number): View {
  return { length: to - from, end: to, preset: null };
}

const moves: { name: string; view: View; want: [from: number, to: number, isLive: boolean] }[] = [
  { name: 'the beginning', view: beginning, want: [-hour, 0, true] },
  { name: 'live, zoomed in at its right edge', view: zoomed(beginning, edge, 0.5, 1), want: [-hour / 2, 0, true] },
  { name: 'live, zoomed out at its right edge', view: zoomed(beginning, edge, 2, 1), want: [-2 * hour, 0, true] },
  { name: 'live, zoomed in at its middle', view: zoomed(beginning, edge, 0.5, 0.5), want: [-0.75 * hour, -0.25 * hour, false] },
  { name: 'live, zoomed out at its middle: nothing lies beyond now', view: zoomed(beginning, edge, 2, 0.5), want: [-2 * hour, 0, true] },
  { name: 'zoomed around a place that stays', view: zoomed(at(edge - 4 * hour, edge - 2 * hour), edge, 0.5, 0.25), want: [-3.75 * hour, -2.75 * hour, false] },
  { name: 'live, moved into the past', view: panned(beginning, edge, -0.5), want: [-1.5 * hour, -0.5 * hour, false] },
  { name: 'moved back to now', view: panned(at(edge - 1.25 * hour, edge - 0.25 * hour), edge, 0.25), want: [-hour, 0, true] },
  { name: 'live, moved on', view: panned(beginning, edge, 1), want: [-hour, 0, true] },
  { name: 'a range', view: viewOf({ from: edge - 5000, to: edge - 2000 }, edge), want: [-5000, -2000, false] },
  { name: 'a range to now', view: viewOf({ from: edge - 5000, to: edge }, edge), want: [-5000, 0, true] },
  { name: 'too short', view: viewOf({ from: edge - 5001, to: edge - 4999 }, edge), want: [-5000 - shortest / 2, -5000 + shortest / 2, false] },
  { name: 'too long', view: zoomed({ ...beginning, length: longest }, edge, 2, 1), want: [-longest, 0, true] },
  { name: 'frozen', view: frozen(beginning, edge - 10), want: [-hour - 10, -10, false] },
  { name: 'live again', view: live(at(0, hour)), want: [-hour, 0, true] },
];

for (const { name, view, want: [from, to, isLive] } of moves) {
  test(`view: ${name}`, () => {
    const r = rangeOf(view, edge);
    assert.deepEqual([r.from - edge, r.to - edge, view.end === null], [from, to, isLive]);
  });
}

test('a live view goes on with now', () => {
  assert.deepEqual(rangeOf(beginning, edge + 7), { from: edge + 7 - hour, to: edge + 7 });
});

test('nothing begins before the epoch', () => {
  assert.equal(rangeOf(viewOf({ from: -5000, to: 5000 }, edge), edge).from, 0);
});

test('a button is left by hand', () => {
  assert.equal(beginning.preset, 'hour');
  assert.equal(zoomed(beginning, edge, 0.5, 1).preset, null);
  assert.equal(panned(beginning, edge, -1).preset, null);
});

test('the way back', () => {
  const trail = new Trail();
  assert.equal(trail.back(), beginning);
  const views = [1, 2, 3].map((n) => at(n, n + hour));
  for (const v of views) trail.leave(v);
  for (const v of views.toReversed()) assert.equal(trail.back(), v);
  for (let n = 0; n < 80; n++) trail.leave(at(n, n + hour));
  let steps = 0;
  while (trail.back() !== beginning) steps++;
  assert.equal(steps, 50);
  trail.leave(at(1, 2));
  trail.clear();
  assert.equal(trail.back(), beginning);
});
