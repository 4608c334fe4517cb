import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import type { Technique } from '../src/transport/carrier.ts';
import { connect, type Connection } from '../src/transport/connect.ts';
import type { Message } from '../src/transport/wire.ts';
import { FakeServer, pass, settle, type Manner } from './fakeserver.ts';

const url = 'http://naru.test/sub/api/v1/live';

let server: FakeServer;
let got: (number | string)[];
let link: Connection;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  server = new FakeServer();
  got = [];
});

afterEach(async () => {
  link.close();
  await settle();
  assert.equal(server.viewers, 0, 'closed, but still connected');
  mock.timers.reset();
});

function open(technique: Technique | null = null, at = url): void {
  const env = { fetch: server.fetch, WebSocket: server.WebSocket, random: () => 0.5 };
  link = connect(at, { technique, env }, (m: Message) => {
    if (m.type === 'readings') got.push(...m.readings.map((r) => r.offset));
    else got.push(m.type);
  });
}

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1);
}

function phase(): string {
  const { phase, technique } = link.state.value;
  return technique === null ? phase : `${phase} ${technique}`;
}

const ladders: { websocket: Manner; sse: Manner; busy: boolean; want: string; within: number }[] = [
  { websocket: 'ok', sse: 'ok', busy: true, want: 'live websocket', within: 300 },
  { websocket: 'ok', sse: 'ok', busy: false, want: 'live websocket', within: 1500 },
  { websocket: 'refuse', sse: 'ok', busy: true, want: 'live sse', within: 300 },
  { websocket: 'refuse', sse: 'ok', busy: false, want: 'live sse', within: 1500 },
  { websocket: 'hang', sse: 'ok', busy: true, want: 'live sse', within: 4500 },
  { websocket: 'mute', sse: 'ok', busy: true, want: 'live sse', within: 5000 },
  { websocket: 'refuse', sse: 'refuse', busy: true, want: 'live longpoll', within: 10_000 },
  { websocket: 'refuse', sse: 'hang', busy: true, want: 'live longpoll', within: 10_000 },
  { websocket: 'hang', sse: 'hang', busy: true, want: 'live longpoll', within: 10_000 },
  { websocket: 'hang', sse: 'mute', busy: true, want: 'live longpoll', within: 10_000 },
];

for (const c of ladders) {
  test(`ladder: WebSocket ${c.websocket}, events ${c.sse}, ${c.busy ? 'busy' : 'idle'} → ${c.want}`, async () => {
    server.websocket = c.websocket;
    server.sse = c.sse;
    server.append(3);
    open();
    await settle();
    assert.deepEqual(got, [1, 2, 3], 'the snapshot needs no timer');
    assert.equal(phase(), 'live longpoll');
    for (let t = 0; t < c.within; t += 100) {
      if (c.busy) server.append();
      await pass(100);
    }
    assert.equal(phase(), c.want);
    server.append(5);
    await pass(200);
    assert.deepEqual(got, upTo(server.offset));
  });
}

for (const technique of ['websocket', 'sse', 'stream', 'longpoll', 'poll'] as const) {
  test(`forced ${technique}`, async () => {
    server.append(3);
    open(technique);
    await pass(100);
    assert.equal(phase(), `live ${technique}`);
    server.append(4);
    await pass(2100);
    assert.deepEqual(got, upTo(7));
    server.stop();
    await pass(2100);
    assert.equal(phase(), 'waiting');
    server.append(2);
    server.start();
    await pass(10_000);
    assert.equal(phase(), `live ${technique}`);
    assert.deepEqual(got, upTo(9));
    const others = ['websocket', 'sse', 'stream', 'longpoll'].filter((t) => t !== technique);
    assert.deepEqual(server.asked.filter((a) => others.includes(a)), []);
  });
}

test('a forced technique that is refused is tried again, more and more seldom', async () => {
  server.websocket = 'refuse';
  open('websocket');
  await pass(60_000);
  assert.equal(phase(), 'waiting');
  const tries = server.asked.filter((a) => a === 'websocket').length;
  assert.ok(tries >= 5 && tries <= 10, `${tries} tries in a minute`);
  link.force(null);
  await pass(300);
  assert.match(phase(), /^live/);
});

