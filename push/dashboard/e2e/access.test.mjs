// Who may what: access tokens, roles, logging in and out. The page is seen under a name, since on this machine nobody needs a token.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, browser, linkText, Naru, out, shown, until } from './naru.mjs';

let naru;
let chrome;
let url;
let first; // the admin's token of the first start

before(async () => {
  naru = await Naru.start();
  chrome = await browser('--host-resolver-rules=MAP naru.local 127.0.0.1');
  url = `http://naru.local:${naru.ports.http.split(':')[1]}/`;
  first = (await readFile(path.join(naru.data, 'token'), 'utf8')).trim();
  await naru.udp('climate,device=gh1 temp=21.5', 'climate,device=gh2 temp=22.5', 'climate,device=shed temp=3');
  await until(async () => (await naru.count()) === 3, 5000, 'storing');
});

after(async () => {
  await chrome?.close();
  await naru?.close();
});

/** A page of its own browser profile, which fails on whatever the console calls an error. */
async function withPage(at, options, run) {
  const context = await chrome.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options });
  try {
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (e) => errors.push(e.message));
    page.on('console', (m) => m.type() === 'error' && errors.push(`${m.text()} ${m.location().url}`));
    await page.goto(at);
    await run(page, errors);
    assert.deepEqual(errors, []);
  } finally {
    await context.close();
  }
}

async function make(wish) {
  const response = await fetch(`${naru.url}api/v1/access`, { method: 'POST', body: JSON.stringify(wish) });
  assert.equal(response.status, 201, await response.clone().text());
  return response.json();
}

const revoke = (id) => fetch(`${naru.url}api/v1/access/${id}`, { method: 'DELETE' });
const asAdmin = (place = '') => `${url}?token=${first}${place}`;
const grant = (page, name) => page.locator(`[data-grant="${name}"]`);
const closed = (page) => until(async () => (await page.locator('dialog').count()) === 0, 3000, 'closing');

test('access is given, shown once, used, and revoked', async () => {
  await withPage(asAdmin('#/access'), {}, async (page) => {
    await page.getByText('You are here as “the first token”').waitFor();
    await page.getByText('Nobody else has access yet').waitFor();
    assert.equal(page.url(), `${url}#/access`);
    await page.getByRole('button', { name: 'Give access…' }).click();
    await page.getByLabel('Name').fill('kitchen tablet');
    await page.getByLabel('Only these devices').fill('gh*, attic');
    await page.getByRole('combobox', { name: /^Ends/ }).selectOption('30d');
    const [answer] = await Promise.all([
      page.waitForResponse((r) => r.url().endsWith('/access') && r.request().method() === 'POST'),
      page.getByRole('button', { name: 'Make the token' }).click(),
    ]);
    const made = await answer.json();
    assert.deepEqual([made.role, made.devices, made.expires - made.created], ['viewer', ['gh*', 'attic'], 30 * 86_400_000]);
    const dialog = page.locator('dialog[open]');
    await dialog.getByText('This is shown once').waitFor();
    const link = `${url}?token=${made.token}`;
    assert.deepEqual(await dialog.locator('dd code').allTextContents(), [link, made.token]);
    assert.equal(await dialog.locator('.qr').count(), 1);
    assert.equal(await dialog.locator('.snippet code').textContent(), `naru watch --url ${url.slice(0, -1)} --token ${made.token}`);
    await page.keyboard.press('Escape');
    await dialog.getByText('You have copied nothing').waitFor();
    await dialog.getByRole('button', { name: 'Copy Link' }).click();
    await dialog.getByRole('button', { name: 'Done' }).click();
    await closed(page);
    await until(async () => (await page.evaluate(() => document.activeElement?.textContent)) === 'Give access…', 2000, 'the focus to come back');
    const row = await grant(page, 'kitchen tablet').textContent();
    for (const part of ['Viewer', 'gh*, attic', 'not used since']) assert.ok(row.includes(part), `${part} in ${row}`);

    await withPage(link, {}, async (tablet, errors) => {
      await shown(tablet, 'gh1', 'climate.temp').waitFor();
      assert.equal(tablet.url(), url);
      await page.reload();
      await grant(page, 'kitchen tablet').getByText('last used').waitFor();
      await page.getByRole('button', { name: 'Revoke… kitchen tablet' }).click();
      await page.getByRole('heading', { name: 'Revoke the access of kitchen tablet?' }).waitFor();
      assert.deepEqual(errors, []);
      await page.getByRole('button', { name: 'Revoke', exact: true }).click();
      await page.getByText('Nobody else has access yet').waitFor();
      await tablet.getByLabel('Access token').waitFor();
      errors.length = 0; // the answers that have told it
    });
  });
});

