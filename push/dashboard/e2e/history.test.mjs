// The past on the page: how far and how closely one can look, and what that asks of the server.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, browser, linkText, Naru, open, out, until } from './naru.mjs';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
const perTile = 256;

let naru;
let chrome;

before(async () => {
  naru = await Naru.start();
  chrome = await browser();
  const now = Date.now();
  const lines = [];
  const put = (t) => {
    const temp = (15 + 6 * Math.sin(t / (day / 6.28)) + Math.sin(t / 40_000)).toFixed(2);
    lines.push(`climate,device=gh1 temp=${temp},hum=${50 + (Math.round(t / 7000) % 9)}i,vent=${Math.floor(t / (5 * minute)) % 3 === 0} ${Math.round(t * 1000)}000`);
  };
  for (let t = now - 400 * day; t < now - 2 * day; t += hour) put(t);
  for (let t = now - 2 * day; t < now - hour; t += minute) put(t);
  for (let t = now - hour; t < now - second; t += second) put(t);
  for (let i = 0; i < 20; i++) lines.push(`climate,device=cellar temp=${i} ${now - 3 * day - i * minute}000000`);
  await naru.tcp(lines);
});

after(async () => {
  await chrome?.close();
  await naru?.close();
});

const desk = { viewport: { width: 1280, height: 900 } };
const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

/** Opens a device's page; `asked` collects what it asks of the past. */
async function withDevice(run, { device = 'gh1', prepare = async () => undefined, ...options } = {}) {
  const context = await chrome.newContext({ locale: 'en-GB', timezoneId: 'Europe/Berlin', reducedMotion: 'reduce', ...desk, ...options });
  try {
    await prepare(context);
    const asked = [];
    context.on('request', (r) => {
      const url = new URL(r.url());
      if (!/\/(history|readings)$/.test(url.pathname)) return;
      const of = (name) => Number(url.searchParams.get(name));
      asked.push({ kind: path.basename(url.pathname), from: of('from'), to: of('to'), points: of('points'), metrics: url.searchParams.getAll('metric') });
    });
    const page = await open(context, `${naru.url}#/device/${device}`);
    page.asked = asked;
    await page.locator('.chart canvas').first().waitFor();
    await run(page, context);
    assert.deepEqual(page.errors, []);
  } finally {
    await context.close();
  }
}

/** What the first chart says that it shows. */
async function drawn(page) {
  const d = await page.locator('.chart').first().evaluate((e) => ({ ...e.dataset }));
  return { from: Number(d.from), to: Number(d.to), length: d.to - d.from, step: Number(d.step), rows: Number(d.rows), whole: d.whole === 'true' };
}

/** Waits until the first chart shows all of what passes, and returns it. */
async function shows(page, pass, what) {
  let d;
  await until(async () => (d = await drawn(page)).whole && pass(d), 10_000, what);
  return d;
}

const near = (a, b, by) => Math.abs(a - b) <= by;
const isLive = async (page) => (await page.getByRole('button', { name: 'Pause' }).count()) === 1;
const press = (page, name) => page.locator('.segments label', { hasText: new RegExp(`^${name} `) }).click();

/** Where the plot of the first chart is. */
async function plot(page) {
  return page.locator('.chart .u-over').first().boundingBox();
}

async function drag(page, [x1, y1], [x2, y2]) {
  await page.mouse.move(x1, y1);
  await page.mouse.down();
  await page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2, { steps: 4 });
  await page.mouse.move(x2, y2, { steps: 4 });
  await page.mouse.up();
}

test('it begins with the last hour and goes on live', async () => {
  await withDevice(async (page) => {
    const d = await shows(page, ({ rows }) => rows > 300, 'the last hour');
    assert.deepEqual([d.length, d.step, await isLive(page)], [hour, 10 * second, true]);
    assert.ok(near(d.to, Date.now(), 5 * second));
    const panel = page.locator('.panel[data-metric="climate.hum"]');
    assert.equal(await panel.locator('.grain').textContent(), '10 s each: min · avg · max');
    await naru.udp('climate,device=gh1 hum=98i');
    await until(async () => /max 98/.test(await panel.locator('.figures').textContent()), 5000, 'the new reading');
    await until(async () => (await drawn(page)).to > d.to, 5000, 'going on');
    await accessible(page);
  });
});

