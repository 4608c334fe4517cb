// naru.js as the gateway serves it, in Node.js and in a browser: each reading exactly
// once, whatever happens to network and gateway.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { browser, Naru, site, until } from './naru.mjs';
import { Network } from './network.mjs';

globalThis.WebSocket ??= WebSocket; // Node.js 20 has none

let naru;
let dir;
let connect;

before(async () => {
  naru = await Naru.start();
  dir = await mkdtemp(path.join(tmpdir(), 'naru-client-'));
  for (const name of ['naru.js', 'naru.d.ts']) {
    const answer = await fetch(`${naru.url}client/${name}`);
    assert.equal(answer.status, 200);
    await writeFile(path.join(dir, name.replace('.js', '.mjs').replace('.d.ts', '.d.mts')), await answer.text());
  }
  ({ connect } = await import(pathToFileURL(path.join(dir, 'naru.mjs'))));
});

after(async () => {
  await naru?.close();
  if (dir) await rm(dir, { recursive: true, force: true });
});

/** A client that is cut while it changes transports notices only when no ping comes, after 45 s. */
const arriveWithin = 60_000;

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** A subscription that notes what it gets. */
function watch(gateway, selection) {
  const seen = { values: [], cursors: [], states: [], others: [] };
  const note = (kind) => (what) => seen.others.push({ kind, what });
  const stop = gateway.readings(
    selection,
    (reading, info) => {
      seen.values.push(reading.value);
      seen.cursors.push(info.cursor);
    },
    { state: (s) => seen.states.push(s), gap: note('gap'), reset: note('reset'), device: note('device'), error: note('error') },
  );
  const technique = () => seen.states.at(-1).technique;
  const arrived = (n) => until(() => seen.values.length >= n, arriveWithin, `reading ${n}`);
  const phase = (p) => until(() => seen.states.at(-1).phase === p, 10_000, p);
  return { seen, stop, technique, arrived, phase };
}

for (const { name, technique, webSockets = 'pass', ends } of [
  { name: 'free', ends: 'websocket' },
  { name: 'polling only', technique: 'polling', ends: 'polling' },
  { name: 'websocket only', technique: 'websocket', ends: 'websocket' },
  { name: 'websocket refused', webSockets: 'refuse', ends: 'polling' },
  { name: 'websocket hanging', webSockets: 'hang', ends: 'polling' },
]) {
  test(`two subscriptions, each reading once: ${name}`, async () => {
    const network = await Network.start(naru);
    network.webSockets = webSockets;
    const gateway = connect(network.url, { technique });
    const id = name.replaceAll(' ', '-');
    const one = watch(gateway, { device: `${id}-1`, presence: false });
    const both = watch(gateway, { device: [`${id}-?`], presence: false });
    const write = (from, to) => Promise.all([1, 2].map((n) => naru.write(`${id}-${n}`, from, to)));
    const arrived = async (n) => {
      await one.arrived(n);
      await both.arrived(2 * n);
    };
    try {
      await one.phase('live');
      await both.phase('live');
      await write(1, 100);
      await arrived(100);

      network.off();
      await write(101, 200);
      await one.phase('waiting');
      network.on();
      await arrived(200);

      // While readings come, and at any byte.
      for (let i = 0; i < 3; i++) {
        const writing = write(201 + 100 * i, 300 + 100 * i);
        network.off();
        network.on();
        await writing;
      }
      await arrived(500);

      for (const [i, signal] of ['SIGKILL', 'SIGTERM'].entries()) {
        await naru.down(signal);
        await naru.up();
        await write(501 + 100 * i, 600 + 100 * i);
        await arrived(600 + 100 * i);
      }
      await until(() => one.technique() === ends, 5000, ends);

      assert.deepEqual(one.seen.values, range(1, 700));
      assert.deepEqual(both.seen.values.toSorted((a, b) => a - b), range(1, 700).flatMap((n) => [n, n]));
      for (const { seen } of [one, both]) assert.deepEqual(seen.others, []);
      one.stop();
      await naru.write(`${id}-1`, 701, 701);
      await both.arrived(1401);
      assert.equal(one.seen.values.length, 700);
      assert.deepEqual(one.seen.states.at(-1), { phase: 'closed', technique: null, error: '' });
    } finally {
      gateway.close();
      network.close();
    }
    assert.equal(both.seen.states.at(-1).phase, 'closed');
  });
}

test('who stops while the WebSocket takes over hears nothing more', async () => {
  const gateway = connect(naru.url);
  const told = [];
  for (let after = 0; after < 20; after++) {
    const states = [];
    told.push(states);
    const state = (s) => {
      states.push(s.phase);
      if (states.length === 2) setTimeout(stop, after);
    };
    const stop = gateway.readings({ device: 'stopped' }, () => undefined, { state });
    await until(() => states.includes('closed'), 5000, 'the end');
  }
  const { stop, technique } = watch(gateway, {});
  await until(() => technique() === 'websocket', 5000, 'the WebSocket of one that goes on');
  stop();
  for (const states of told) assert.match(states.join(' '), /^connecting live (live )?closed$/);
});

