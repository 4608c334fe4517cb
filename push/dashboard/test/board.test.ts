import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Board, type Arrival } from '../src/data/board.ts';
import { Pace } from '../src/data/pace.ts';
import type { DeviceState, Presence, Reading, Value } from '../src/transport/wire.ts';

const now = 1_764_000_000_000;
const live: Arrival = { now, clockOffset: 0, live: true };
const fetched: Arrival = { now, clockOffset: 0, live: false };

let offset = 0;

function reading(device: string, metric: string, value: Value, time = now): Reading {
  return { offset: ++offset, device, metric, time, value };
}

function board(...readings: Reading[]): Board {
  const b = new Board({ mark: () => undefined });
  b.apply({ type: 'readings', cursor: 'a-1', readings }, fetched);
  return b;
}

test('devices and metrics stand in natural order', () => {
  const b = board(reading('n10', 'b', 1), reading('n9', 'a10', 1), reading('n9', 'a2', 1), reading('n106', 'x', 1));
  assert.deepEqual(b.devices.value.map((d) => d.id), ['n9', 'n10', 'n106']);
  assert.deepEqual(b.device('n9')?.series.value.map((s) => s.metric), ['a2', 'a10']);
  assert.equal(b.begun.value, true);
});

test('a reading changes no signal', () => {
  const b = board(reading('a', 'x', 1));
  const devices = b.devices.value;
  const series = b.device('a')?.series.value;
  const marked: object[] = [];
  const cell = {};
  const again = new Board({ mark: (c) => marked.push(c) });
  again.apply({ type: 'readings', cursor: 'a-1', readings: [reading('a', 'x', 1)] }, live);
  again.device('a')?.byMetric.get('x')?.cells.add(cell);
  again.apply({ type: 'readings', cursor: 'a-2', readings: [reading('a', 'x', 2)] }, live);
  assert.deepEqual(marked, [cell]);
  b.apply({ type: 'readings', cursor: 'a-2', readings: [reading('a', 'x', 2)] }, live);
  assert.equal(b.devices.value, devices);
  assert.equal(b.device('a')?.series.value, series);
  assert.equal(b.device('a')?.byMetric.get('x')?.last, 2);
});

test('only what appears while we look is new', () => {
  const b = board(reading('old', 'x', 1));
  b.apply({ type: 'readings', cursor: 'a-2', readings: [reading('fresh', 'x', 1)] }, live);
  assert.equal(b.device('old')?.isNew.value, false);
  assert.equal(b.device('fresh')?.isNew.value, true);
  b.review(now + 61_000);
  assert.equal(b.device('fresh')?.isNew.value, false);
});

test('a device is new with its first reading, whether or not its state is told before', () => {
  for (const arrival of [live, fetched]) {
    const b = board();
    b.apply({ type: 'device', device: { id: 'bee', state: 'online', clock: 'ok', duplicates: 0 } }, live);
    assert.equal(b.device('bee')?.isNew.value, false);
    b.apply({ type: 'readings', cursor: 'a-2', readings: [reading('bee', 'x', 1)] }, arrival);
    assert.equal(b.device('bee')?.isNew.value, arrival.live);
    b.review(now + 61_000);
    assert.equal(b.device('bee')?.isNew.value, false);
    b.apply({ type: 'readings', cursor: 'a-3', readings: [reading('bee', 'x', 2)] }, live);
    assert.equal(b.device('bee')?.isNew.value, false);
  }
});

test('states are kept as words, and a series may change its kind', () => {
  const b = board(reading('a', 'door', true), reading('a', 'door', false), reading('a', 'mode', 'eco'), reading('a', 'door', true));
  const series = b.device('a')?.byMetric.get('door');
  assert.ok(series);
  assert.equal(series.kind, 'state');
  assert.deepEqual(series.words, ['on', 'off']);
  assert.deepEqual([0, 1, 2].map((i) => series.ring.value(i)), [0, 1, 0]);
  const before = b.device('a')?.series.value;
  b.apply({ type: 'readings', cursor: 'a-9', readings: [reading('a', 'door', 3)] }, live);
  assert.equal(series.kind, 'number');
  assert.equal(series.ring.length, 1);
  assert.notEqual(b.device('a')?.series.value, before);
});

test('a series with more words than are kept stays bounded', () => {
  const b = board(...Array.from({ length: 1000 }, (_, i) => reading('a', 'note', `text ${i}`)));
  const series = b.device('a')?.byMetric.get('note');
  assert.ok(series && series.words.length <= 256);
  assert.equal(series.words[series.ring.value(series.ring.length - 1)], 'text 999');
});

test('silence makes a device late, a reading brings it back', () => {
  const b = board(...[30, 20, 10, 0].map((s) => reading('slow', 'x', 1, now - s * 1000)), reading('fast', 'x', 1, now - 1000), reading('fast', 'x', 1));
  const state = (id: string): string | undefined => b.device(id)?.state.value;
  assert.deepEqual(b.review(now + 4000), []);
  assert.deepEqual(b.review(now + 6000).map((d) => d.id), ['fast']);
  assert.equal(state('slow'), 'online');
  b.review(now + 31_000);
  assert.equal(state('slow'), 'late');
  b.apply({ type: 'readings', cursor: 'a-9', readings: [reading('slow', 'x', 1)] }, { ...live, now: now + 40_000 });
  b.review(now + 41_000);
  assert.equal(state('slow'), 'online');
});

