// What the page looks like and how it is used.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, browser, linkText, Naru, open, out, shown, until } from './naru.mjs';

const small = path.join(import.meta.dirname, '..', 'small');

let naru; // with readings
let fresh; // without
let chrome;

before(async () => {
  naru = await Naru.start();
  fresh = await Naru.start();
  chrome = await browser();
  const lines = [];
  const now = Date.now();
  for (let i = 0; i < 120; i++) {
    const at = `${now - (120 - i) * 1000}000000`;
    lines.push(`climate,device=greenhouse-1 temp=${(21 + Math.sin(i / 9)).toFixed(2)},hum=${40 + (i % 7)}i,vent=${i % 40 > 20} ${at}`);
    lines.push(`pump,device=well-2 state="${i % 50 > 30 ? 'pumping' : 'idle'}",pressure=${(3 + Math.cos(i / 15) / 2).toFixed(2)} ${at}`);
    lines.push(`climate,device=well-10 temp=${(9 + i / 300).toFixed(2)} ${at}`);
  }
  await naru.tcp(lines);
});

after(async () => {
  await chrome?.close();
  await naru?.close();
  await fresh?.close();
});

async function withPage(url, options, run) {
  const context = await chrome.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, ...options });
  try {
    const page = await open(context, url);
    await run(page, context);
    assert.deepEqual(page.errors, []);
  } finally {
    await context.close();
  }
}

const device = `#/device/greenhouse-1`;
const views = [
  { name: 'list', at: () => naru.url, ready: '.card .value' },
  { name: 'device', at: () => naru.url + device, ready: '.chart canvas' },
  { name: 'empty', at: () => fresh.url, ready: '.snippet pre' },
];
const screens = [
  { name: 'light', options: { colorScheme: 'light' } },
  { name: 'dark', options: { colorScheme: 'dark' } },
  { name: 'phone', options: { colorScheme: 'light', viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } },
];

for (const view of views) {
  for (const screen of screens) {
    test(`${view.name}, ${screen.name}: accessible, no scrolling sideways`, async () => {
      await withPage(view.at(), { reducedMotion: 'reduce', ...screen.options }, async (page) => {
        await page.locator(view.ready).first().waitFor();
        await until(async () => (await linkText(page)).startsWith('Live'), 8000, 'the connection');
        await accessible(page);
        const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(wide <= room, `${wide} px wide in ${room}`);
        await page.screenshot({ path: path.join(out, `${view.name}-${screen.name}.png`) });
      });
    });
  }
}

for (const [name, press] of Object.entries({
  connection: (page) => page.locator('.link').click(),
  help: (page) => page.keyboard.press('?'),
})) {
  for (const colorScheme of ['light', 'dark']) {
    test(`${name} dialog, ${colorScheme}: accessible, closed by Esc`, async () => {
      await withPage(naru.url, { colorScheme, reducedMotion: 'reduce' }, async (page) => {
        await page.locator('.card .value').first().waitFor();
        await press(page);
        await page.locator('dialog[open]').waitFor();
        await accessible(page);
        await page.screenshot({ path: path.join(out, `${name}-${colorScheme}.png`) });
        await page.keyboard.press('Escape');
        await until(async () => (await page.locator('dialog').count()) === 0, 2000, 'closing');
      });
    });
  }
}

test('devices stand in natural order; search and keys find them', async () => {
  await withPage(naru.url, {}, async (page) => {
    const ids = page.locator('.card-link');
    await ids.first().waitFor();
    assert.deepEqual(await ids.allTextContents(), ['greenhouse-1', 'well-2', 'well-10']);
    await page.keyboard.press('/');
    await page.keyboard.type('well 10');
    await until(async () => (await ids.count()) === 1, 2000, 'the search');
    await page.keyboard.press('Escape');
    await until(async () => (await ids.count()) === 3, 2000, 'all again');
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await page.keyboard.press('k');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'well-2', level: 1 }).waitFor();
    await page.keyboard.press('Escape');
    await ids.first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('nobody');
    await page.getByText('Nothing matches').waitFor();
  });
});

