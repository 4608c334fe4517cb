// The examples of docs/examples, each against a gateway that is killed meanwhile.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browser, Naru, until } from './naru.mjs';

const examples = path.join(import.meta.dirname, '../../../docs/examples');

let naru;
let dir;
let site; // serves page.html, as a site elsewhere would

before(async () => {
  site = createServer(async (_, res) => {
    const page = await readFile(path.join(examples, 'page.html'), 'utf8');
    res.setHeader('Content-Type', 'text/html').end(page.replace('http://127.0.0.1:7780/', naru.url));
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  naru = await Naru.start('--origins', origin());
  dir = await mkdtemp(path.join(tmpdir(), 'naru-examples-'));
});

after(async () => {
  site?.close();
  await naru?.close();
  if (dir) await rm(dir, { recursive: true, force: true });
});

const origin = () => `http://127.0.0.1:${site.address().port}`;
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function killed() {
  await naru.down('SIGKILL');
  await naru.up('--origins', origin());
}

/** Starts a program in dir. Its values are what read makes of the lines that it prints. */
function start(command, args, read) {
  const child = spawn(command, args, { cwd: dir, env: { ...process.env, no_proxy: '*' } });
  const got = { out: '', err: '' };
  child.stdout.on('data', (b) => (got.out += b));
  child.stderr.on('data', (b) => (got.err += b));
  return {
    values: () => got.out.split('\n').slice(0, -1).flatMap(read),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    },
    told: () => got.err,
  };
}

/** Waits until values has n, and fails with what the program says. */
async function arrived(program, values, n) {
  try {
    await until(async () => (await values()).length >= n, 60_000, `reading ${n}`);
  } catch (e) {
    e.message += `\n${JSON.stringify((await values()).slice(-5))}\n${program.told()}`;
    throw e;
  }
}

const lastWord = (line) => [Number(line.split(' ').at(-1))];

/** Why an example cannot run here; false if it can. */
function lacks(what, command, ...args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0 ? false : `${what} is not installed`;
}

const python = ['/usr/bin/python3', 'python3'].find((p) => spawnSync(p, ['-c', 'import requests'], { stdio: 'ignore' }).status === 0) ?? 'python3';

for (const { name, command, read = lastWord, ordered = true, skip = false } of [
  { name: 'watch.mjs', command: [process.execPath, 'watch.mjs'] },
  { name: 'watch.sh', command: ['sh', 'watch.sh'], read: (line) => JSON.parse(line).readings.map((r) => r.value), skip: lacks('curl', 'curl', '--version') },
  { name: 'sse.py', command: [python, 'sse.py'], skip: lacks('Python with requests (Debian package python3-requests)', python, '-c', 'import requests') },
  {
    name: 'watch.py',
    command: [python, 'watch.py'],
    ordered: false,
    skip: lacks('Python with socketio (Debian packages python3-socketio, python3-requests and python3-websocket)', python, '-c', 'import requests, socketio, websocket'),
  },
]) {
  test(name, { skip }, async () => {
    await copyFile(path.join(examples, name), path.join(dir, name));
    await writeFile(path.join(dir, 'naru.mjs'), await (await fetch(`${naru.url}client/naru.js`)).text());
    const device = `example:${name}`;
    const [program, ...args] = command;
    const again = () => start(program, [...args, naru.url.slice(0, -1), device], read);
    await naru.write(device, 1, 1);
    let running = again();
    try {
      await arrived(running, running.values, 1);
      await naru.write(device, 2, 100);
      await arrived(running, running.values, 100);
      await killed();
      await naru.write(device, 101, 200);
      await arrived(running, running.values, 200);
      const values = running.values();
      assert.deepEqual(ordered ? values : values.toSorted((a, b) => a - b), range(1, 200));
      if (name !== 'watch.mjs') return;

      await running.stop();
      await naru.write(device, 201, 250);
      running = again();
      await arrived(running, running.values, 50);
      assert.deepEqual(running.values(), range(201, 250), 'it goes on where it was');
    } finally {
      await running.stop();
    }
  });
}

test('page.html', async () => {
  const chromium = await browser();
  const device = 'example:page';
  await naru.write(device, 7, 7);
  try {
    const page = await chromium.newPage();
    await page.goto(origin());
    const value = page.locator('tr', { hasText: device }).locator('td').last();
    const shows = (text) => until(async () => (await value.count()) === 1 && (await value.textContent()) === text, 30_000, text);
    await shows('7');
    await naru.write(device, 8, 8);
    await shows('8');
    await killed();
    await naru.write(device, 9, 9);
    await shows('9');
    const lines = (await readFile(path.join(examples, 'page.html'), 'utf8')).trimEnd().split('\n');
    assert.ok(lines.length < 30, `${lines.length} lines`);
  } finally {
    await chromium.close();
  }
});

/** The flow, with its address exchanged, and with the values written to a file. */
async function flow(file) {
  const nodes = JSON.parse(await readFile(path.join(examples, 'node-red.json'), 'utf8'));
  const ids = new Set(nodes.map((n) => n.id));
  for (const n of nodes) for (const to of n.wires?.flat() ?? []) assert.ok(ids.has(to), `${n.id} is wired to ${to}`);
  const gateway = nodes.find((n) => n.type === 'websocket-client');
  gateway.path = gateway.path.replace('127.0.0.1:7780', naru.ports.http);
  const show = nodes.findIndex((n) => n.type === 'debug');
  const { id, z, x, y } = nodes[show];
  nodes[show] = { id, z, x, y, type: 'file', filename: file, filenameType: 'str', appendNewline: true, overwriteFile: 'false', encoding: 'none', wires: [[]] };
  return nodes;
}

const nodeRed = process.env.NODE_RED ?? 'node-red';

test('node-red.json', { skip: lacks('Node-RED (npm install -g node-red, or NODE_RED with its path)', nodeRed, '--help') }, async () => {
  const file = path.join(dir, 'values');
  await writeFile(file, '');
  await writeFile(path.join(dir, 'flow.json'), JSON.stringify(await flow(file)));
  await writeFile(path.join(dir, 'settings.js'), "module.exports = { uiPort: 0, uiHost: '127.0.0.1', httpAdminRoot: false, flowFile: 'flow.json' };");
  const program = start(nodeRed, ['-u', dir, '-s', path.join(dir, 'settings.js'), path.join(dir, 'flow.json')], () => []);
  const device = 'example:red';
  // The flow has all devices, and begins with the newest of each series.
  const values = async () => (await readFile(file, 'utf8')).split('\n').slice(0, -1).map(Number).filter((n) => n > 1000);
  await naru.write(device, 1001, 1001);
  try {
    await arrived(program, values, 1);
    await naru.write(device, 1002, 1100);
    await arrived(program, values, 100);
    await killed();
    await naru.write(device, 1101, 1200);
    await arrived(program, values, 200);
    assert.deepEqual(await values(), range(1001, 1200));
  } finally {
    await program.stop();
  }
});
