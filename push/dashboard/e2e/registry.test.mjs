// Who may send: devices that wait, their secrets, and what is pushed of them.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { accessible, browser, linkText, Naru, open, out, shown, until } from './naru.mjs';

let chrome;
let naru; // where new devices wait

before(async () => {
  chrome = await browser();
  naru = await Naru.start('--admission', 'approve');
});

after(async () => {
  await chrome?.close();
  await naru?.close();
});

async function withPage(url, options, run) {
  const context = await chrome.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options });
  try {
    const page = await open(context, url);
    await run(page, context);
    assert.deepEqual(page.errors, []);
  } finally {
    await context.close();
  }
}

/** Asks the API; a body makes it a POST. */
async function api(at, body, method = body === undefined ? 'GET' : 'POST') {
  const response = await fetch(`${naru.url}api/v1/${at}`, { method, body: body && JSON.stringify(body) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${at}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

const waits = (page, id) => page.locator(`[data-waiting="${id}"]`);
const at = (id, part) => `${naru.url}#/device/${id}/${part}`;
const focused = (page) => page.evaluate(() => document.activeElement?.id);

async function narrow(page) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= room, `${wide} px wide in ${room}`);
}

/** How many messages were refused for a reason. */
async function refusedFor(reason) {
  return (await api('limits')).refused[reason];
}

test('a device that waits is seen with what it sends, and approved', async () => {
  await withPage(naru.url, {}, async (page) => {
    await page.getByRole('heading', { name: /Waiting for your first reading/ }).waitFor();
    await naru.udp('climate,device=attic temp=19.5,hum=44i,door="shut"', 'climate,device=attic temp=19.75');
    await waits(page, 'attic').waitFor();
    const text = await waits(page, 'attic').textContent();
    for (const part of ['127.0.0.1 · UDP', '2 messages', 'climate.temp19.75', 'climate.hum44', 'climate.doorshut']) assert.ok(text.includes(part), `${part} in ${text}`);
    await page.getByRole('heading', { name: 'Waiting for approval 1' }).waitFor();
    await page.getByRole('link', { name: '1 waiting' }).waitFor();
    await naru.udp('climate,device=shed temp=7');
    await waits(page, 'shed').waitFor();
    await page.getByRole('button', { name: 'Approve attic' }).click();
    await until(async () => (await waits(page, 'attic').count()) === 0, 3000, 'leaving the list');
    await until(async () => (await focused(page)) === 'waiting-title', 2000, 'the focus');
    await naru.udp('climate,device=attic temp=20.5');
    await shown(page, 'attic', 'climate.temp').waitFor();
    assert.equal(await shown(page, 'attic', 'climate.temp').textContent(), '20.5');
    assert.equal(await waits(page, 'shed').count(), 1);
  });
});

for (const [name, options] of Object.entries({
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'dark', viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
})) {
  test(`devices that wait, secrets, questions, ${name}: accessible, no scrolling sideways`, async () => {
    await naru.udp('climate,device=porch temp=3,a-long-name-of-a-metric.that.goes.on=1,and-one-more=2,c=3,d=4,e=5,f=6');
    await withPage(naru.url, options, async (page) => {
      const look = async (what) => {
        await accessible(page);
        await narrow(page);
        await page.screenshot({ path: path.join(out, `${what}-${name}.png`) });
      };
      await waits(page, 'porch').waitFor();
      await until(async () => (await linkText(page)).startsWith('Live'), 8000, 'the connection');
      await look('waiting');
      await page.getByRole('button', { name: 'Turn away… porch' }).click();
      await page.getByRole('heading', { name: 'Turn porch away?' }).waitFor();
      await look('question');
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.getByRole('button', { name: 'Add a device' }).click();
      await page.getByLabel('Id, as the device sends it').fill(`cellar-${name}`);
      await look('add');
      await page.getByRole('button', { name: 'Make the secret' }).click();
      await page.locator('.qr').waitFor();
      await look('secret');
      await page.getByRole('button', { name: 'Copy Key' }).click();
      await page.getByRole('button', { name: 'Done' }).click();
      await page.locator('.card', { hasText: `cellar-${name}` }).getByText('Not heard yet').waitFor();
      for (const part of ['access', 'commands']) {
        await page.goto(at(`cellar-${name}`, part));
        await page.locator(`section.${part}`).waitFor();
        await look(part);
      }
    });
  });
}

test('turning away asks first', async () => {
  await withPage(naru.url, {}, async (page) => {
    await naru.udp('climate,device=nosy temp=1');
    await page.getByRole('button', { name: 'Turn away… nosy' }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    assert.equal(await waits(page, 'nosy').count(), 1);
    await page.getByRole('button', { name: 'Turn away… nosy' }).click();
    await page.getByRole('button', { name: 'Turn away', exact: true }).click();
    await until(async () => (await waits(page, 'nosy').count()) === 0, 3000, 'leaving the list');
    await until(async () => (await focused(page)) === 'waiting-title', 2000, 'the focus');
    const before = await refusedFor('credential');
    await naru.udp('climate,device=nosy temp=2');
    await until(async () => (await refusedFor('credential')) > before, 3000, 'the refusal');
  });
});

test('approved with a token, which is shown once', async () => {
  await withPage(naru.url, {}, async (page) => {
    await naru.udp('climate,device=gate temp=1');
    await page.getByRole('button', { name: 'With a secret… gate' }).click();
    await page.getByLabel('Name for people').fill('Garden gate');
    await page.getByLabel(/^Token/).check();
    const [answer] = await Promise.all([
      page.waitForResponse((r) => r.url().endsWith('/registry') && r.request().method() === 'POST'),
      page.getByRole('button', { name: 'Make the secret' }).click(),
    ]);
    const { secrets, setup } = await answer.json();
    const dialog = page.locator('dialog[open]');
    await dialog.getByText('This is shown once').waitFor();
    assert.equal(await dialog.locator('dd code').textContent(), secrets.token);

    const dark = setup.qr.join('').replaceAll(' ', '').length;
    const drawn = await dialog.locator('.qr path').evaluate((p) => [...p.getAttribute('d').matchAll(/h(\d+)v1/g)].reduce((sum, run) => sum + Number(run[1]), 0));
    assert.equal(drawn, dark);
    const tabs = dialog.getByRole('tab');
    assert.deepEqual(await tabs.allTextContents(), setup.snippets.map((x) => x.platform));
    for (const [i, x] of setup.snippets.entries()) {
      await tabs.nth(i).click();
      assert.equal(await dialog.locator('.snippet code').textContent(), x.text);
    }

    await page.keyboard.press('Escape');
    await dialog.getByText('You have copied nothing').waitFor();
    await dialog.getByRole('button', { name: 'Copy Token' }).click();
    await dialog.getByRole('button', { name: 'Copied' }).waitFor();
    await page.keyboard.press('Escape');
    await until(async () => (await page.locator('dialog').count()) === 0, 2000, 'closing');
    await page.locator('.card', { hasText: 'Garden gate' }).waitFor();
    assert.ok(!(await page.content()).includes(secrets.token), 'the secret is still on the page');
    await page.goto(at('gate', 'access'));
    await page.getByText('Spoken for').waitFor();
    await page.reload();
    await page.getByText('Spoken for').waitFor();
    assert.ok(!(await page.content()).includes(secrets.token));

    const before = await refusedFor('credential');
    await naru.udp('climate,device=gate temp=2', `climate,device=gate,token=${secrets.token} temp=3`);
    await until(async () => (await refusedFor('credential')) === before + 1, 3000, 'the refusal');
    await page.goto(naru.url);
    await until(async () => (await shown(page, 'gate', 'climate.temp').textContent()) === '3', 3000, 'the reading');
  });
});

test('a new token: the old one is valid until the new one is used', async () => {
  const { secrets: old } = await api('registry', { id: 'pump', token: true });
  await naru.udp(`m,device=pump,token=${old.token} v=1`);
  await withPage(at('pump', 'access'), {}, async (page) => {
    const rows = page.locator('.access tbody tr');
    await until(async () => (await rows.count()) === 1 && !(await rows.textContent()).includes('not yet'), 10_000, 'the first use');
    const [answer] = await Promise.all([
      page.waitForResponse((r) => r.url().endsWith('/rotate')),
      page.getByRole('button', { name: 'New token' }).click(),
    ]);
    const { secrets } = await answer.json();
    await page.getByRole('button', { name: 'Copy Token' }).click();
    await page.getByRole('button', { name: 'Done' }).click();
    await until(async () => (await page.evaluate(() => document.activeElement?.textContent)) === 'New token', 2000, 'the focus to come back');
    await until(async () => (await rows.count()) === 2, 3000, 'two tokens');
    assert.match(await rows.nth(1).textContent(), /follows the one above.*not yet/);
    await naru.udp(`m,device=pump,token=${old.token} v=2`, `m,device=pump,token=${secrets.token} v=3`);
    await until(async () => (await rows.count()) === 1, 10_000, 'the old one to leave');
    const before = await refusedFor('credential');
    await naru.udp(`m,device=pump,token=${old.token} v=4`);
    await until(async () => (await refusedFor('credential')) > before, 3000, 'the refusal of the old one');
  });
});

test('renamed, revoked, removed', async () => {
  await api('registry/lamp/approve', {});
  await naru.udp('m,device=lamp v=1');
  await withPage(at('lamp', 'access'), {}, async (page) => {
    await page.getByText('Anybody in the network').waitFor();
    await page.getByLabel('Name', { exact: true }).fill('Lamp at the door');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved').waitFor();
    await page.getByRole('heading', { name: 'Lamp at the door', level: 1 }).waitFor();
    await page.getByRole('button', { name: 'Revoke…' }).click();
    await page.getByRole('heading', { name: 'Revoke lamp?' }).waitFor();
    await page.getByRole('button', { name: 'Revoke', exact: true }).click();
    await page.getByText('Revoked: nothing is taken').waitFor();
    await until(async () => (await page.locator('dialog').count()) === 0, 2000, 'closing');
    assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'Lamp at the door');
    await page.getByRole('button', { name: 'Remove the registration…' }).click();
    await page.getByRole('button', { name: 'Remove', exact: true }).click();
    await page.getByText('Anybody in the network').waitFor();
    await page.getByRole('heading', { name: 'lamp', level: 1, exact: true }).waitFor();
    assert.equal((await fetch(`${naru.url}api/v1/registry/lamp`)).status, 404);
  });
});

const failures = [
  { name: 'who may only look', answer: { status: 403, json: { error: 'this origin may not change the registry' } }, says: /You may look but not change anything here: this origin/ },
  { name: 'when the disk fails', answer: { status: 500, json: { error: 'the registry cannot be changed' } }, says: /Not done: the registry cannot be changed/ },
  { name: 'when nobody answers', answer: null, says: /gateway does not answer/ },
];

for (const { name, answer, says } of failures) {
  test(`an action is answered where it was asked for: ${name}`, async () => {
    await naru.udp('climate,device=mast temp=1');
    await withPage(naru.url, {}, async (page, context) => {
      await context.route(/\/registry(\/|$)/, (route) => {
        if (route.request().method() === 'GET') return route.continue();
        return answer ? route.fulfill(answer) : route.abort();
      });
      await page.getByRole('button', { name: 'Approve mast' }).click();
      await waits(page, 'mast').getByText(says).waitFor();
      await page.getByRole('button', { name: 'Turn away… mast' }).click();
      await page.getByRole('button', { name: 'Turn away', exact: true }).click();
      await page.locator('dialog[open]').getByText(says).waitFor();
      await accessible(page);
      await page.getByRole('button', { name: 'Cancel' }).click();
      assert.equal(await waits(page, 'mast').count(), 1);
    });
  });
}

test('the page of a device that waits', async () => {
  await naru.udp('climate,device=loft temp=1');
  await withPage(at('loft', 'access'), {}, async (page) => {
    await page.getByText('New: what it sends waits for approval.').waitFor();
    await page.getByRole('link', { name: 'Charts' }).click();
    await page.getByText('It waits for approval').waitFor();
    await page.getByRole('button', { name: 'Approve loft' }).click();
    await naru.udp('climate,device=loft temp=2');
    await page.locator('.panel[data-metric="climate.temp"] .value', { hasText: '2' }).waitFor();
    await page.getByRole('link', { name: 'Access', exact: true }).click();
    await page.getByText('Anybody in the network').waitFor();
  });
});

test('what cannot be is answered by the gateway', async () => {
  await withPage(naru.url, {}, async (page) => {
    await api('registry/known/approve', {});
    await page.getByRole('button', { name: 'Add a device' }).click();
    await page.getByLabel('Id, as the device sends it').fill('known');
    await page.getByRole('button', { name: 'Make the secret' }).click();
    await page.locator('dialog[open]').getByText(/known.*registered already/).waitFor();
  });
});

for (const technique of ['websocket', 'sse', 'stream', 'longpoll', 'poll']) {
  test(`states and names are kept up to date by ${technique}`, async () => {
    const id = `bee-${technique}`;
    await api(`registry/${id}/approve`, {});
    await naru.udp(`m,device=${id} weight=1,battery=87,rssi=-61`);
    await withPage(`${naru.url}?technique=${technique}#/device/${id}`, {}, async (page) => {
      const facts = page.locator('.device-facts');
      await page.getByRole('heading', { name: id, level: 1 }).waitFor();
      await facts.getByText('127.0.0.1 · UDP').waitFor();
      await facts.getByText('Online since').waitFor();
      await facts.getByText('87 %').waitFor();
      await facts.getByText('-61 dBm').waitFor();
      await sleep(600); // a shorter interval is none
      await naru.udp(`m,device=${id} weight=2 1000000000`);
      await api(`registry/${id}`, { name: `Hive by ${technique}` }, 'PATCH');
      await page.getByRole('heading', { name: `Hive by ${technique}`, level: 1 }).waitFor({ timeout: 10_000 });
      await facts.getByText('times are those of receipt').waitFor({ timeout: 10_000 });
      await facts.getByText('Late since').waitFor({ timeout: 20_000 });
    });
  });
}
