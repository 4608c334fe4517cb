import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Command } from '../src/api.ts';
import { bodyOf, isOpen, merged, typed, valueText, type Kind } from '../src/data/command.ts';

const values: { text: string; kind: Kind; json: string }[] = [
  { text: '', kind: 'none', json: '' },
  { text: '   ', kind: 'none', json: '' },
  { text: 'true', kind: 'boolean', json: 'true' },
  { text: ' 21.50 ', kind: 'number', json: '21.50' },
  { text: '12345678901234567890', kind: 'number', json: '12345678901234567890' },
  { text: 'null', kind: 'null', json: 'null' },
  { text: '{"r":255, "g":0}', kind: 'object', json: '{"r":255, "g":0}' },
  { text: '[1,2]', kind: 'array', json: '[1,2]' },
  { text: '"21"', kind: 'text', json: '"21"' },
  { text: 'on', kind: 'text', json: '"on"' },
  { text: '21,5', kind: 'text', json: '"21,5"' },
  { text: 'say "hi"\\', kind: 'text', json: '"say \\"hi\\"\\\\"' },
  { text: '{"r":', kind: 'text', json: '"{\\"r\\":"' },
  { text: 'True', kind: 'text', json: '"True"' },
];

for (const { text, kind, json } of values) {
  test(`a value that reads ${JSON.stringify(text)} is sent as ${kind}`, () => {
    assert.deepEqual(typed(text), { kind, json });
    const body = bodyOf('relay', typed(text), '1h');
    assert.equal(body, kind === 'none' ? '{"name":"relay","ttl":"1h"}' : `{"name":"relay","value":${json},"ttl":"1h"}`);
    assert.doesNotThrow(() => JSON.parse(body));
  });
}

function command(id: number, state: Command['state']): Command {
  return { id, device: 'gh1', name: 'relay', state, created: 0, expires: 1, tries: 0 };
}

test('open until the outcome is known', () => {
  const open = (['waiting', 'sent', 'done', 'failed', 'expired', 'cancelled'] as const).filter((s) => isOpen(command(1, s)));
  assert.deepEqual(open, ['waiting', 'sent']);
});

test('what was just answered takes its place in the list', () => {
  const list = [command(2, 'waiting'), command(1, 'done')];
  assert.deepEqual(merged(list, command(3, 'waiting')).map((c) => c.id), [3, 2, 1]);
  assert.deepEqual(merged(list, command(2, 'cancelled')).map((c) => c.state), ['cancelled', 'done']);
  assert.deepEqual(list.map((c) => c.state), ['waiting', 'done'], 'the old list is another one');
});

test('values for reading', () => {
  for (const [value, text] of [[undefined, ''], ['on', 'on'], [true, 'true'], [0, '0'], [null, 'null'], [{ r: 1 }, '{"r":1}']] as const) {
    assert.equal(valueText(value), text);
  }
});
