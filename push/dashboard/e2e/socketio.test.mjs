// The official client of Socket.IO, unmodified, in Node.js and in a browser: by every
// transport, through bad networks and over a killed server, each reading exactly once.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { browser, Naru, site, until } from './naru.mjs';
import { Network } from './network.mjs';

const bundle = path.join(createRequire(import.meta.url).resolve('socket.io-client/dist/socket.io.js'), '../socket.io.min.js');

let naru;
let elsewhere;
let chromium;

before(async () => {
  elsewhere = await site();
  naru = await Naru.start('--origins', elsewhere.origin);
  chromium = await browser();
});

after(async () => {
  await chromium?.close();
  await naru?.close();
  elsewhere?.close();
});

/** A client that notes what it gets. It runs in pages too, so it knows nothing from outside. */
function client(io, url, device, options = {}) {
  const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 200, forceNew: true, query: { device }, ...options });
  const seen = { values: [], cursors: [], connects: [], hellos: [], others: [], transports: {} };
  socket.on('connect', () => seen.connects.push(socket.recovered));
  socket.on('hello', (message, cursor) => seen.hellos.push({ message, cursor }));
  const note = (reading) => {
    seen.values.push(reading.value);
    seen.transports[socket.io.engine.transport.name] = true;
  };
  socket.on('reading', (reading, cursor) => (note(reading), seen.cursors.push(cursor)));
  socket.on('readings', (message, cursor) => (message.readings.forEach(note), seen.cursors.push(cursor)));
  for (const name of ['gap', 'reset', 'device', 'error']) socket.on(name, (message, cursor) => seen.others.push({ message, cursor }));
  return { socket, seen, look: () => ({ ...seen, transport: socket.io.engine?.transport?.name }) };
}

const watch = (url, device, options) => client(io, url, device, options);

/** How a client runs, how it is looked at, and how its network goes off and on. */
const places = {
  async node(network, device, options) {
    const { socket, look } = watch(network.url, device, options);
    return { look, off: () => network.off(), on: () => network.on(), close: () => socket.close() };
  },
  async chromium(network, device, options) {
    const context = await chromium.newContext();
    const page = await context.newPage();
    await page.goto(elsewhere.origin);
    await page.addScriptTag({ path: bundle });
    await page.evaluate(`window.watching = (${client})(io, ...${JSON.stringify([network.url, device, options])}), null`);
    return {
      look: () => page.evaluate(() => window.watching.look()),
      off: async () => (network.off(), context.setOffline(true)),
      on: async () => (network.on(), context.setOffline(false)),
      close: () => context.close(),
    };
  },
};

/** A client that is cut while it changes transports notices only when no ping comes, after 45 s. */
const arriveWithin = 60_000;

const range = (n) => Array.from({ length: n }, (_, i) => i + 1);
const arrived = (seen, n) => until(() => seen.values.length >= n, arriveWithin, `reading ${n}`);

const manners = [
  { name: 'default', options: {}, ends: 'websocket' },
  { name: 'websocket only', options: { transports: ['websocket'] }, ends: 'websocket' },
  { name: 'polling only', options: { transports: ['polling'] }, ends: 'polling' },
  { name: 'websocket refused', options: {}, webSockets: 'refuse', ends: 'polling' },
  { name: 'websocket hanging', options: {}, webSockets: 'hang', ends: 'polling' },
  { name: 'websocket first, refused', options: { transports: ['websocket', 'polling'], tryAllTransports: true }, webSockets: 'refuse', ends: 'polling' },
  { name: 'in batches', options: { auth: { batch: 1 } }, ends: 'websocket' },
];

/** Writes 902 readings while network and gateway come and go; the client is to have each once. */
async function eachOnce(network, device, { look, off, on }, ends) {
  const has = (n) => until(async () => (await look()).values.length >= n, arriveWithin, `reading ${n}`);
  await until(async () => (await look()).hellos.length === 1, 10_000, 'the first event');
  await naru.write(device, 1, 100);
  await has(100);

  await off();
  await naru.write(device, 101, 200);
  await on();
  await has(200);

  // While readings come, and at any byte.
  for (let i = 0; i < 5; i++) {
    const writing = naru.write(device, 201 + 100 * i, 300 + 100 * i);
    network.off();
    network.on();
    await writing;
  }
  await has(700);

  await naru.down('SIGKILL');
  await naru.up();
  await naru.write(device, 701, 800);
  await has(800);

  await naru.down();
  await naru.up();
  await naru.write(device, 801, 900);
  await has(900);
  await until(async () => (await look()).transport === ends, 5000, ends);
  await naru.write(device, 901, 902);
  await has(902);

  const seen = await look();
  assert.deepEqual(seen.values, range(902));
  assert.deepEqual(seen.others, []);
  assert.deepEqual(seen.connects, seen.connects.map((_, i) => i > 0), 'recovered every time');
  assert.ok(seen.connects.length >= 4);
  for (const { message, cursor } of seen.hellos) {
    assert.equal(message.type, 'hello');
    assert.equal(message.cursor, cursor);
  }
  assert.ok(seen.transports[ends]);
}

