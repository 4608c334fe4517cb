import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { connect, type Handlers, type Naru, type Options, type Selection } from '../src/client/naru.ts';
import { pass, settle } from './fakeserver.ts';
import { FakeSockets } from './fakesockets.ts';

const url = 'http://naru.test/sub';

let server: FakeSockets;
let naru: Naru;
let got: (number | string)[];
let cursors: string[];
let phases: string[];

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  server = new FakeSockets();
  mock.method(globalThis, 'fetch', server.fetch);
  got = [];
  cursors = [];
  phases = [];
});

afterEach(async () => {
  naru.close();
  await settle();
  assert.equal(server.sessions, 0, 'closed, but still connected');
  mock.timers.reset();
  mock.restoreAll();
});

function watch(selection: Selection = {}, options: Options = {}, at = url): void {
  const handlers: Handlers = {
    state: (s) => phases.push(s.phase),
    gap: (g) => got.push(`gap ${g.reason}`),
    reset: (r) => got.push(`reset ${r.reason}`),
    device: (d) => got.push(`device ${d.state}`),
    error: (e) => got.push(`error ${e.message}`),
  };
  naru = connect(at, { technique: 'polling', ...options });
  naru.readings(
    { presence: false, ...selection },
    (r, info) => {
      got.push(r.offset);
      cursors.push(info.cursor);
    },
    handlers,
  );
}

test('readings are handed over with the cursor behind each', async () => {
  watch();
  await settle();
  assert.deepEqual(phases, ['connecting', 'live']);
  server.readings(5, 7);
  server.send({ type: 'readings', cursor: 'k3v9-12', readings: [{ offset: 9, device: 'a', metric: 'm', time: 1, value: true }] }, 'k3v9-12');
  await settle();
  assert.deepEqual(got, [5, 6, 7, 9]);
  assert.deepEqual(cursors, ['k3v9-5', 'k3v9-6', 'k3v9-7', 'k3v9-12']);
});

test('what comes twice is handed over once', async () => {
  watch();
  await settle();
  server.readings(1, 4);
  server.readings(3, 6);
  await settle();
  assert.deepEqual(got, [1, 2, 3, 4, 5, 6]);
});

for (const how of ['answer', 'connection'] as const) {
  test(`cut in the ${how}: it comes again from where it was`, async () => {
    watch({ device: 'gh*', last: 5 });
    await settle();
    assert.deepEqual(server.auths, [{ device: 'gh*', last: 5, presence: false, batch: 1 }]);
    server.readings(1, 3);
    await settle();
    server.down = true;
    server.cut(how);
    await pass(5000);
    assert.equal(phases.at(-1), 'waiting');
    server.down = false;
    await pass(20_000);
    assert.equal(phases.at(-1), 'live');
    assert.deepEqual(server.auths.at(-1), { device: 'gh*', last: 5, presence: false, batch: 1, after: 'k3v9-3', pid: 's1-proof', offset: 'k3v9-3' });
    server.readings(4, 5);
    await settle();
    assert.deepEqual(got, [1, 2, 3, 4, 5]);
  });
}

test('who has heard nothing but hello goes on from there', async () => {
  server.cursor = 'k3v9-70';
  watch();
  await settle();
  server.cut('connection');
  await pass(5000);
  assert.equal(server.auths.at(-1)?.['after'], 'k3v9-70');
});

test('a gap, a reset, a state and an error are told in their place', async () => {
  watch({ after: 'k3v9-0' });
  await settle();
  server.send({ type: 'gap', cursor: 'k3v9-9', from: 'k3v9-0', reason: 'retention' }, 'k3v9-9');
  server.readings(10, 11);
  server.send({ type: 'device', device: { id: 'gh1', state: 'late' } }, 'k3v9-11');
  server.send({ type: 'error', error: 'what is that' }, 'k3v9-11');
  server.send({ type: 'reset', cursor: 'p0aa-3', reason: 'unknown cursor' }, 'p0aa-3');
  server.send({ type: 'readings', cursor: 'p0aa-4', readings: [{ offset: 2, device: 'a', metric: 'm', time: 1, value: 1 }] }, 'p0aa-4');
  await settle();
  assert.deepEqual(got, ['gap retention', 10, 11, 'device late', 'error what is that', 'reset unknown cursor', 2]);
  assert.equal(cursors.at(-1), 'p0aa-4');
});

