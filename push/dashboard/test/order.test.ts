import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Order } from '../src/transport/order.ts';
import { parseCursor, parseMessage, type Message } from '../src/transport/wire.ts';

function readings(store: string, cursor: number, ...offsets: number[]): Message {
  return {
    type: 'readings',
    cursor: `${store}-${cursor}`,
    readings: offsets.map((offset) => ({ offset, device: 'd', metric: 'm', time: 0, value: 0 })),
  };
}

function gap(store: string, cursor: number): Message {
  return { type: 'gap', cursor: `${store}-${cursor}`, reason: 'retention' };
}

const reset: Message = { type: 'reset', cursor: 'b-17', reason: 'unknown cursor' };

/** What a list of messages says, in short: offsets, `gap`, `reset`. */
function short(messages: Message[]): (number | string)[] {
  return messages.flatMap<number | string>((m) => (m.type === 'readings' ? m.readings.map((r) => r.offset) : [m.type]));
}

const cases: { name: string; in: Message[]; want: (number | string)[]; cursor: string | null }[] = [
  { name: 'nothing yet', in: [], want: [], cursor: null },
  { name: 'in order', in: [readings('a', 2, 1, 2), readings('a', 3, 3)], want: [1, 2, 3], cursor: 'a-3' },
  { name: 'empty store', in: [readings('a', 0)], want: [], cursor: 'a-0' },
  { name: 'twice the same', in: [readings('a', 2, 1, 2), readings('a', 2, 1, 2)], want: [1, 2], cursor: 'a-2' },
  { name: 'two carriers that overlap', in: [readings('a', 3, 1, 2, 3), readings('a', 5, 2, 3, 4, 5), readings('a', 4, 4)], want: [1, 2, 3, 4, 5], cursor: 'a-5' },
  { name: 'a hole after a crash', in: [readings('a', 2, 1, 2), readings('a', 901, 900, 901)], want: [1, 2, 900, 901], cursor: 'a-901' },
  { name: 'cursor beyond the last of the selection', in: [readings('a', 9, 1), readings('a', 9, 5), readings('a', 10, 10)], want: [1, 10], cursor: 'a-10' },
  { name: 'cursor behind the readings', in: [readings('a', 0, 1, 2), readings('a', 3, 2, 3)], want: [1, 2, 3], cursor: 'a-3' },
  { name: 'gap', in: [readings('a', 2, 2), gap('a', 90), readings('a', 91, 89, 91)], want: [2, 'gap', 91], cursor: 'a-91' },
  { name: 'a gap that another carrier has bridged', in: [readings('a', 90, 90), gap('a', 80)], want: [90], cursor: 'a-90' },
  { name: 'reset', in: [readings('a', 200, 200), reset], want: [200, 'reset'], cursor: null },
  { name: 'after a reset', in: [readings('a', 200, 200), reset, readings('b', 17, 3, 17)], want: [200, 'reset', 3, 17], cursor: 'b-17' },
  { name: 'another store without a word', in: [readings('a', 200, 200), readings('b', 2, 1, 2)], want: [200, 'reset', 1, 2], cursor: 'b-2' },
  { name: 'store id with a dash', in: [readings('a-b', 2, 2), readings('a-b', 3, 2, 3)], want: [2, 3], cursor: 'a-b-3' },
  { name: 'the state of a device has no position', in: [{ type: 'device', device: { id: 'a', state: 'online', clock: 'ok', duplicates: 0 } }], want: ['device'], cursor: null },
  { name: 'error', in: [{ type: 'error', error: 'x' }], want: ['error'], cursor: null },
];

for (const c of cases) {
  test(`order: ${c.name}`, () => {
    const order = new Order();
    assert.deepEqual(short(c.in.flatMap((m) => order.accept(m))), c.want);
    assert.equal(order.cursor, c.cursor);
  });
}

test('cursor', () => {
  assert.deepEqual(parseCursor('k3v9-1842'), { store: 'k3v9', offset: 1842 });
  for (const bad of ['', '-', '-5', 'k3v9', 'k3v9-', 'k3v9-1.5', 'k3v9-x']) assert.equal(parseCursor(bad), null, bad);
});

test('message', () => {
  assert.equal(parseMessage('{"type":"weather","cursor":"a-1"}'), null);
  assert.equal(parseMessage('{"type":"device","device":{"id":"gh1","state":"late","clock":"ok","duplicates":0}}')?.type, 'device');
  assert.equal(parseMessage('{"type":"gap","cursor":"a-1","reason":"r"}')?.type, 'gap');
  for (const bad of ['', '[]', 'null', '3', '{}', '{"type":"readings"}', '{"type":"readings","cursor":"a-1"}', '{"type":"reset"}', '{"type":"device"}', '{"type":"device","device":null}', '{"type":"device","device":{"id":"gh1"}}']) {
    assert.throws(() => parseMessage(bad), bad);
  }
});
