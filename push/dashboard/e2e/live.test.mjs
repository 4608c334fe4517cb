// How readings reach the page, also when something stands in their way.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { browser, fact, linkText, Naru, open, proxied, shown, until } from './naru.mjs';

let naru;
let chrome;

before(async () => {
  naru = await Naru.start();
  chrome = await browser();
  await naru.tcp(Array.from({ length: 50 }, (_, i) => `climate,device=gh1 temp=${20 + i / 10}`));
});

after(async () => {
  await chrome?.close();
  await naru?.close();
});

async function withPage(run, url = naru.url, prepare = async () => undefined) {
  const context = await chrome.newContext();
  try {
    await prepare(context);
    const page = await open(context, url);
    await run(page, context);
    assert.deepEqual(page.errors, []);
  } finally {
    await context.close();
  }
}

/** How many readings the page says it has received. */
async function received(page) {
  return Number((await fact(page, 'Readings received')).replaceAll(/\D/g, ''));
}

/** Makes the page note when the first value stands in it, in ms since the navigation began. */
async function timed(context) {
  await context.addInitScript(() => {
    const watch = new MutationObserver(() => {
      const value = document.querySelector('.card .value');
      if (!value?.textContent) return;
      watch.disconnect();
      window.firstValueAt = performance.now();
    });
    watch.observe(document, { subtree: true, childList: true, characterData: true });
  });
}

const ways = [
  { name: 'all is well', link: 'Live · WebSocket', block: async () => undefined },
  {
    name: 'WebSocket refused',
    link: 'Live · Server-sent events',
    block: (context) => context.routeWebSocket(/api\/v1\/live/, (ws) => ws.close()),
  },
  {
    name: 'WebSocket never answered',
    link: 'Live · Server-sent events',
    block: (context) =>
      context.addInitScript(() => {
        window.WebSocket = class {
          close() {}
        };
      }),
  },
  {
    name: 'WebSocket and events refused',
    link: 'Long polling',
    block: async (context) => {
      await context.routeWebSocket(/api\/v1\/live/, (ws) => ws.close());
      await context.route(/api\/v1\/live/, async (route) => {
        const accept = await route.request().headerValue('accept');
        return accept === 'text/event-stream' ? route.abort() : route.fallback();
      });
    },
  },
];

for (const { name, link, block } of ways) {
  test(`first reading: ${name}`, async (t) => {
    const prepare = async (context) => {
      await timed(context);
      await block(context);
    };
    await withPage(
      async (page) => {
        const at = await until(() => page.evaluate(() => window.firstValueAt), 5000, 'the first value');
        t.diagnostic(`first value on the page after ${Math.round(at)} ms`);
        assert.ok(at < 5000);
        await until(async () => (await linkText(page)) === link, 12_000, link);
        const value = (Math.random() * 100).toFixed(1);
        await naru.udp(`climate,device=gh1 temp=${value}`);
        await until(async () => Number(await shown(page, 'gh1', 'climate.temp').textContent()) === Number(value), 5000, 'the new value');
      },
      naru.url,
      prepare,
    );
  });
}

const techniques = {
  websocket: 'Live · WebSocket',
  sse: 'Live · Server-sent events',
  stream: 'Live · HTTP streaming',
  longpoll: 'Long polling',
  poll: 'Polling',
  socketio: 'Live · Socket.IO',
};

for (const [technique, link] of Object.entries(techniques)) {
  test(`forced: ${technique}`, async () => {
    await withPage(async (page) => {
      await until(async () => (await linkText(page)) === link, 5000, link);
      const value = (Math.random() * 100).toFixed(1);
      await naru.udp(`climate,device=gh1 temp=${value}`);
      await until(async () => Number(await shown(page, 'gh1', 'climate.temp').textContent()) === Number(value), 5000, 'the new value');
    }, `${naru.url}?technique=${technique}`);
  });
}

/** Chooses a technique in the details. */
async function choose(page, value) {
  await page.locator('.link').click();
  await page.locator('.chooser select').selectOption(value);
  await page.keyboard.press('Escape');
  await until(async () => (await page.locator('dialog').count()) === 0, 2000, 'closing');
}

test('techniques are chosen one after the other while readings come: none is lost, none comes twice', async () => {
  const id = `count-${Date.now()}`;
  const value = async (page) => Number((await shown(page, id, 'm.n').textContent()).replaceAll(/\D/g, ''));
  let sent = 0;
  let more = true;
  const send = async () => {
    for (; more; await sleep(15)) await naru.udp(`m,device=${id} n=${++sent}i`);
  };
  await withPage(async (page) => {
    await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
    const [received0, stored0] = [await received(page), await naru.count()];
    const sending = send();
    try {
      await shown(page, id, 'm.n').waitFor();
      for (const [technique, link] of [...Object.entries(techniques), ['auto', 'Live · WebSocket']]) {
        await choose(page, technique);
        await until(async () => (await linkText(page)) === link, 8000, link);
        const at = sent;
        await until(async () => (await value(page)) > at, 8000, `readings by ${technique}`);
      }
    } finally {
      more = false;
      await sending;
    }
    await until(async () => (await value(page)) === sent, 5000, 'the last one');
    assert.equal((await received(page)) - received0, (await naru.count()) - stored0);
  });
});