test('a device page: pause, table', async () => {
  await withPage(naru.url + device, {}, async (page) => {
    const panel = page.locator('.panel[data-metric="climate.temp"]');
    const figures = panel.locator('.figures');
    await panel.locator('.chart[data-whole=true]').waitFor();
    assert.match(await figures.textContent(), /min .* avg .* max/);
    await page.keyboard.press(' ');
    await page.getByRole('button', { name: 'Live', exact: true }).waitFor();
    await page.evaluate(() => new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted))));
    const paused = await figures.textContent();
    // The page knows the server's clock to half a second.
    const to = Number(await panel.locator('.chart').getAttribute('data-to'));
    await until(() => Date.now() > to, 2000, 'time to pass the right edge');
    await naru.udp('climate,device=greenhouse-1 temp=77');
    await page.getByText('1 new').waitFor();
    assert.equal(await figures.textContent(), paused);
    await page.keyboard.press(' ');
    await until(async () => /max 77/.test(await figures.textContent()), 5000, 'going on');
    await panel.getByRole('button', { name: 'Table' }).click();
    const first = panel.locator('tbody tr').first();
    await until(async () => /77/.test(await first.textContent()), 3000, 'the table');
    assert.ok((await panel.locator('tbody tr').count()) >= 4);
    await accessible(page);
    await page.screenshot({ path: path.join(out, 'device-table.png') });
  });
});

test('the empty page turns into the first card, and names what was refused', async () => {
  const own = await Naru.start();
  try {
    await withPage(own.url, {}, async (page) => {
      await page.getByRole('heading', { name: /Waiting for your first reading/ }).waitFor();
      const command = await page.locator('.snippet code').textContent();
      const [host, port] = own.ports.udp.split(':');
      assert.equal(command, `echo "climate,device=my-sensor temp=21.5" | nc -u -w1 ${host} ${port}`);
      await own.udp('temp=21,5');
      await page.locator('.refused', { hasText: 'temp=21,' }).waitFor();
      await page.getByText('Is this a decimal comma?').waitFor();
      for (const tab of await page.getByRole('tab').all()) {
        await tab.click();
        assert.match(await page.locator('.snippet code').textContent(), /127\.0\.0\.1/);
      }
      await own.udp('climate,device=my-sensor temp=21.5');
      await shown(page, 'my-sensor', 'climate.temp').waitFor();
      assert.equal(await shown(page, 'my-sensor', 'climate.temp').textContent(), '21.5');
    });
  } finally {
    await own.close();
  }
});

test('the theme is switched by hand and remembered', async () => {
  await withPage(naru.url, { colorScheme: 'light' }, async (page) => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.locator('.card').first().waitFor();
    const day = await paper();
    await page.getByRole('button', { name: /^Theme/ }).click();
    await page.getByRole('button', { name: /^Theme/ }).click();
    assert.notEqual(await paper(), day);
    await page.reload();
    await page.locator('.card').first().waitFor();
    assert.notEqual(await paper(), day);
  });
});

test('the small page', async () => {
  const context = await chrome.newContext();
  try {
    await context.route(naru.url, (route) => route.fulfill({ path: path.join(small, 'index.html'), contentType: 'text/html' }));
    await context.route(`${naru.url}small.js`, (route) => route.fulfill({ path: path.join(small, 'small.js'), contentType: 'text/javascript' }));
    const page = await open(context, naru.url);
    await page.locator('tr', { hasText: 'greenhouse-1' }).first().waitFor();
    await naru.udp('climate,device=well-10 temp=9.875');
    await page.locator('tr', { hasText: 'well-10' }).getByText('9.875').waitFor();
    await until(async () => /Live · \d+ series/.test(await page.locator('#state').textContent()), 3000, 'the state');
    await accessible(page);
    assert.deepEqual(page.errors, []);
  } finally {
    await context.close();
  }
});