test('the age of what was fetched comes from its own time, by the clock of the server', () => {
  const b = new Board({ mark: () => undefined });
  b.apply({ type: 'readings', cursor: 'a-1', readings: [reading('a', 'x', 1, now - 7000)] }, { now, clockOffset: 2000, live: false });
  assert.equal(b.device('a')?.heardAt, now - 9000);
  b.apply({ type: 'readings', cursor: 'a-2', readings: [reading('a', 'x', 1, now + 3600_000)] }, fetched);
  assert.equal(b.device('a')?.heardAt, now);
});

test('a gap cuts every line, a reset forgets all', () => {
  const b = board(reading('a', 'x', 1), reading('b', 'y', 2));
  b.apply({ type: 'gap', cursor: 'a-9', reason: 'retention' }, live);
  for (const id of ['a', 'b']) {
    const ring = [...(b.device(id)?.byMetric.values() ?? [])][0]?.ring;
    assert.ok(ring && Number.isNaN(ring.value(ring.length - 1)));
  }
  b.apply({ type: 'reset', cursor: 'z-1', reason: 'unknown cursor' }, live);
  assert.deepEqual(b.devices.value, []);
  assert.equal(b.device('a'), undefined);
  assert.equal(b.begun.value, false);
});

test('pace', () => {
  for (const { name, beats, usual, silence, state } of [
    { name: 'nothing heard', beats: [], usual: NaN, silence: 6000, state: 'late' },
    { name: 'once', beats: [0], usual: NaN, silence: 4000, state: 'online' },
    { name: 'steady', beats: [0, 10_000, 20_000], usual: 10_000, silence: 29_000, state: 'online' },
    { name: 'steady, three missed', beats: [0, 10_000, 20_000], usual: 10_000, silence: 31_000, state: 'late' },
    { name: 'steady, nine missed', beats: [0, 10_000, 20_000], usual: 10_000, silence: 91_000, state: 'offline' },
    { name: 'quick', beats: [0, 100, 200, 300], usual: 100, silence: 4900, state: 'online' },
    { name: 'quick, gone', beats: [0, 100, 200, 300], usual: 100, silence: 15_001, state: 'offline' },
    { name: 'several metrics at once', beats: [0, 0, 0, 1000, 1000, 1000], usual: 1000, silence: 4900, state: 'online' },
    { name: 'one outage does not count', beats: [0, 1000, 2000, 900_000, 901_000], usual: 1000, silence: 6000, state: 'late' },
    { name: 'late ones do not count', beats: [0, 1000, 500, 2000], usual: 1000, silence: 6000, state: 'late' },
  ]) {
    const pace = new Pace();
    for (const b of beats) pace.beat(b);
    assert.equal(pace.usual, usual, name);
    assert.equal(pace.judge(silence), state, name);
  }
});

function told(id: string, state: Presence['state'], more: Partial<Presence> = {}): DeviceState {
  return { type: 'device', device: { id, state, clock: 'ok', duplicates: 0, ...more } };
}

test('the word of the server counts more than the rhythm', () => {
  const b = board(reading('a', 'x', 1), reading('b', 'x', 1));
  const state = (id: string): string | undefined => b.device(id)?.state.value;
  b.apply(told('a', 'offline', { name: 'Glass house' }), live);
  assert.deepEqual([state('a'), b.device('a')?.name.value], ['offline', 'Glass house']);
  b.apply(told('a', 'online'), live);
  assert.equal(state('a'), 'offline', 'before the review, which tells the change');
  assert.deepEqual(b.review(now + 60_000).map((d) => d.id), ['a', 'b']);
  assert.deepEqual([state('a'), state('b'), b.device('a')?.name.value], ['online', 'offline', '']);
  b.apply(told('b', 'unknown'), { ...live, now: now + 60_000 });
  assert.equal(state('b'), 'offline', 'unknown is no word');
});

test('a device that has sent nothing is known by its registration, and leaves with it', () => {
  const b = board(reading('m', 'x', 1));
  b.learn([told('z', 'unknown').device, told('a', 'unknown').device], now);
  assert.deepEqual(b.devices.value.map((d) => [d.id, d.state.value]), [['a', 'silent'], ['m', 'online'], ['z', 'silent']]);
  b.review(now + 60_000);
  assert.equal(b.device('z')?.state.value, 'silent');
  b.apply({ type: 'readings', cursor: 'a-9', readings: [reading('z', 'x', 1)] }, { ...live, now: now + 60_000 });
  assert.equal(b.device('z')?.state.value, 'online');
  for (const id of ['a', 'm', 'z', 'nobody']) b.apply(told(id, 'removed'), live);
  assert.equal(b.devices.value.length, 3, 'before the review, which lists them together');
  b.review(now + 60_000);
  assert.deepEqual(b.devices.value.map((d) => d.id), ['m', 'z']);
  for (const id of ['q10', 'q9']) b.apply(told(id, 'unknown'), live);
  b.review(now + 60_000);
  assert.deepEqual(b.devices.value.map((d) => d.id), ['m', 'q9', 'q10', 'z']);
});