test('the first requests: what is seen, then the tile beside it, nothing twice', async () => {
  await withDevice(async (page) => {
    const { from } = await shows(page, ({ rows }) => rows > 300, 'the last hour');
    await until(() => page.asked.some((q) => q.to <= from), 3000, 'the tile beside it');
    const numbers = page.asked.filter((q) => q.metrics.includes('climate.temp'));
    const tiles = [];
    for (const q of numbers) {
      assert.equal(q.kind, 'history');
      assert.equal((q.to - q.from) / q.points, 10 * second);
      assert.equal(q.points % perTile, 0);
      for (let n = 0; n < q.points / perTile; n++) tiles.push(q.from + n * perTile * 10 * second);
    }
    assert.ok(tiles.length >= 3 && tiles.length <= 5, `${tiles.length} tiles`);
    assert.equal(new Set(tiles).size, tiles.length);
  });
});

for (const [name, length, step] of [
  ['5 min', 5 * minute, 0],
  ['1 h', hour, 10 * second],
  ['1 d', day, 5 * minute],
  ['1 w', 7 * day, 30 * minute],
  ['30 d', 30 * day, 2 * hour],
  ['1 y', 365 * day, day],
  ['all', 400 * day, day],
]) {
  test(`button ${name}`, async () => {
    await withDevice(async (page) => {
      await shows(page, ({ rows }) => rows > 300, 'the last hour');
      await press(page, name);
      const d = await shows(page, (x) => near(x.length, length, name === 'all' ? 10 * day : 0) && x.rows > 100, name);
      assert.deepEqual([d.step, await isLive(page)], [step, true]);
      assert.ok(d.rows < 700, `${d.rows} rows`);
      assert.ok(await page.locator('.segments label', { hasText: new RegExp(`^${name} `) }).locator('input').isChecked());
      const bucket = page.asked.filter((q) => q.kind === 'history' && q.points > 100 && q.metrics.includes('climate.temp')).at(-1);
      if (step > 0) assert.equal((bucket.to - bucket.from) / bucket.points, step);
    });
  });
}

test('drag to zoom, double click to go back, Live to return', async () => {
  await withDevice(async (page) => {
    await press(page, '1 d');
    const before = await shows(page, ({ length, rows }) => length === day && rows > 200, 'the day');
    const { x, y, width } = await plot(page);
    await drag(page, [x + width * 0.25, y + 80], [x + width * 0.5, y + 90]);
    const zoomed = await shows(page, ({ length, rows }) => length < 0.3 * day && rows > 100, 'the zoom');
    assert.ok(near(zoomed.from, before.from + 0.25 * day, 0.01 * day) && near(zoomed.length, 0.25 * day, 0.01 * day));
    await shows(page, ({ step, rows }) => step === 0 && rows > 300, 'single readings: there is one a minute');
    assert.equal(await isLive(page), false);
    assert.equal(await page.locator('.segments input:checked').count(), 0);
    assert.equal((await page.locator('.u-select').first().boundingBox())?.width ?? 0, 0);
    await page.mouse.dblclick(x + width / 2, y + 60);
    await shows(page, ({ length }) => length === day, 'going back');
    assert.equal(await isLive(page), true);
    await drag(page, [x + width * 0.6, y + 80], [x + width * 0.4, y + 80]); // leftwards
    await shows(page, ({ length }) => near(length, 0.2 * day, 0.01 * day), 'another zoom');
    await page.getByRole('button', { name: 'Live', exact: true }).click();
    const back = await shows(page, ({ to }) => near(to, Date.now(), 5 * second), 'returning');
    assert.ok(near(back.length, 0.2 * day, 0.01 * day));
    assert.equal(await isLive(page), true);
  });
});