test('what is no message is told, and the stream goes on', async () => {
  watch();
  await settle();
  server.send({ type: 'readings', cursor: 5 }, 'k3v9-1');
  server.readings(2, 3);
  await settle();
  assert.deepEqual(got, ['error readings without a cursor', 2, 3]);
});

test('a handler that throws loses nothing', async () => {
  naru = connect(url, { technique: 'polling' });
  naru.readings({ presence: false }, (r) => {
    got.push(r.offset);
    if (r.offset === 2) throw new Error('mine');
  });
  await settle();
  server.readings(1, 4);
  await settle();
  assert.deepEqual(got, [1, 2, 3, 4]);
  assert.throws(() => mock.timers.tick(1), /mine/, 'reported as uncaught');
});

test('stopped in the middle of a message, nothing more comes', async () => {
  naru = connect(url, { technique: 'polling' });
  const stop = naru.readings({}, (r) => {
    got.push(r.offset);
    if (r.offset === 2) stop();
  });
  await settle();
  server.readings(1, 4);
  await settle();
  server.readings(5, 6);
  await pass(60_000);
  assert.deepEqual(got, [1, 2]);
  assert.equal(server.sessions, 0);
});

for (const [status, phase, requests] of [[401, 'unauthorized', 1], [403, 'unauthorized', 1], [429, 'waiting', 4], [503, 'waiting', 4]] as const) {
  test(`${status}: ${phase}`, async () => {
    server.status = status;
    watch();
    await pass(60_000);
    assert.equal(phases.at(-1), phase);
    assert.ok(phase === 'waiting' ? server.urls.length >= requests : server.urls.length === requests, `${server.urls.length} requests in a minute`);
    assert.ok(server.urls.length < 15, `${server.urls.length} requests in a minute`);
    assert.equal(got.filter((g) => String(g).startsWith('error')).length, phase === 'waiting' ? 0 : 1);
  });
}

test('a refused selection is told and tried again, more and more seldom', async () => {
  server.refusal = 'last: want a number from 1 to 1000';
  watch({ last: 5000 });
  await pass(60_000);
  assert.ok(got.length >= 5 && got.length <= 12, `${got.length} tries in a minute`);
  assert.ok(got.every((g) => g === `error ${server.refusal}`));
  server.refusal = '';
  await pass(16_000);
  server.readings(1, 1);
  await settle();
  assert.equal(got.at(-1), 1);
});

test('without a handler the console is told of errors', async () => {
  const told = mock.method(console, 'error', () => undefined);
  server.refusal = 'no';
  naru = connect(url, { technique: 'polling' });
  naru.readings({}, () => undefined);
  await settle();
  assert.equal(told.mock.callCount(), 1);
});

for (const [at, token, want, credentials] of [
  ['http://naru.test', undefined, 'http://naru.test/socket.io/', null],
  ['http://naru.test/sub', undefined, 'http://naru.test/sub/socket.io/', null],
  ['http://naru.test/sub/#/device/x', undefined, 'http://naru.test/sub/socket.io/', null],
  ['https://naru.test:8443/?token=abc', undefined, 'https://naru.test:8443/socket.io/', 'abc'],
  ['http://naru.test/?token=abc', 'def', 'http://naru.test/socket.io/', 'def'],
] as const) {
  test(`the way to ${at}${token === undefined ? '' : ' with a token'}`, async () => {
    watch({}, token === undefined ? {} : { token }, at);
    await settle();
    const asked = server.urls[0] as URL;
    assert.equal(asked.origin + asked.pathname, want);
    assert.equal(asked.searchParams.get('token'), credentials);
    assert.doesNotMatch(naru.url, /token/);
  });
}

test('an address that is none of HTTP', () => {
  assert.throws(() => connect('ftp://naru.test'), /want an http or https URL/);
  naru = connect(); // from a file: this machine
  assert.equal(naru.url, 'http://127.0.0.1:7780/');
});

test('states are asked for by who has a handler for them, or says so', async () => {
  naru = connect(url, { technique: 'polling' });
  naru.readings({}, () => undefined);
  naru.readings({}, () => undefined, { device: () => undefined });
  naru.readings({ presence: true }, () => undefined);
  await settle();
  assert.deepEqual(server.auths.map((a) => a['presence']), [false, true, true]);
});