test('a later program goes on from any cursor', async () => {
  const gateway = connect(naru.url);
  const first = watch(gateway, { device: 'later', presence: false });
  await first.phase('live');
  await naru.write('later', 1, 50);
  await first.arrived(50);
  first.stop();
  await naru.write('later', 51, 60);
  for (const at of [1, 25, 49, 50]) {
    const { seen, stop, arrived } = watch(gateway, { device: 'later', after: first.seen.cursors[at - 1], presence: false });
    await arrived(60 - at);
    stop();
    assert.deepEqual(seen.values, range(at + 1, 60));
  }
});

test('what is asked for', async () => {
  const gateway = connect(naru.url);
  await naru.write('asked-1', 1, 3);
  await naru.write('asked-2', 4, 6);
  for (const [selection, want] of [
    [{ device: 'asked-1', last: 2 }, [2, 3]],
    [{ device: ['asked-1', 'asked-2'], last: 1 }, [3, 6]],
    [{ device: 'asked-*', metric: 'count', last: 1 }, [3, 6]],
    [{ device: 'asked-2', last: 3, deadband: 1.5 }, [4, 6]],
    [{ device: 'asked-2', last: 1, policy: 'latest', every: '1s' }, [6]],
  ]) {
    const { seen, stop, arrived } = watch(gateway, { ...selection, presence: false });
    await arrived(want.length);
    stop();
    assert.deepEqual(seen.values, want);
    assert.deepEqual(seen.others, []);
  }
});

test('device states are told to who has a handler for them', async () => {
  await naru.write('present', 1, 1);
  const { seen, stop } = watch(connect(naru.url), { device: 'present' });
  await until(() => seen.others.length > 0, 5000, 'the state');
  stop();
  assert.deepEqual([seen.others[0].kind, seen.others[0].what.id], ['device', 'present']);
});

test('a refused selection is told, and tried again', async () => {
  const { seen, stop } = watch(connect(naru.url), { last: 5000 });
  await until(() => seen.others.length > 1, 10_000, 'the second error');
  stop();
  assert.equal(seen.others[0].kind, 'error');
  assert.match(seen.others[0].what.message, /^last: /);
  assert.ok(seen.states.some((s) => s.phase === 'waiting' && s.error === seen.others[0].what.message));
});

test('another store: reset, then its readings', async () => {
  const own = await Naru.start();
  const { seen, stop, phase, arrived } = watch(connect(own.url), { device: 'r', last: 1, presence: false });
  try {
    await phase('live');
    await own.write('r', 1, 20);
    await arrived(20);
    await own.down();
    await rm(own.data, { recursive: true });
    await own.up();
    await until(() => seen.others.length > 0, 10_000, 'reset');
    await own.write('r', 21, 22);
    await arrived(22);
    assert.deepEqual(seen.values, range(1, 22));
    assert.deepEqual(seen.others.map((o) => o.kind), ['reset']);
  } finally {
    stop();
    await own.close();
  }
});

/** Runs the program beside the gateway, on its data. */
async function run(...args) {
  const { stdout } = await promisify(execFile)(process.env.NARU_BIN, [...args, '--data', naru.data]);
  return stdout;
}

for (const technique of [undefined, 'polling', 'websocket']) {
  test(`access, ${technique ?? 'free'}: a link, a token, none, and one that is revoked`, async () => {
    const network = await Network.start(naru);
    network.host = 'gateway.test';
    const name = `client-${technique ?? 'free'}`;
    const token = /[a-z2-7]{26}|[A-Za-z0-9_-]{22,}/.exec(await run('access', 'add', name))[0];
    try {
      for (const gateway of [connect(`${network.url}/?token=${token}`, { technique }), connect(network.url, { token, technique })]) {
        const { seen, stop, phase, arrived } = watch(gateway, { device: name, presence: false });
        await phase('live');
        await naru.write(name, 1, 1);
        await arrived(1);
        stop();
        assert.deepEqual(seen.others, []);
      }
      const without = watch(connect(network.url, { technique }), {});
      await without.phase('unauthorized');
      await until(() => without.seen.others.length > 0, 5000, 'the error');
      assert.match(without.seen.others[0].what.message, /access token/);

      const revoked = watch(connect(network.url, { token, technique }), {});
      await revoked.phase('live');
      await run('access', 'revoke', name);
      await revoked.phase('unauthorized');
    } finally {
      network.close();
    }
  });
}