test('a program gets a token that writes', async () => {
  await withPage(`${naru.url}#/access`, {}, async (page, errors) => {
    await page.getByText('You are here as “this machine”').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Log out' }).count(), 0);
    await page.getByRole('button', { name: 'Give access…' }).click();
    await page.getByLabel('Name').fill('telegraf');
    await page.getByRole('radio', { name: /^Admin/ }).check();
    assert.ok(await page.getByLabel('Only these devices').isDisabled());
    await page.getByRole('radio', { name: /^Writer/ }).check();
    await page.getByRole('button', { name: 'Make the token' }).click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByText('This is shown once').waitFor();
    assert.equal(await dialog.locator('.qr').count(), 0);
    const [, token, body, to] = /^curl -H 'Authorization: Bearer (\w+)' --data-binary '(.*)' (\S+)$/.exec(await dialog.locator('.snippet code').textContent());
    const written = await fetch(to, { method: 'POST', body, headers: { Authorization: `Bearer ${token}` } });
    assert.equal(written.status, 204);
    await dialog.getByRole('tab', { name: 'Telegraf' }).click();
    assert.ok((await dialog.locator('.snippet code').textContent()).includes(`token = "${token}"`));
    await dialog.getByRole('button', { name: 'Copy Access token' }).click();
    await dialog.getByRole('button', { name: 'Done' }).click();
    await closed(page);
    await page.getByRole('button', { name: 'Give access…' }).click();
    await page.getByLabel('Name').fill('telegraf');
    await page.getByRole('button', { name: 'Make the token' }).click();
    await page.locator('dialog[open]').getByText(/Not done: .*telegraf.*in use/).waitFor();
    await accessible(page);
    assert.match(errors.shift(), /409/); // to the console that is an error
  });
});

test('a viewer sees its devices, and nothing that is for admins', async () => {
  const { token } = await make({ name: 'guest', role: 'viewer', devices: ['gh*'] });
  await withPage(`${url}?token=${token}`, {}, async (page) => {
    await shown(page, 'gh1', 'climate.temp').waitFor();
    await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
    assert.deepEqual(await page.locator('.card-link').allTextContents(), ['gh1', 'gh2']);
    assert.equal(await page.getByRole('link', { name: 'Refused' }).count(), 0);
    assert.equal(await page.getByRole('button', { name: 'Add a device' }).count(), 0);
    await accessible(page);
    await page.locator('.card-link').first().click();
    await page.locator('.chart canvas').first().waitFor();
    assert.equal(await page.getByRole('link', { name: 'Commands' }).count(), 0);
    for (const place of ['#/device/gh1/commands', '#/device/gh1/access', '#/refused']) {
      await page.goto(url + place);
      await page.getByText('For admins', { exact: true }).waitFor();
    }
    await page.goto(`${url}#/device/shed`);
    await page.getByText('No reading of shed yet').waitFor();
    await page.getByRole('link', { name: 'Access to the gateway' }).click();
    await page.getByText('and may look at gh*.').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Give access…' }).count(), 0);
    await accessible(page);
    await page.screenshot({ path: path.join(out, 'access-viewer.png') });
  });
});

test('a viewer of devices that have sent nothing is told so', async () => {
  const { token } = await make({ name: 'early', role: 'viewer', devices: ['cellar-*'] });
  await withPage(`${url}?token=${token}`, {}, async (page) => {
    await page.getByRole('heading', { name: 'Nothing to see yet' }).waitFor();
    await page.getByText('Your access is to cellar-*.').waitFor();
    await accessible(page);
    await naru.udp('climate,device=cellar-1 temp=9');
    await shown(page, 'cellar-1', 'climate.temp').waitFor();
  });
});

test('whose access ends logs in again, and is back where it was', async () => {
  const [old, next, writer] = await Promise.all([
    make({ name: 'old', role: 'admin' }),
    make({ name: 'next', role: 'viewer' }),
    make({ name: 'only writes', role: 'writer' }),
  ]);
  await withPage(`${url}?token=${old.token}#/device/gh1`, {}, async (page, errors) => {
    await page.locator('.chart canvas').first().waitFor();
    assert.equal((await revoke(old.id)).status, 204);
    await page.getByLabel('Access token').waitFor();
    await until(async () => (await linkText(page)) === 'No access', 3000, 'saying so');
    for (const [token, says] of [['wrong', /is wrong, or has ended/], [writer.token, /only writes/]]) {
      await page.getByLabel('Access token').fill(token);
      await page.getByRole('button', { name: 'Open' }).click();
      await page.getByRole('alert').getByText(says).waitFor();
    }
    await accessible(page);
    await page.screenshot({ path: path.join(out, 'login.png') });
    await page.getByLabel('Access token').fill(next.token);
    await page.getByRole('button', { name: 'Open' }).click();
    await page.locator('.chart canvas').first().waitFor();
    errors.length = 0; // the answers that have said no
    assert.equal(page.url(), `${url}#/device/gh1`);
  });
});