test('the wheel zooms around the pointer and pans sideways', async () => {
  await withDevice(async (page) => {
    await press(page, '1 d');
    const before = await shows(page, ({ length, rows }) => length === day && rows > 200, 'the day');
    const { x, y, width } = await plot(page);
    await page.mouse.move(x + width * 0.25, y + 80);
    await page.mouse.wheel(0, -400);
    const zoomed = await shows(page, ({ length }) => length < 0.9 * day, 'the zoom');
    assert.ok(near(zoomed.from + zoomed.length / 4, before.from + day / 4, 0.01 * day), 'the time under the pointer stays');
    await page.mouse.wheel(-120, 0);
    const panned = await shows(page, ({ from }) => from < zoomed.from, 'the pan');
    assert.ok(near(panned.length, zoomed.length, 1) && near(zoomed.from - panned.from, (120 / width) * panned.length, 0.01 * day));
    await page.mouse.wheel(0, 2000);
    await shows(page, ({ length }) => length > panned.length, 'zooming out');
    assert.equal(await page.evaluate(() => scrollY), 0);
  });
});

test('a page that is being scrolled goes on over the charts', async () => {
  await withDevice(async (page) => {
    await shows(page, ({ rows }) => rows > 300, 'the last hour');
    const box = await page.locator('.ranges').boundingBox();
    const { x, y } = await plot(page);
    await page.mouse.move(box.x + box.width / 2, box.y + 2);
    await page.mouse.wheel(0, 60);
    await page.mouse.move(x + 100, y + 60);
    await page.mouse.wheel(0, 60);
    await until(() => page.evaluate(() => scrollY > 0), 3000, 'scrolling');
    assert.equal((await drawn(page)).length, hour);
  }, { viewport: { width: 1280, height: 420 } });
});

test('panning: the time axis and Shift drag it, what is near is there already', async () => {
  await withDevice(async (page) => {
    await press(page, '1 d');
    const before = await shows(page, ({ length, rows }) => length === day && rows > 200, 'the day');
    await until(() => page.asked.some((q) => q.points > 0 && (q.to - q.from) / q.points === 5 * minute && q.to <= before.from), 3000, 'the tile beside it');
    page.asked.length = 0;
    const { x, y, width, height } = await plot(page);
    await drag(page, [x + width * 0.4, y + height + 12], [x + width * 0.6, y + height + 12]);
    const panned = await shows(page, ({ to }) => near(to, before.to - 0.2 * day, 0.01 * day), 'the pan');
    assert.equal(panned.length, day);
    await page.keyboard.down('Shift');
    await drag(page, [x + width * 0.4, y + 50], [x + width * 0.5, y + 50]);
    await page.keyboard.up('Shift');
    await shows(page, ({ to }) => near(to, before.to - 0.3 * day, 0.01 * day), 'the second pan');
    assert.deepEqual(page.asked.filter((q) => q.metrics.includes('climate.temp') && q.to > before.from - 0.3 * day), [], 'nothing that is seen was asked for');
  });
});

test('keys', async () => {
  await withDevice(async (page) => {
    await shows(page, ({ rows }) => rows > 300, 'the last hour');
    const { to } = await drawn(page);
    for (const [key, want, live] of [
      ['-', { length: 2 * hour, ago: 0 }, true],
      ['+', { length: hour, ago: 0 }, true],
      ['ArrowLeft', { length: hour, ago: hour / 4 }, false],
      ['ArrowLeft', { length: hour, ago: hour / 2 }, false],
      ['ArrowRight', { length: hour, ago: hour / 4 }, false],
      ['=', { length: hour / 2, ago: hour / 2 }, false],
      ['0', { length: hour / 2, ago: 0 }, true],
      [' ', { length: hour / 2, ago: 0 }, false],
      [' ', { length: hour / 2, ago: 0 }, true],
    ]) {
      await page.keyboard.press(key);
      await shows(page, (d) => d.length === want.length && near(to - want.ago, d.to, 30 * second), `key ${key}`);
      assert.equal(await isLive(page), live, `key ${key}`);
    }
    await page.getByRole('button', { name: 'Zoom out' }).click();
    await shows(page, (d) => d.length === hour, 'the button');
    await page.getByRole('button', { name: 'Earlier' }).click();
    await shows(page, (d) => d.to < to - hour / 3, 'the button');
  });
});

