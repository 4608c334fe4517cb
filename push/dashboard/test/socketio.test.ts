import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { later, type Carrier, type Request, type Sink } from '../src/transport/carrier.ts';
import { connect, type Connection } from '../src/transport/connect.ts';
import { FakeServer, pass, settle } from './fakeserver.ts';
import { FakeSockets } from './fakesockets.ts';

let polls: FakeServer; // where the page begins
let server: FakeSockets;
let link: Connection;
let got: (number | string)[];

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  polls = new FakeServer();
  server = new FakeSockets();
  mock.method(globalThis, 'fetch', server.fetch);
  got = [];
});

afterEach(async () => {
  link.close();
  await settle();
  assert.equal(server.sessions, 0, 'closed, but still connected');
  mock.timers.reset();
  mock.restoreAll();
});

async function open(): Promise<void> {
  const env = { fetch: polls.fetch, WebSocket: polls.WebSocket, random: () => 0.5 };
  link = connect('http://naru.test/sub/api/v1/live?presence=1&device=a*&device=b*', { technique: 'socketio', env }, (m) => {
    if (m.type === 'readings') got.push(...m.readings.map((r) => r.offset));
    else got.push(m.type);
  });
  await import('../src/transport/socketio.ts'); // what it fetches first
  await settle();
}

test('the page by Socket.IO: what the URL asks for, from the cursor on, and again after a cut', async () => {
  polls.append(3);
  await open();
  assert.equal(link.state.value.technique, 'socketio');
  assert.equal(`${server.urls[0]?.origin}${server.urls[0]?.pathname}`, 'http://naru.test/sub/socket.io/');
  assert.deepEqual(server.auths, [{ presence: '1', device: ['a*', 'b*'], after: 'k3v9-3', batch: 1 }]);
  server.send({ type: 'device', device: { id: 'a', state: 'online' } }, 'k3v9-3');
  server.readings(4, 6);
  await settle();
  server.cut('answer');
  await pass(2000);
  assert.equal(server.auths.at(-1)?.['after'], 'k3v9-6');
  server.readings(6, 8);
  await settle();
  assert.deepEqual(got, [1, 2, 3, 'device', 4, 5, 6, 7, 8]);
});

test('no access: say so and stop asking', async () => {
  server.status = 401;
  await open();
  await pass(60_000);
  assert.equal(link.state.value.phase, 'unauthorized');
  assert.equal(server.urls.length, 1);
});

test('refused: tried again', async () => {
  server.refusal = 'no';
  await open();
  assert.equal(link.state.value.phase, 'waiting');
  server.refusal = '';
  await pass(2000);
  assert.equal(link.state.value.phase, 'live');
});

for (const c of [
  { name: 'cannot be fetched', fails: true, close: false, want: ['end: gone'] },
  { name: 'cannot be fetched, when nobody waits any more', fails: true, close: true, want: [] },
  { name: 'comes', fails: false, close: false, want: ['start', 'close'] },
  { name: 'comes when nobody waits any more', fails: false, close: true, want: [] },
]) {
  test(`a technique whose code ${c.name}`, async () => {
    await open();
    const told: string[] = [];
    const start = (): Carrier => {
      told.push('start');
      return { close: () => told.push('close') };
    };
    const load = (): Promise<typeof start> => (c.fails ? Promise.reject(new Error('gone')) : Promise.resolve(start));
    const sink = { end: (reason: Error) => told.push(`end: ${reason.message}`) } as unknown as Sink;
    const carrier = later(load)({} as Request, sink);
    if (c.close) carrier.close();
    await settle();
    carrier.close();
    assert.deepEqual(told, c.want);
  });
}