test('a technique that was chosen is remembered, until the page may choose again', async () => {
  await withPage(async (page) => {
    await choose(page, 'sse');
    await until(async () => (await linkText(page)) === 'Live · Server-sent events', 5000, 'the change');
    assert.equal(page.url(), `${naru.url}#/device/gh1`);
    await page.reload();
    await until(async () => (await linkText(page)) === 'Live · Server-sent events', 5000, 'the same again');
    await page.locator('.link').click();
    await page.getByText('Chosen by hand').waitFor();
    await page.locator('.chooser select').selectOption('auto');
    await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
    await page.keyboard.press('Escape');
    await page.reload();
    await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket again');
  }, `${naru.url}?technique=poll#/device/gh1`);
});

test('the details tell round trip and lag', async () => {
  await withPage(async (page) => {
    await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
    assert.match(await fact(page, 'Cursor'), /^\w+-\d+$/);
    await page.locator('.link').click();
    const figure = (name) => page.locator('dialog[open] .facts > div', { hasText: name }).locator('dd');
    const ms = async (name) => /^(\d+) (ms|s)$/.exec(await figure(name).textContent());
    await until(() => ms('Round trip'), 5000, 'the round trip');
    await naru.udp('climate,device=gh1 temp=20.5');
    await until(() => ms('Lag'), 5000, 'the lag');
    await sleep(400); // a message of its own
    await naru.udp(`climate,device=skewed temp=20.5 ${Date.now() - 3_600_000}000000`);
    await naru.udp('climate,device=gh1 temp=20.4');
    await until(async () => (await page.locator('.link-lag').textContent()) === (await figure('Lag').textContent()), 5000, 'the lag in the header');
    const [, n, unit] = await ms('Lag');
    assert.ok(unit === 'ms' || Number(n) < 60, `a clock that is wrong by an hour makes no lag: ${n} ${unit}`);
  });
});

test('a new device appears by itself', async () => {
  await withPage(async (page) => {
    await shown(page, 'gh1', 'climate.temp').waitFor();
    const id = `new-${Date.now()}`;
    await naru.udp(`climate,device=${id} temp=7.25,door=true,mode="eco"`);
    await shown(page, id, 'climate.temp').waitFor();
    assert.equal(await shown(page, id, 'climate.temp').textContent(), '7.25');
    assert.equal(await shown(page, id, 'climate.door').textContent(), 'on');
    assert.equal(await shown(page, id, 'climate.mode').textContent(), 'eco');
    assert.equal(await page.locator(`[data-device="${id}"] .new`).count(), 1);
  });
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`a restart of the server (${signal}) loses and doubles nothing`, async () => {
    await withPage(async (page) => {
      await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
      const shownBefore = await received(page);
      await naru.tcp(Array.from({ length: 200 }, (_, i) => `climate,device=gh1 temp=${i}`));
      // What was neither durable nor delivered when the program was killed is lost by right.
      if (signal === 'SIGKILL') await until(async () => (await received(page)) === shownBefore + 200, 5000, 'delivery');
      await naru.down(signal);
      await until(async () => /Reconnecting/.test(await linkText(page)), 5000, 'noticing');
      await naru.up();
      await naru.tcp(Array.from({ length: 300 }, (_, i) => `climate,device=gh1 temp=${i}`));
      await until(async () => /Live|polling/.test(await linkText(page)), 20_000, 'coming back');
      await naru.tcp(['climate,device=gh1 temp=99.5']);
      await until(async () => (await shown(page, 'gh1', 'climate.temp').textContent()) === '99.5', 8000, 'the last value');
      assert.equal((await received(page)) - shownBefore, 501);
    });
  });
}

test('below a path of a proxy', async () => {
  const proxy = await proxied(naru);
  try {
    for (const [technique, link] of [['', 'Live · WebSocket'], ['?technique=sse', 'Live · Server-sent events'], ['?technique=socketio', 'Live · Socket.IO']]) {
      await withPage(async (page) => {
        await until(async () => (await linkText(page)) === link, 8000, link);
        await page.goto(`${proxy.url}${technique}#/device/gh1`);
        await page.locator('.chart canvas').first().waitFor();
        await page.locator('.back').click();
        await shown(page, 'gh1', 'climate.temp').waitFor();
        assert.ok(page.url().startsWith(proxy.url), page.url());
      }, proxy.url + technique);
    }
  } finally {
    proxy.close();
  }
});

test('offline and online again', async () => {
  await withPage(async (page, context) => {
    await until(async () => (await linkText(page)) === 'Live · WebSocket', 8000, 'the WebSocket');
    const before = await received(page);
    await context.setOffline(true);
    await until(async () => /Reconnecting/.test(await linkText(page)), 15_000, 'noticing');
    await naru.tcp(Array.from({ length: 40 }, () => 'climate,device=gh1 temp=11.5'));
    await context.setOffline(false);
    await until(async () => (await linkText(page)).startsWith('Live'), 20_000, 'coming back');
    await until(async () => (await received(page)) === before + 40, 5000, 'what was missed');
  });
});
