import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Board, type Device } from '../src/data/board.ts';
import { Past, type Source, type Stretch } from '../src/data/past.ts';
import { lengths, type Range } from '../src/data/view.ts';
import type { Sum } from '../src/data/shelf.ts';
import type { Reading, Value } from '../src/transport/wire.ts';

const start = 1_764_000_000_000;
const { hour, day } = lengths;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  mock.timers.setTime(start);
});

afterEach(() => {
  mock.timers.reset();
});

/** Lets what has been answered go its way. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

async function pass(ms: number): Promise<void> {
  mock.timers.tick(ms);
  await settle();
}

interface Call extends Stretch {
  /** Buckets, or the limit of readings. */
  size: number;
  raw: boolean;
  abort: AbortSignal;
  answer: (rows?: Sum[] | Reading[]) => Promise<void>;
  fail: (reason: string) => Promise<void>;
}

/** A server that answers when it is told to. */
class Server implements Source {
  readonly calls: Call[] = [];

  sums(stretch: Stretch, size: number, abort: AbortSignal): Promise<Sum[]> {
    return this.#call<Sum>(stretch, size, abort, false);
  }

  readings(stretch: Stretch, size: number, abort: AbortSignal): Promise<Reading[]> {
    return this.#call<Reading>(stretch, size, abort, true);
  }

  /** What was asked since the last time. */
  take(): Call[] {
    return this.calls.splice(0);
  }

  #call<T>(stretch: Stretch, size: number, abort: AbortSignal, raw: boolean): Promise<T[]> {
    return new Promise((resolve, reject) => {
      abort.addEventListener('abort', () => reject(new Error('aborted')));
      const answer = async (rows: unknown[] = []): Promise<void> => {
        resolve(rows as T[]);
        await settle();
      };
      const fail = async (reason: string): Promise<void> => {
        reject(new Error(reason));
        await settle();
      };
      this.calls.push({ ...stretch, size, raw, abort, answer, fail });
    });
  }
}

interface Setting {
  past: Past;
  server: Server;
  device: Device;
  changes: () => number;
  /** Looks at a range of a metric, 600 pixels wide. */
  look: (range: Range, metric?: string) => ReturnType<Past['look']>;
}

/** A device whose metrics were read every second for the last minute. */
function setting(metrics: Record<string, Value> = { x: 1 }): Setting {
  const board = new Board({ mark: () => undefined });
  let offset = 0;
  const readings: Reading[] = [];
  for (let i = 59; i >= 0; i--) {
    for (const [metric, value] of Object.entries(metrics)) readings.push({ offset: ++offset, device: 'a', metric, time: start - i * 1000, value });
  }
  board.apply({ type: 'readings', cursor: 'k-1', readings }, { now: start, clockOffset: 0, live: false });
  const device = board.device('a') as Device;
  const server = new Server();
  let changed = 0;
  const past = new Past(device, server, () => changed++);
  const look: Setting['look'] = (range, metric = 'x') => {
    const series = device.byMetric.get(metric);
    assert.ok(series);
    return past.look(series, range, 600);
  };
  return { past, server, device, changes: () => changed, look };
}

function last(length: number): Range {
  return { from: start - length, to: start };
}

test('first what is looked at, then what lies beside it, nothing twice', async () => {
  const { server, look, changes } = setting();
  look(last(hour));
  look(last(hour));
  assert.equal(server.calls.length, 0, 'it waits for the others');
  await pass(20);
  const [call, ...rest] = server.take();
  assert.ok(call);
  assert.equal(rest.length, 0);
  assert.deepEqual([call.device, call.metrics, call.raw], ['a', ['x'], false]);
  assert.equal((call.to - call.from) / call.size, 10_000, 'the bucket of the picture');
  assert.ok(call.from <= start - hour && call.to >= start && call.size <= 3 * 256);
  look(last(hour));
  await pass(500);
  assert.equal(server.take().length, 0, 'it is on its way');
  await call.answer();
  assert.equal(changes(), 1);
  assert.equal(look(last(hour)).whole, true);
  await pass(500);
  const [beside] = server.take();
  assert.ok(beside);
  assert.deepEqual([beside.to, beside.size], [call.from, 256], 'to the left; to the right there is nothing yet');
  await beside.answer();
  look(last(hour));
  look({ from: start - hour - 60_000, to: start - 60_000 });
  await pass(5000);
  assert.equal(server.take().length, 0);
});

test('metrics are asked for together, each as closely as it needs', async () => {
  const { server, look } = setting({ x: 1, y: 2, door: true, mode: 'eco' });
  for (const metric of ['x', 'y', 'door', 'mode']) look(last(hour), metric);
  await pass(20);
  assert.deepEqual(server.take().map((c) => [c.raw, c.metrics]), [[false, ['x', 'y', 'door']], [true, ['mode']]]);
  for (const metric of ['x', 'y', 'door', 'mode']) look(last(60_000), metric);
  await pass(200);
  assert.deepEqual(server.take().map((c) => [c.raw, c.metrics]), [[true, ['x', 'y']], [true, ['door', 'mode']]]);
});

test('an answer that comes before the next request makes part of it needless', async () => {
  const { server, look } = setting({ x: 1, y: 2 });
  look(last(hour));
  await pass(20);
  const [x] = server.take();
  look(last(hour)); // still missing
  look(last(hour), 'y');
  await x?.answer();
  await pass(20);
  assert.deepEqual(server.take().map((c) => c.metrics), [['y']]);
});

