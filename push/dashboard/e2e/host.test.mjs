// The page under a name, where the browser gives it fewer rights than on this machine.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browser, linkText, Naru, open, shown, until } from './naru.mjs';

let naru;
let chrome;
let url;

before(async () => {
  naru = await Naru.start();
  chrome = await browser('--host-resolver-rules=MAP naru.local 127.0.0.1');
  url = `http://naru.local:${naru.ports.http.split(':')[1]}/`;
});

after(async () => {
  await chrome?.close();
  await naru?.close();
});

test('without the token there is no page', async () => {
  const context = await chrome.newContext();
  const page = await context.newPage();
  const response = await page.goto(url);
  assert.equal(response.status(), 401);
  await context.close();
});

test('with the token: live, and copying works without a secure context', async () => {
  const token = (await readFile(path.join(naru.data, 'token'), 'utf8')).trim();
  const context = await chrome.newContext();
  const page = await open(context, `${url}?token=${token}`);
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await page.getByRole('button', { name: 'Copy' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  await page.evaluate(() => {
    const area = document.body.appendChild(document.createElement('textarea'));
    area.id = 'paste';
    area.focus();
  });
  await page.keyboard.press('Control+V');
  assert.match(await page.locator('#paste').inputValue(), /^echo "climate,device=my-sensor temp=21\.5" \| nc -u/);
  await naru.udp('climate,device=gh1 temp=21.5');
  await shown(page, 'gh1', 'climate.temp').waitFor();
  await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
  assert.deepEqual(page.errors, []);
  await context.close();
});

test('the login page opens the page, for a viewer with the devices that there are for it', async () => {
  const made = await fetch(`http://${naru.ports.http}/api/v1/access`, {
    method: 'POST',
    body: JSON.stringify({ name: 'kitchen', role: 'viewer', devices: ['gh*'] }),
  });
  assert.equal(made.status, 201);
  const { id, token } = await made.json();
  const context = await chrome.newContext();
  const page = await context.newPage();
  assert.equal((await page.goto(url)).status(), 401);
  await page.getByLabel('Access token').fill('wrong');
  await page.getByRole('button', { name: 'Open' }).click();
  await page.getByRole('alert').getByText('missing or wrong').waitFor();
  await page.getByLabel('Access token').fill(token);
  await page.getByRole('button', { name: 'Open' }).click();
  await naru.udp('climate,device=shed temp=3');
  await naru.udp('climate,device=gh1 temp=21.5');
  await shown(page, 'gh1', 'climate.temp').waitFor();
  await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
  assert.equal(page.url(), url);
  assert.equal(await page.getByText('shed').count(), 0);
  const cookies = await context.cookies();
  assert.ok(cookies.length === 1 && cookies[0].httpOnly && !cookies[0].value.includes(token));
  assert.equal((await fetch(`http://${naru.ports.http}/api/v1/access/${id}`, { method: 'DELETE' })).status, 204);
  await page.getByLabel('Access token').waitFor(); // the page asks for another
  await context.close();
});