test('an action that the gateway no longer takes from us leads to the login', async () => {
  const { id, token } = await make({ name: 'short', role: 'admin' });
  await withPage(`${url}?token=${token}#/device/gh2/commands`, {}, async (page, errors) => {
    await page.getByLabel('Command', { exact: true }).fill('relay');
    await revoke(id);
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByLabel('Access token').waitFor();
    await page.getByLabel('Access token').fill(first);
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByLabel('Command', { exact: true }).waitFor();
    errors.length = 0; // the answers that have said no
    assert.equal(page.url(), `${url}#/device/gh2/commands`);
  });
});

test('who revokes its own access is out, as is who logs out', async () => {
  const { token } = await make({ name: 'myself', role: 'admin' });
  await withPage(`${url}?token=${token}#/access`, {}, async (page, errors) => {
    await grant(page, 'myself').getByText('you', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Access token').fill(token);
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByRole('button', { name: 'Revoke… myself' }).click();
    await page.getByText('It is your own').waitFor();
    await page.getByRole('button', { name: 'Revoke', exact: true }).click();
    await page.getByLabel('Access token').waitFor();
    await closed(page);
    errors.length = 0; // what was under way when it ended
    assert.equal((await page.reload()).status(), 401);
    errors.length = 0;
  });
});

for (const [name, options] of Object.entries({
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'dark', viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
})) {
  test(`access, ${name}: accessible, no scrolling sideways`, async () => {
    await Promise.all([
      make({ name: `telegraf in the long barn behind the house ${name}`, role: 'writer', devices: ['barn-*', 'stable-*', 'silo-*'] }),
      make({ name: `ends soon ${name}`, role: 'viewer', devices: ['gh*'], ttl: '2h' }),
      make({ name: `has ended ${name}`, role: 'admin', ttl: 1 }),
    ]);
    await withPage(`${naru.url}#/access`, options, async (page) => {
      const look = async (what) => {
        await accessible(page);
        const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(wide <= room, `${wide} px wide in ${room}`);
        await page.screenshot({ path: path.join(out, `${what}-${name}.png`) });
      };
      await grant(page, `has ended ${name}`).getByText('Ended', { exact: true }).waitFor({ timeout: 15_000 });
      await look('access-list');
      await page.getByRole('button', { name: 'Give access…' }).click();
      await page.getByLabel('Name').fill(`phone ${name}`);
      await look('give');
      await page.getByRole('button', { name: 'Make the token' }).click();
      await page.locator('.qr').waitFor();
      await look('given');
    });
  });
}

test('a question that is open when our access ends gives way to the login', async () => {
  const { id, token } = await make({ name: 'asked', role: 'admin' });
  const other = await make({ name: 'other', role: 'viewer' });
  await withPage(`${url}?token=${token}#/access`, {}, async (page, errors) => {
    await page.getByRole('button', { name: 'Revoke… other' }).click();
    await revoke(id);
    await page.getByLabel('Access token').waitFor();
    await closed(page);
    errors.length = 0; // the answers that have told it
  });
  assert.equal((await revoke(other.id)).status, 204);
});

test('a token that is shown once stays when our access ends', async () => {
  const { id, token } = await make({ name: 'maker', role: 'admin' });
  await withPage(`${url}?token=${token}#/access`, {}, async (page, errors) => {
    await page.getByRole('button', { name: 'Give access…' }).click();
    await page.getByLabel('Name').fill('heir');
    await page.getByRole('button', { name: 'Make the token' }).click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByText('This is shown once').waitFor();
    await revoke(id);
    await until(async () => (await linkText(page)) === 'No access', 5000, 'the end of the access');
    await dialog.getByRole('button', { name: 'Copy Access token' }).click();
    await dialog.getByRole('button', { name: 'Done' }).click();
    await page.getByLabel('Access token').waitFor();
    errors.length = 0; // the answers that have told it
  });
});