for (const [place, begin] of Object.entries(places)) {
  for (const { name, options, webSockets = 'pass', ends } of manners) {
    test(`each reading once, in ${place}: ${name}`, async () => {
      const network = await Network.start(naru);
      network.webSockets = webSockets;
      const device = `${place}-${name.replaceAll(/[^a-z]/g, '')}`;
      const watching = await begin(network, device, options);
      try {
        await eachOnce(network, device, watching, ends);
      } finally {
        await watching.close();
        network.close();
      }
    });
  }
}

test('a client that has heard nothing but hello goes on', async () => {
  const network = await Network.start(naru);
  const { socket, seen } = watch(network.url, 'silent');
  try {
    await until(() => seen.hellos.length === 1, 10_000, 'the first event');
    network.off();
    await naru.write('silent', 1, 50);
    network.on();
    await arrived(seen, 50);
    assert.deepEqual(seen.values, range(50));
    assert.deepEqual(seen.connects, [false, true]);
  } finally {
    socket.close();
    network.close();
  }
});

test('subscribe replaces the selection; afterwards a client begins anew and knows', async () => {
  const network = await Network.start(naru);
  const { socket, seen } = watch(network.url, 'nobody');
  let cursor;
  const subscribe = async () => {
    const answer = await socket.emitWithAck('subscribe', { device: ['sub-b'], ...(cursor && { after: cursor }) });
    assert.match(answer.cursor, /^[a-z0-9]+-[0-9]+$/);
  };
  socket.on('reading', (_, at) => (cursor = at));
  try {
    await until(() => seen.hellos.length === 1, 10_000, 'the first event');
    socket.on('connect', subscribe);
    await subscribe();
    await naru.write('sub-a', 1, 5);
    await naru.write('sub-b', 1, 50);
    await arrived(seen, 50);
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const n = seen.values.length;
      await naru.down(signal);
      await naru.up();
      await naru.write('sub-b', n + 1, n + 50);
      await arrived(seen, n + 50);
    }
    assert.deepEqual(seen.values, range(150));
    assert.deepEqual(seen.connects, [false, false, false]);
    const refused = await socket.emitWithAck('subscribe', { device: 5 });
    assert.deepEqual(refused, { error: 'device: unexpected number' });
    socket.emit('subscribe', { after: 'x' });
    await until(() => seen.others.length === 1, 5000, 'the error');
    assert.equal(seen.others[0].message.type, 'error');
    assert.equal(seen.others[0].cursor, cursor);
  } finally {
    socket.close();
    network.close();
  }
});

test('the parameters, in the query or in auth', async () => {
  await naru.write('par-1', 1, 3);
  await naru.write('par-2', 4, 6);
  for (const [options, want] of [
    [{ query: { device: 'par-1', last: 2 } }, [2, 3]],
    [{ query: { device: ['par-1', 'par-2'], last: 1 } }, [3, 6]],
    [{ query: {}, auth: { device: ['par-*'], last: 1 } }, [3, 6]],
    [{ query: { device: 'nobody' }, auth: { device: 'par-2', last: 1, batch: true } }, [6]],
  ]) {
    const { socket, seen } = watch(naru.url, '', options);
    try {
      await arrived(seen, want.length);
      await until(() => seen.hellos.length === 1, 5000, 'the first event');
      assert.deepEqual(seen.values, want);
    } finally {
      socket.close();
    }
  }
});

test('presence', async () => {
  await naru.write('here', 1, 1);
  const { socket, seen } = watch(naru.url, 'here', { auth: { presence: 1 } });
  try {
    await until(() => seen.others.length > 0, 5000, 'the device');
    const { message, cursor } = seen.others[0];
    assert.deepEqual([message.type, message.device.id], ['device', 'here']);
    assert.equal(cursor, seen.hellos[0].cursor);
  } finally {
    socket.close();
  }
});

test('bad parameters refuse the connection', async () => {
  for (const [auth, want] of [
    [{ after: 'x' }, 'after: malformed cursor: want <store>-<offset>'],
    [{ last: 0 }, 'last: want a number from 1 to 1000'],
    [{ device: {} }, 'device: want a text'],
    [{ batch: 'perhaps' }, 'batch: want 1 or 0'],
  ]) {
    const socket = io(naru.url, { auth, forceNew: true });
    try {
      const [error] = await new Promise((resolve) => socket.on('connect_error', (...args) => resolve(args)));
      assert.equal(error.message, want);
      assert.equal(socket.active, false);
    } finally {
      socket.close();
    }
  }
  const elsewhere = io(`${naru.url}elsewhere`, { forceNew: true });
  const [error] = await new Promise((resolve) => elsewhere.on('connect_error', (...args) => resolve(args)));
  assert.equal(error.message, 'Invalid namespace');
  elsewhere.close();
});
