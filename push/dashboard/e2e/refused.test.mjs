// What was refused, why, and what to do about it.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, browser, Naru, open, out, until } from './naru.mjs';

let chrome;
let naru;

before(async () => {
  chrome = await browser();
  naru = await Naru.start('--admission', 'approve');
  await fetch(`${naru.url}api/v1/registry`, { method: 'POST', body: '{"id":"well-2","token":true}' });
  await naru.udp(
    'climate,device=gh1 temp=21.5\nclimate,device=gh1 temp=2x1.5',
    '{"device":"gh1","temp":21.5,}',
    Buffer.from('a266646576696365ff', 'hex'),
    'x',
    'm,device=gh1 v="é" 1 2',
    'climate,device=well-2 temp=9',
    'climate,device=well-2 temp=10',
    'climate,device=well-2,token=guessed temp=9',
    'climate,device=new temp=9',
    'temp=21,5',
  );
});

after(async () => {
  await chrome?.close();
  await naru?.close();
});

async function withPage(at, options, run) {
  const context = await chrome.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options });
  try {
    const page = await open(context, naru.url + at);
    await run(page);
    assert.deepEqual(page.errors, []);
  } finally {
    await context.close();
  }
}

const item = (page, text) => page.locator('.refused li', { hasText: text });

const verdicts = [
  { has: 'a number is malformed', what: 'Not well-formed', mark: '2', before: 'climate,device=gh1 temp=', todo: 'Line protocol looks like this' },
  { has: 'want a member name', what: 'Not well-formed', mark: '}', before: '{"device":"gh1","temp":21.5,', todo: 'JSON looks like this' },
  { has: 'a break stands', what: 'Not well-formed', mark: 'ff', before: 'a2 66 64 65 76 69 63 65 ', todo: 'Look at the marked place' },
  { has: 'fields are missing', what: 'Not well-formed', mark: '\u00a0', before: 'x', todo: 'Line protocol looks like this' },
  { has: 'unexpected text after the time', what: 'Not well-formed', mark: '2', before: 'm,device=gh1 v="é" 1 ', todo: 'Line protocol looks like this' },
  { has: 'decimals want a point', what: 'Not well-formed', mark: '5', before: 'temp=21,', todo: 'Is this a decimal comma?' },
  { has: 'and this came without', what: 'It came without the device’s secret', todo: 'Put the secret into the firmware', link: '#/device/well-2/access', times: '2 times' },
  { has: 'the token is none of', what: 'It came with a wrong token', todo: 'newest token', link: '#/device/well-2/access' },
  { has: 'device "new" waits', what: 'The device is new and waits', todo: 'Approve it', link: '#/' },
];

test('each refusal has its verdict, the place, and the way to the fix', async () => {
  await withPage('#/refused', {}, async (page) => {
    for (const v of verdicts) {
      const li = item(page, v.has);
      await li.waitFor();
      assert.equal(await li.locator('.refused-what strong').textContent(), v.what);
      assert.ok((await li.locator('.todo').textContent()).includes(v.todo), v.has);
      const marks = li.locator('mark');
      assert.equal(await marks.count(), v.mark ? 1 : 0, v.has);
      if (v.mark) {
        assert.equal(await marks.textContent(), `here: ${v.mark}`);
        assert.ok((await li.locator('code').last().textContent()).startsWith(`${v.before}here: `), v.has);
      }
      if (v.link) assert.equal(await li.locator('.todo a').getAttribute('href'), v.link);
      if (v.times) await li.getByText(v.times).waitFor();
    }
    assert.ok(!(await page.content()).includes('guessed'), 'a token is shown');
  });
});

test('counts by reason choose what is shown', async () => {
  await withPage('#/refused', {}, async (page) => {
    const reason = (name) => page.locator('.reasons label', { hasText: name });
    await until(async () => /syntax 6/.test(await page.locator('.reasons').textContent()), 5000, 'the counts');
    assert.match(await reason('credential').textContent(), /credential 3/);
    await reason('credential').click();
    await until(async () => (await page.locator('.refused li').count()) === 2, 3000, 'the choice');
    await naru.udp('climate,device=well-2 temp=11');
    await until(async () => /credential 4/.test(await reason('credential').textContent()), 5000, 'counting on');
    await item(page, 'and this came without').getByText('3 times').waitFor();
    await page.getByRole('link', { name: 'Access of well-2' }).first().click();
    await page.getByText('Spoken for').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('heading', { name: /Waiting for approval/ }).waitFor();
  });
});

for (const [name, options] of Object.entries({
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
})) {
  test(`the refused, ${name}: accessible, no scrolling sideways`, async () => {
    await withPage('#/refused', options, async (page) => {
      await item(page, 'a break stands').waitFor();
      await page.locator('.reasons label').nth(1).waitFor();
      await accessible(page);
      const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= room, `${wide} px wide in ${room}`);
      await page.screenshot({ path: path.join(out, `refused-${name}.png`) });
    });
  });
}

test('where nothing was refused the page says what would stand there', async () => {
  const own = await Naru.start();
  try {
    const context = await chrome.newContext();
    const page = await open(context, own.url);
    await page.getByRole('link', { name: 'Refused' }).click();
    await page.getByText('Nothing was refused.').waitFor();
    await accessible(page);
    await context.close();
  } finally {
    await own.close();
  }
});