test('while the view moves nothing is asked, but not for long', async () => {
  const { past, server, look } = setting();
  for (let i = 0; i < 6; i++) {
    past.moved();
    look(last(day * (i + 1)));
    await pass(50);
  }
  assert.equal(server.calls.length, 0);
  await pass(60);
  assert.equal(server.take().length, 1);
});

test('what is not wanted any more is aborted, what is goes on', async () => {
  const { past, server, look } = setting();
  look(last(hour));
  await pass(20);
  const [first] = server.take();
  past.moved();
  look({ from: start - hour - 60_000, to: start - 60_000 }); // the same tiles
  await pass(200);
  assert.equal(first?.abort.aborted, false);
  assert.equal(server.take().length, 0);
  past.moved();
  look(last(30 * day));
  await pass(200);
  assert.equal(first?.abort.aborted, true);
  assert.equal(server.take().length, 1);
  assert.equal(past.trouble.value, '');
});

test('going back needs nothing again', async () => {
  const { past, server, look } = setting();
  for (const length of [hour, day, hour]) {
    past.moved();
    look(last(length));
    await pass(200);
    for (const c of server.take()) await c.answer();
  }
  past.moved();
  assert.equal(look(last(day)).whole, true);
  assert.equal(look(last(hour)).whole, true);
});

test('a failure is told and tried again, less and less often, until it works', async () => {
  const { past, server, look } = setting();
  look(last(hour));
  await pass(20);
  for (const wait of [1000, 2000, 5000, 15_000, 15_000]) {
    const [call] = server.take();
    await call?.fail('no route');
    assert.equal(past.trouble.value, 'no route');
    assert.equal(past.busy.value, false);
    look(last(hour));
    await pass(wait - 1);
    assert.equal(server.calls.length, 0, `not before ${wait} ms`);
    await pass(1);
    assert.equal(server.calls.length, 1, `after ${wait} ms`);
  }
  await server.take()[0]?.fail('no route');
  past.retry();
  await pass(10);
  await server.take()[0]?.answer();
  assert.equal(past.trouble.value, '');
  assert.equal(look(last(hour)).whole, true);
});

test('more readings than thought: their sums instead', async () => {
  const { server, look } = setting({ x: 1, y: 1 });
  for (const metric of ['x', 'y']) look(last(60_000), metric);
  await pass(20);
  const [both] = server.take();
  assert.ok(both?.raw);
  const many = (metric: string, n: number): Reading[] => Array.from({ length: n }, (_, i) => ({ offset: i, device: 'a', metric, time: start - i * 1000, value: 1 }));
  await both.answer(many('x', both.size));
  const alone = server.take();
  assert.deepEqual(alone.map((c) => c.metrics), [['x'], ['y']]);
  await alone[0]?.answer(many('x', alone[0].size));
  await alone[1]?.answer(many('y', 200));
  for (const metric of ['x', 'y']) look(last(60_000), metric);
  await pass(200);
  assert.deepEqual(server.take().filter((c) => c.to > start - 60_000).map((c) => [c.raw, c.metrics]), [[false, ['x']]]);
});

test('what the ring has lost is fetched again', async () => {
  const { server, device, look } = setting();
  const series = device.byMetric.get('x');
  assert.ok(series);
  look(last(hour));
  await pass(20);
  for (const c of server.take()) await c.answer();
  look(last(hour));
  await pass(200);
  for (const c of server.take()) await c.answer();
  for (let i = 0; i < 100; i++) series.push(1000 + i, start + 2000 + i, 1);
  await pass(3000);
  look(last(hour));
  await pass(200);
  assert.equal(server.take().length, 0, 'the ring has all that came since');
  series.ring.cut();
  look(last(hour));
  await pass(200);
  const [again] = server.take();
  assert.ok(again && again.to > start && again.size === 256, 'only the tile that now lies in');
  await again.answer();
  for (let i = 0; i < 5000; i++) series.push(2000 + i, start + 2500 + i / 10, 1);
  await pass(3000);
  look(last(hour));
  await pass(200);
  assert.equal(server.take().length, 1, 'the ring has run over');
});

test('busy while something that is looked at is on its way', async () => {
  const { past, server, look } = setting();
  look(last(hour));
  await pass(20);
  assert.equal(past.busy.value, true);
  await server.take()[0]?.answer();
  look(last(hour));
  assert.equal(past.busy.value, false);
  await pass(200);
  assert.equal(server.take().length, 1);
  assert.equal(past.busy.value, false, 'what lies beside is nobody’s concern');
});

test('the oldest', async () => {
  const { past, server } = setting();
  const oldest = past.oldest();
  const [call] = server.take();
  assert.ok(call && Number.isNaN(call.from) && Number.isNaN(call.to) && call.metrics.length === 0);
  const of = (...time: number[]): Sum => ({ device: 'a', metric: 'x', step: 1, time, min: [], max: [], avg: [], count: [] });
  await call.answer([of(700, 800), of(500), of()]);
  assert.equal(await oldest, 500);
  const none = past.oldest();
  await server.take()[0]?.answer([]);
  assert.ok(Number.isNaN(await none));
});

test('closed: nothing is on its way any more', async () => {
  const { past, server, look, changes } = setting();
  look(last(hour));
  await pass(20);
  look(last(hour));
  past.close();
  assert.equal(server.take()[0]?.abort.aborted, true);
  await pass(5000);
  assert.equal(server.take().length, 0);
  assert.equal(changes(), 0);
});
