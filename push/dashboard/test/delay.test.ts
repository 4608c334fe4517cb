import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstReceipt, Recent, ServerClock } from '../src/data/delay.ts';
import type { Presence, Reading } from '../src/transport/wire.ts';

test('the middle of the last few', () => {
  for (const [figures, want] of [[[], null], [[7], 7], [[1, 9], 9], [[5, 1, 900], 5], [[900, 900, 1, 2, 3], 2], [[1, 2, 3, 40, 50, 60], 50]] as const) {
    const recent = new Recent(3);
    for (const f of figures) recent.add(f);
    assert.equal(recent.median, want, String(figures));
    recent.clear();
    assert.equal(recent.median, null);
  }
});

/** What is asked and answered by our clock, and what the server says; ahead is the truth. */
const clocks: { name: string; told: [asked: number, answered: number, time: number][]; ahead: number; within: number }[] = [
  { name: 'the same clock', told: [[1000, 1010, 1005]], ahead: 0, within: 1 },
  { name: 'ahead by an hour', told: [[1000, 1010, 3_601_005]], ahead: 3_600_000, within: 1 },
  { name: 'the quickest answer counts', told: [[1000, 1400, 1390], [2000, 2004, 2002], [3000, 3300, 3010]], ahead: 0, within: 1 },
  { name: 'a clock that was set', told: [[1000, 1002, 1001], [2000, 2020, 12_010]], ahead: 10_000, within: 1 },
  { name: 'a clock that drifts', told: Array.from({ length: 20 }, (_, i) => [i * 60_000, i * 60_000 + 10, i * 60_003 + 5]), ahead: 57, within: 22 },
  { name: 'a clock of ours that goes back between', told: [[1000, 990, 995]], ahead: 0, within: 1 },
];

test('the clock of the server', () => {
  assert.equal(new ServerClock().offset, null);
  for (const { name, told, ahead, within } of clocks) {
    const clock = new ServerClock();
    for (const [asked, answered, time] of told) clock.note(asked, answered, time);
    const off = Math.abs((clock.offset ?? Number.NaN) - ahead);
    assert.ok(off <= within, `${name}: ${clock.offset}, want ${ahead}`);
  }
});

/** Readings as device and time, and what is known of the devices. */
const receipts: { name: string; readings: [device: string, time: number][]; known: Record<string, Partial<Presence>>; want: number }[] = [
  { name: 'none', readings: [], known: {}, want: Number.NaN },
  { name: 'of a device that is not known', readings: [['a', 50_000]], known: {}, want: Number.NaN },
  { name: 'with the time of the server', readings: [['a', 50_000]], known: { a: {} }, want: 50_000 },
  { name: 'several: the first', readings: [['a', 50_000], ['a', 50_700], ['b', 50_900]], known: { a: {}, b: {} }, want: 50_000 },
  { name: 'a clock ahead', readings: [['a', 50_000]], known: { a: { skew: 3000 } }, want: 47_000 },
  { name: 'a clock behind', readings: [['a', 50_000]], known: { a: { skew: -3000 } }, want: 53_000 },
  { name: 'a wrong clock: the time is the server’s', readings: [['a', 50_000]], known: { a: { clock: 'wrong', skew: 3000 } }, want: 50_000 },
  { name: 'gathered by the device', readings: [['a', 10_000], ['a', 20_000], ['a', 50_000]], known: { a: { skew: 0 } }, want: 50_000 },
  { name: 'of each device its own', readings: [['a', 10_000], ['b', 49_000], ['a', 50_000]], known: { a: { skew: 500 }, b: { skew: -500 } }, want: 49_500 },
  { name: 'one that is known among others', readings: [['x', 1], ['a', 50_000], ['y', 2]], known: { a: {} }, want: 50_000 },
];

test('when readings were received', () => {
  for (const { name, readings, known, want } of receipts) {
    const list = readings.map(([device, time], i): Reading => ({ offset: i + 1, device, metric: 'temp', time, value: 1 }));
    const presenceOf = (id: string): Presence | null => (known[id] ? { id, state: 'online', clock: 'ok', duplicates: 0, ...known[id] } : null);
    assert.equal(firstReceipt(list, presenceOf), want, name);
  }
});