test('its types', async () => {
  const tsc = path.join(import.meta.dirname, '../node_modules/typescript/bin/tsc');
  const check = async (program) => {
    await writeFile(path.join(dir, 'program.mts'), `import { connect, type Reading, type State } from './naru.mjs';\n${program}`);
    const args = ['--ignoreConfig', '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2023,dom', '--types', '', path.join(dir, 'program.mts')];
    return promisify(execFile)(process.execPath, [tsc, ...args]).then(() => '', (e) => e.stdout);
  };
  const good = `const stop: () => void = connect('http://127.0.0.1:7780', { token: 'x', technique: 'polling' }).readings(
    { device: ['a*'], metric: 'temp', last: 1, policy: 'latest', every: '1s', deadband: 0.5, presence: true },
    (r: Reading, info) => [r.value, info.cursor.length],
    { state: (s: State) => s.phase === 'live', gap: (g) => g.from, reset: (r) => r.reason, device: (d) => d.state, error: (e) => e.message },
  );
  stop();`;
  assert.equal(await check(good), '');
  assert.match(await check(`connect().readings({ device: 5 }, () => undefined);`), /TS2322/);
  assert.match(await check(`import { parseMessage } from './naru.mjs'; parseMessage('');`), /TS2305/);
});

test('in a browser, on a page elsewhere, over a killed gateway', async () => {
  const elsewhere = await site();
  const own = await Naru.start('--origins', elsewhere.origin);
  const chromium = await browser();
  try {
    const page = await chromium.newPage();
    await page.goto(elsewhere.origin);
    await page.evaluate(async (url) => {
      const { connect } = await import(`${url}client/naru.js`);
      window.values = [];
      window.states = [];
      connect().readings({ device: 'far' }, (r) => window.values.push(r.value), { state: (s) => window.states.push(`${s.phase} ${s.technique}`) });
    }, own.url);
    const state = () => page.evaluate(() => window.states.at(-1));
    const values = () => page.evaluate(() => window.values);
    await until(async () => (await state()) === 'live websocket', 10_000, 'the WebSocket');
    await own.write('far', 1, 100);
    await until(async () => (await values()).length === 100, 10_000, 'the readings');
    await own.down('SIGKILL');
    await own.up();
    await own.write('far', 101, 200);
    await until(async () => (await values()).length >= 200, 15_000, 'the later readings');
    assert.deepEqual(await values(), range(1, 200));
  } finally {
    await chromium.close();
    await own.close();
    elsewhere.close();
  }
});

test('in a browser, on a page of the gateway, with the session of who has logged in', async () => {
  const chromium = await browser('--host-resolver-rules=MAP naru.local 127.0.0.1');
  const url = `http://naru.local:${naru.ports.http.split(':')[1]}/`;
  try {
    const page = await chromium.newPage();
    const phases = (technique) =>
      page.evaluate(async (technique) => {
        const { connect } = await import('/client/naru.js');
        return new Promise((resolve) => {
          const phases = [];
          const state = (s) => {
            phases.push(s.phase);
            if (s.phase === 'live' || s.phase === 'unauthorized') resolve(phases);
          };
          connect(undefined, { technique }).readings({ device: 'nobody' }, () => undefined, { state });
        });
      }, technique);
    assert.equal((await page.goto(`${url}client/licences.txt`)).status(), 200, 'open to everybody, and an address of this origin');
    assert.deepEqual(await phases('polling'), ['connecting', 'unauthorized']);
    assert.deepEqual(await phases('websocket'), ['connecting', 'unauthorized']);
    await page.goto(`${url}?token=${(await readFile(path.join(naru.data, 'token'), 'utf8')).trim()}`);
    for (const technique of [undefined, 'polling', 'websocket']) assert.deepEqual(await phases(technique), ['connecting', 'live']);
  } finally {
    await chromium.close();
  }
});

test('in a browser, on a page that the gateway does not know: nothing', async () => {
  const elsewhere = await site();
  const chromium = await browser();
  try {
    const page = await chromium.newPage();
    await page.goto(elsewhere.origin);
    const outcome = await page.evaluate((url) => import(`${url}client/naru.js`).then(() => 'imported', () => 'refused'), naru.url);
    assert.equal(outcome, 'refused');
  } finally {
    await chromium.close();
    elsewhere.close();
  }
});

test('how it is served', async () => {
  const { url } = naru;
  const first = await fetch(`${url}client/naru.js`, { headers: { 'Accept-Encoding': 'gzip' } });
  assert.equal(first.headers.get('Content-Type'), 'text/javascript; charset=utf-8');
  assert.equal(first.headers.get('Cache-Control'), 'no-cache');
  const again = await fetch(`${url}client/naru.js`, { headers: { 'Accept-Encoding': 'gzip', 'If-None-Match': first.headers.get('ETag') } });
  assert.equal(again.status, 304);
  assert.ok(Number(first.headers.get('Content-Length')) < 20_000, 'it stays small');
  assert.equal(await first.text(), await readFile(path.join(import.meta.dirname, '../dist/client/naru.js'), 'utf8'));
});
