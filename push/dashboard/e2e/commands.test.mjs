// What people tell a device, and what became of it.

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { accessible, browser, Naru, open, out, until } from './naru.mjs';

let chrome;
let naru;

before(async () => {
  chrome = await browser();
  naru = await Naru.start();
});

after(async () => {
  await chrome?.close();
  await naru?.close();
});

/** A device that asks for an answer with each message. */
class Device {
  #socket = createSocket('udp4');
  #seq = 0;

  constructor(id) {
    this.id = id;
  }

  /** Sends a reading, an outcome too if there is one, and returns the command in the answer. */
  async ask(outcome) {
    const [host, port] = naru.ports.udp.split(':');
    const message = { device: this.id, seq: ++this.#seq, ack: true, temp: 20 + this.#seq, ...(outcome !== undefined && { outcome }) };
    const answer = new Promise((resolve) => this.#socket.once('message', resolve));
    this.#socket.send(JSON.stringify(message), Number(port), host);
    const { ack, command } = JSON.parse(await Promise.race([answer, sleep(5000, '{"ack":"not within 5 s"}')]));
    assert.equal(ack, this.#seq);
    return command;
  }

  close() {
    this.#socket.close();
  }
}

/** Opens the commands of a device that has sent one reading; `asked` collects the requests for its list. */
async function withCommands(id, run, options = {}) {
  const device = new Device(id);
  await device.ask();
  const context = await chrome.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options });
  try {
    const asked = [];
    context.on('request', (r) => {
      if (r.method() === 'GET' && r.url().endsWith('/commands')) asked.push(r.url());
    });
    const page = await open(context, `${naru.url}#/device/${id}/commands`);
    page.asked = asked;
    await page.locator('section.commands').waitFor();
    await run(page, device, context);
    assert.deepEqual(page.errors, []);
  } finally {
    device.close();
    await context.close();
  }
}

async function send(page, name, value) {
  await page.getByLabel('Command', { exact: true }).fill(name);
  await page.getByLabel('Value').fill(value);
  await page.getByRole('button', { name: 'Send' }).click();
}

const newest = (page) => page.locator('.command').first();

/** Waits until the newest command says all of these. */
async function says(page, ...texts) {
  const missing = async () => {
    const text = await newest(page).textContent();
    return texts.filter((t) => !text.includes(t));
  };
  await until(async () => (await missing()).length === 0, 6000, `the newest command saying ${texts}`);
}

test('a command is sent, told, done, and the page says what the device said', async () => {
  await withCommands('pump-1', async (page, device) => {
    await page.getByText('No commands yet').waitFor();
    await send(page, 'relay', 'true');
    await says(page, 'Waiting', 'relay', 'true', 'for the device to ask', 'expires in');
    const told = await device.ask();
    assert.deepEqual([told.device, told.name, told.value], ['pump-1', 'relay', true]);
    await says(page, 'Told', 'told once');
    await accessible(page);
    await device.ask(`${told.id} on since noon`);
    await says(page, 'Done', 'on since noon', 'after');
    await until(async () => (await page.locator('[role=status]').first().textContent()) === 'Command relay: Done', 2000, 'the announcement');
    await send(page, 'valve', '{"open":40}');
    const second = await device.ask();
    assert.deepEqual(second.value, { open: 40 });
    await device.ask(`${second.id} error: valve stuck`);
    await says(page, 'Failed', 'valve', '{"open":40}', 'valve stuck');
    await accessible(page);
    await page.screenshot({ path: path.join(out, 'commands-told.png') });
  });
});

test('while nothing is unfinished nothing is asked', async () => {
  await withCommands('pump-2', async (page, device) => {
    await page.getByText('No commands yet').waitFor();
    const before = page.asked.length;
    await sleep(2500);
    assert.equal(page.asked.length, before);
    await send(page, 'relay', 'on');
    await until(() => page.asked.length >= before + 3, 6000, 'asking again');
    const told = await device.ask();
    assert.equal(told.value, 'on');
    await device.ask(told.id);
    await says(page, 'Done');
    const done = page.asked.length;
    await sleep(2500);
    assert.equal(page.asked.length, done);
  });
});

test('a command is cancelled, and used again', async () => {
  await withCommands('pump-3', async (page, device) => {
    await send(page, 'level', '12345678901234567890');
    await page.getByRole('button', { name: 'Cancel level' }).click();
    await says(page, 'Cancelled', 'level');
    assert.equal(await device.ask(), undefined);
    await page.getByRole('button', { name: 'Use again level' }).click();
    assert.equal(await page.getByLabel('Command', { exact: true }).inputValue(), 'level');
  });
});

test('how a value goes is said before it is sent', async () => {
  await withCommands('pump-4', async (page) => {
    await page.getByLabel('Command', { exact: true }).fill('x');
    for (const [value, how] of [['', 'without a value'], ['true', 'goes as true or false'], ['21.5', 'goes as a number'], ['on', 'goes as a text'], ['{"a":1}', 'goes as an object']]) {
      await page.getByLabel('Value').fill(value);
      await page.getByText(how, { exact: true }).waitFor();
    }
  });
});

test('the gateway says no where the command was asked for', async () => {
  await withCommands('pump-5', async (page, _, context) => {
    await send(page, 'note', 'x'.repeat(600));
    await page.locator('.send .problem').waitFor();
    assert.match(await page.locator('.send .problem').textContent(), /Not done: .*512/);
    for (let i = 0; i < 16; i++) {
      const response = await fetch(`${naru.url}api/v1/devices/pump-5/commands`, { method: 'POST', body: `{"name":"n${i}"}` });
      assert.equal(response.status, 201);
    }
    await send(page, 'more', '');
    await until(async () => /Not done: .*16/.test((await page.locator('.send [role=alert]').textContent()) ?? ''), 3000, 'the refusal');
    await context.route(/\/commands/, (route) => (route.request().method() === 'GET' ? route.continue() : route.fulfill({ status: 403, json: { error: 'this origin may not command' } })));
    await page.getByRole('button', { name: 'Send' }).click();
    await page.locator('.send').getByText('You may look but not change anything here').waitFor();
    await accessible(page);
  });
});

test('on a phone nothing has to be scrolled sideways', async () => {
  await withCommands(
    'pump-6',
    async (page) => {
      await send(page, 'a-long-name-of-a-command.that:goes_on', `{"text":"${'long '.repeat(40)}"}`);
      await says(page, 'Waiting');
      const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= room, `${wide} px wide in ${room}`);
      await accessible(page);
      await page.screenshot({ path: path.join(out, 'commands-phone.png') });
    },
    { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
  );
});
