// What the browser tests need: the built program on free ports of this machine,
// a browser, and ways to send readings.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const out = path.join(import.meta.dirname, 'out');

/** Starts a browser; extra flags follow the usual ones. */
export async function browser(...extra) {
  await mkdir(out, { recursive: true });
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...flags, ...extra] });
}

/** Calls f until it returns something true, for at most `within` milliseconds. */
export async function until(f, within = 10_000, what = 'it') {
  const end = Date.now() + within;
  for (;;) {
    const got = await f();
    if (got) return got;
    assert.ok(Date.now() < end, `${what} did not happen within ${within} ms`);
    await sleep(20);
  }
}

/** Naru is one running program with its own data. */
export class Naru {
  #child = null;
  #log = '';
  #dir;
  #args = [];
  ports;

  static async start(...args) {
    assert.ok(process.env.NARU_BIN, 'set NARU_BIN to the built program');
    const naru = new Naru();
    naru.#dir = await mkdtemp(path.join(tmpdir(), 'naru-e2e-'));
    await naru.up(...args);
    return naru;
  }

  get url() {
    return `http://${this.ports.http}/`;
  }

  get data() {
    return path.join(this.#dir, 'data');
  }

  /** Starts the program; a second time on the same ports and data, and with the same arguments unless others are given. */
  async up(...args) {
    if (args.length > 0) this.#args = args;
    const { udp, tcp, http } = this.ports ?? { udp: '127.0.0.1:0', tcp: '127.0.0.1:0', http: '127.0.0.1:0' };
    const file = path.join(this.#dir, 'ports.json');
    await rm(file, { force: true });
    const all = ['serve', '--data', this.data, '--udp', udp, '--tcp', tcp, '--http', http, '--ports-file', file, ...this.#args];
    this.#child = spawn(process.env.NARU_BIN, all, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr.on('data', (b) => (this.#log += b));
    this.ports = await until(async () => {
      assert.equal(this.#child.exitCode, null, `the program ended:\n${this.#log}`);
      try {
        return JSON.parse(await readFile(file, 'utf8'));
      } catch {
        return null;
      }
    });
  }

  async down(signal = 'SIGTERM') {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  async close() {
    await this.down();
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** Sends datagrams. */
  async udp(...payloads) {
    const [host, port] = this.ports.udp.split(':');
    const socket = createSocket('udp4');
    for (const p of payloads) await new Promise((resolve) => socket.send(p, Number(port), host, resolve));
    socket.close();
  }

  /** Sends lines over one TCP connection and waits until all are stored. */
  async tcp(lines) {
    const before = await this.count();
    const [host, port] = this.ports.tcp.split(':');
    const socket = connect(Number(port), host);
    socket.on('error', () => undefined);
    socket.end(`${lines.join('\n')}\n`);
    await once(socket, 'close');
    await until(async () => (await this.count()) >= before + lines.length, 10_000, 'storing what was sent');
  }

  /** Writes counts from..to of a device; they are on the disk afterwards. */
  async write(device, from, to) {
    const lines = [];
    for (let i = from; i <= to; i++) lines.push(`count,device=${device} value=${i}i`);
    const answer = await fetch(`${this.url}api/v1/write`, { method: 'POST', body: lines.join('\n') });
    assert.equal(answer.status, 204);
  }

  async count() {
    const response = await fetch(`${this.url}api/v1/readings/count`);
    return (await response.json()).count;
  }
}

/** A page of another site, empty. */
export async function site() {
  const server = createServer((_, res) => res.setHeader('Content-Type', 'text/html').end('<!doctype html><title>elsewhere</title>'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** A reverse proxy that serves the program below /sub/naru/ of this machine. Returns the page's URL and how to stop. */
export async function proxied(naru) {
  const [host, port] = naru.ports.http.split(':');
  const sockets = new Set();
  const head = (req) => {
    const lines = [`${req.method} ${req.url.replace('/sub/naru', '')} HTTP/1.1`];
    for (let i = 0; i < req.rawHeaders.length; i += 2) lines.push(`${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}`);
    return `${lines.join('\r\n')}\r\n\r\n`;
  };
  const server = createServer((req, res) => {
    if (!req.url.startsWith('/sub/naru/')) {
      res.writeHead(404).end();
      return;
    }
    const options = { host, port, method: req.method, path: req.url.replace('/sub/naru', ''), headers: req.headers };
    const up = request(options, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    up.on('error', () => res.destroy());
    res.on('close', () => up.destroy());
    req.pipe(up);
  });
  server.on('upgrade', (req, socket) => {
    const up = connect(Number(port), host, () => up.write(head(req)));
    for (const [a, b] of [[socket, up], [up, socket]]) {
      a.pipe(b);
      a.on('error', () => b.destroy());
    }
  });
  server.on('connection', (s) => sockets.add(s));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    for (const s of sockets) s.destroy();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}/sub/naru/`, close };
}

/** A page that fails the test when a script of it does, and when it breaks its content security policy. */
export async function open(context, url) {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (e) => errors.push(e.message));
  page.on('console', (m) => {
    if (m.type() === 'error' && /Content Security Policy|Uncaught/.test(m.text())) errors.push(m.text());
  });
  page.errors = errors;
  await page.goto(url);
  return page;
}

/** The value that a card shows. */
export function shown(page, device, metric) {
  return page.locator(`[data-device="${device}"] [data-metric="${metric}"] .value`);
}

/** What the page says about its connection. */
export function linkText(page) {
  return page.locator('.link-words').textContent();
}

/** A figure of the connection's details, such as "Readings received". */
export async function fact(page, name) {
  await page.locator('.link').click();
  const figure = page.locator('dialog[open] .facts > div', { hasText: name }).locator('dd');
  const text = await until(() => figure.textContent(), 5000, name);
  await page.keyboard.press('Escape');
  await until(async () => (await page.locator('dialog').count()) === 0, 5000, 'closing');
  return text;
}

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Fails on what axe finds wrong. */
export async function accessible(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(
    violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join('; ')}`),
    [],
  );
}