test('down to single readings, with their milliseconds', async () => {
  await withDevice(async (page) => {
    await press(page, '5 min');
    await shows(page, ({ length, rows, step }) => length === 5 * minute && rows > 250 && step === 0, 'five minutes');
    const panel = page.locator('.panel').first();
    assert.equal(await panel.locator('.grain').textContent(), 'every reading');
    const { x, y, width } = await plot(page);
    await drag(page, [x + width * 0.5, y + 50], [x + width * 0.52, y + 50]);
    const d = await shows(page, ({ length, rows }) => length < 10 * second && rows > 0, 'six seconds');
    assert.equal(d.step, 0);
    await page.mouse.move(x + width * 0.4, y + 50);
    await until(async () => /· \d\d:\d\d:\d\d\.\d{3}$/.test(await panel.locator('.figures').textContent()), 3000, 'milliseconds');
    assert.match(await page.locator('.reach').textContent(), /\d\d:\d\d:\d\d\.\d{3}/);
    assert.equal(await panel.locator('.grain').textContent(), 'every reading');
  });
});

test('a bucket under the pointer', async () => {
  await withDevice(async (page) => {
    await press(page, '1 d');
    await shows(page, ({ length, rows }) => length === day && rows > 200, 'the day');
    const { x, y, width } = await plot(page);
    await page.mouse.move(x + width * 0.6, y + 50);
    for (const panel of await page.locator('.panel[data-kind=number]').all()) {
      await until(async () => /^[\d.]+ \([\d.]+ – [\d.]+\) · .*\d\d:\d[05]–\d\d:\d[05]$/.test(await panel.locator('.figures').textContent()), 3000, 'the figures of all charts');
    }
  });
});

test('what is not wanted any more is aborted, and what was drawn stays meanwhile', async () => {
  let held = 0;
  const prepare = (context) =>
    context.route(/\/history\?/, async (route) => {
      const q = new URL(route.request().url()).searchParams;
      if (Number(q.get('to')) - Number(q.get('from')) > 100 * day) held++; // never answered
      else await route.continue();
    });
  await withDevice(async (page) => {
    await shows(page, ({ rows }) => rows > 300, 'the last hour');
    const failed = [];
    page.on('requestfailed', (r) => failed.push(r.url()));
    await press(page, '1 y');
    await until(() => held > 0, 3000, 'the request');
    const meanwhile = await drawn(page);
    assert.deepEqual([meanwhile.whole, meanwhile.length, meanwhile.rows > 300], [false, 365 * day, true]);
    assert.equal(await page.locator('.panels').getAttribute('aria-busy'), 'true');
    await press(page, '1 d');
    await shows(page, ({ length, rows }) => length === day && rows > 200, 'the day');
    await until(() => failed.length >= 1, 3000, 'the abort');
    assert.ok(failed.every((url) => /history/.test(url)));
  }, { prepare });
});

test('no readings in the range: the way to the newest', async () => {
  await withDevice(async (page) => {
    const panel = page.locator('.panel').first();
    await panel.getByText('No readings in this range').waitFor();
    await accessible(page);
    await page.screenshot({ path: path.join(out, 'history-none.png') });
    await panel.getByRole('button', { name: 'Jump to the newest' }).click();
    const d = await shows(page, ({ rows }) => rows === 20, 'the readings');
    assert.ok(near(d.to, Date.now() - 3 * day, 10 * minute));
    assert.equal(await panel.locator('.nothing').count(), 0);
    assert.equal(await isLive(page), false);
  }, { device: 'cellar' });
});

test('offline: said, what there is stays, and it comes by itself', async () => {
  await withDevice(async (page, context) => {
    await shows(page, ({ rows }) => rows > 300, 'the last hour');
    await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
    await context.setOffline(true);
    await press(page, '30 d');
    await page.getByText('The past could not be loaded').or(page.getByText('No connection: what you see may not be all')).waitFor();
    assert.ok((await drawn(page)).rows > 300);
    await until(async () => /Reconnecting/.test(await linkText(page)), 15_000, 'noticing');
    await page.getByText('No connection: what you see may not be all').waitFor();
    await accessible(page);
    await page.screenshot({ path: path.join(out, 'history-offline.png') });
    await context.setOffline(false);
    const d = await until(async () => {
      const x = await drawn(page);
      return x.whole && x.length === 30 * day && x;
    }, 30_000, 'coming back');
    assert.equal(d.step, 2 * hour);
    assert.equal(await page.locator('.notice').count(), 0);
  });
});