test('a restart of the server loses and doubles nothing', async () => {
  server.append(10);
  open();
  await pass(1500);
  server.append(5);
  server.stop();
  await settle();
  assert.equal(phase(), 'waiting');
  server.append(20);
  await pass(3000);
  server.start();
  await pass(3000);
  server.append(5);
  await pass(200);
  assert.equal(phase(), 'live websocket');
  assert.deepEqual(got, upTo(40));
  assert.ok(link.stats.reconnects > 0);
  assert.equal(link.stats.readings, 40);
  assert.equal(link.stats.cursor, 'k3v9-40');
});

test('another store begins anew', async () => {
  server.append(10);
  open();
  await pass(1500);
  server.stop();
  server.start('p0aa');
  server.append(2);
  await pass(3000);
  assert.deepEqual(got, [...upTo(10), 'reset', 1, 2]);
  assert.equal(phase(), 'live websocket');
});

test('a WebSocket comes later', async () => {
  server.websocket = 'refuse';
  open();
  await pass(5000);
  assert.equal(phase(), 'live sse');
  server.websocket = 'ok';
  for (let i = 0; i < 400; i++) {
    if (i % 10 === 0) server.append();
    await pass(100);
  }
  assert.equal(phase(), 'live websocket');
  assert.deepEqual(got, upTo(server.offset));
});

test('a WebSocket that is cut again and again is given up for a while', async () => {
  open();
  for (let i = 0; i < 8; i++) {
    await pass(2000);
    server.stop();
    server.start();
    server.append();
  }
  await pass(3000);
  assert.equal(phase(), 'live sse');
  assert.deepEqual(got, upTo(8));
});

test('a connection that died silently is noticed by a probe', async () => {
  open();
  await pass(1500);
  assert.equal(phase(), 'live websocket');
  server.down = true; // the socket stays open, but nobody is there
  await pass(26_000);
  assert.equal(phase(), 'waiting');
  server.down = false;
  server.append(3);
  await pass(16_000);
  assert.match(phase(), /^live/);
  assert.deepEqual(got, upTo(3));
});

test('after a long absence a snapshot is taken, and the hole is said', async () => {
  server.append(3);
  open();
  await pass(1500);
  server.stop();
  server.append(4);
  await pass(400_000);
  server.start();
  await pass(16_000);
  assert.deepEqual(got, [1, 2, 3, 'gap', 4, 5, 6, 7]);
  assert.equal(server.asked.filter((a) => a === 'snapshot').length > 1, true);
});

test('no access token: say so and stop asking', async () => {
  server.status = 401;
  open();
  await pass(60_000);
  assert.equal(phase(), 'unauthorized');
  assert.deepEqual(server.asked, ['snapshot']);
});

test('idle long polling does not spin', async () => {
  open('longpoll');
  await pass(100_000);
  const polls = server.asked.filter((a) => a === 'longpoll').length;
  assert.ok(polls >= 3 && polls <= 5, `${polls} polls in 100 s`);
});

test('a closed connection asks nothing more', async () => {
  open();
  await pass(1500);
  link.close();
  const before = server.asked.length;
  server.append(3);
  await pass(60_000);
  assert.equal(server.asked.length, before);
  assert.equal(phase(), 'closed');
});

for (const technique of ['websocket', 'sse', 'stream'] as const) {
  test(`presence by ${technique}: told at once, and it counts as a sign that the carrier works`, async () => {
    server.append(2);
    open(technique, `${url}?presence=1`);
    await settle();
    assert.deepEqual(got, [1, 2, 'device']);
    assert.equal(phase(), `live ${technique}`);
    server.append();
    await settle();
    assert.deepEqual(got, [1, 2, 'device', 3]);
  });
}

test('with presence an idle WebSocket takes over without waiting for a proof', async () => {
  server.append();
  open(null, `${url}?presence=1`);
  await settle();
  assert.equal(phase(), 'live websocket');
  assert.deepEqual(got, [1, 'device']);
});
