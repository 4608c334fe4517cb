import assert from 'node:assert/strict';
import { test } from 'node:test';
import { receiptOf, Recent, ServerClock } from '../src/data/delay.ts';
import type { Presence } from '../src/transport/wire.ts';

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

test('when a reading was received', () => {
  const reading = { offset: 1, device: 'gh1', metric: 'temp', time: 50_000, value: 1 };
  const told = (more: Partial<Presence>): Presence => ({ id: 'gh1', state: 'online', clock: 'ok', duplicates: 0, ...more });
  assert.equal(receiptOf(reading, null), null);
  assert.equal(receiptOf(reading, told({})), 50_000);
  assert.equal(receiptOf(reading, told({ skew: 3000 })), 47_000);
  assert.equal(receiptOf(reading, told({ skew: -3000 })), 53_000);
  assert.equal(receiptOf(reading, told({ clock: 'wrong', skew: 3000 })), 50_000);
});