for (const [state, text] of [
  ['full', 'The disk is full: readings are shown but not kept.'],
  ['failing', 'The disk takes nothing: readings are shown but may not be kept.'],
  ['ok', ''],
]) {
  test(`the store is ${state}`, async () => {
    const prepare = (context) =>
      context.route(/\/about$/, async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, json: { ...(await answer.json()), storage: { state, detail: 'volume "data"' } } });
      });
    await withDevice(async (page) => {
      await shows(page, ({ rows }) => rows > 300, 'the last hour');
      if (text === '') {
        assert.equal(await page.locator('.notice').count(), 0);
        return;
      }
      const alert = page.getByRole('alert');
      await alert.getByText(text).waitFor();
      assert.match(await alert.textContent(), /volume "data"/);
      await accessible(page);
      await page.screenshot({ path: path.join(out, `storage-${state}.png`) });
    }, { prepare });
  });
}

test('states and the table follow the range', async () => {
  await withDevice(async (page) => {
    const vent = page.locator('.panel[data-metric="climate.vent"]');
    await until(async () => /10 s each/.test(await vent.locator('.grain').textContent()), 5000, 'the strip');
    await vent.getByRole('button', { name: 'Table' }).click();
    await until(async () => (await vent.locator('tbody tr').count()) > 50, 3000, 'its table');
    assert.match(await vent.locator('tbody tr').first().textContent(), /on (0|[1-9]\d?|100) %|on|off/);
    await press(page, '1 w');
    const temp = page.locator('.panel[data-metric="climate.temp"]');
    await temp.getByRole('button', { name: 'Table' }).click();
    const isHour = async () => /\d\d:00 ?– ?.*\d\d:00.*\d – \d/.test((await temp.locator('tbody tr').nth(5).textContent()) ?? '');
    await until(isHour, 5000, 'its table, in hours');
    assert.ok((await temp.locator('tbody tr').count()) > 80);
    await accessible(page);
  });
});

/** Fingers on the screen, each a list of places from the first to the last. */
async function touch(page, ...fingers) {
  const cdp = await page.context().newCDPSession(page);
  const at = (i) => fingers.map((f, id) => ({ x: f[Math.min(i, f.length - 1)][0], y: f[Math.min(i, f.length - 1)][1], id }));
  const most = Math.max(...fingers.map((f) => f.length));
  await cdp.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: at(0) });
  for (let i = 1; i < most; i++) await cdp.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: at(i) });
  await cdp.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
}

test('fingers: one pans, two zoom, and up and down scrolls the page', async () => {
  await withDevice(async (page) => {
    await press(page, '1 d');
    const before = await shows(page, ({ length, rows }) => length === day && rows > 100, 'the day');
    const { x, y, width, height } = await plot(page);
    const line = (from, to) => Array.from({ length: 9 }, (_, i) => [x + width * (from + ((to - from) * i) / 8), y + height / 2]);
    await touch(page, line(0.2, 0.6));
    const panned = await shows(page, ({ to }) => to < before.to - 0.3 * day, 'the pan');
    assert.ok(near(panned.length, day, 1) && near(before.to - panned.to, 0.4 * day, 0.05 * day));
    await touch(page, line(0.4, 0.2), line(0.6, 0.8));
    const zoomed = await shows(page, ({ length }) => length < 0.5 * day, 'the zoom');
    assert.ok(near(zoomed.length, day / 3, 0.05 * day), `${zoomed.length / day} d`);
    assert.ok(near((zoomed.from + zoomed.to) / 2, (panned.from + panned.to) / 2, 0.03 * day), 'around its middle');
    await touch(page, Array.from({ length: 9 }, (_, i) => [x + width / 2, y + height * 0.9 - i * 14]));
    await until(() => page.evaluate(() => scrollY > 20), 3000, 'scrolling');
    assert.equal((await drawn(page)).length, zoomed.length);
    const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= room, `${wide} px wide in ${room}`);
    await accessible(page);
  }, phone);
});

for (const [name, options] of Object.entries({ light: { colorScheme: 'light' }, dark: { colorScheme: 'dark' }, phone })) {
  for (const range of ['1 h', '1 d', '1 y']) {
    test(`${range}, ${name}: accessible`, async () => {
      await withDevice(async (page) => {
        await press(page, range);
        await shows(page, ({ rows }) => rows > 100, range);
        await accessible(page);
        await page.screenshot({ path: path.join(out, `history-${range.replace(' ', '')}-${name}.png`) });
      }, options);
    });
  }
}
