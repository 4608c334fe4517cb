import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Refusal } from '../src/api.ts';
import { caseOf, counted, fixOf, grouped, markBytes, markText, type Case, type Fix } from '../src/data/refusal.ts';
import { en } from '../src/strings.ts';

function refusal(reason: string, error = '', more: Partial<Refusal> = {}): Refusal {
  return { time: 0, remote: '192.168.1.20:5000', transport: 'udp', reason, error, size: 1, ...more };
}

const access = (device: string): Fix => ({ where: 'access', device });

const verdicts: { reason: string; error: string; want: Case; fix: Fix }[] = [
  { reason: 'syntax', error: 'line 1, byte 9: a tag must be key=value', want: 'syntax', fix: null },
  { reason: 'device', error: 'invalid device id "a/b": byte 2', want: 'device', fix: null },
  { reason: 'metric', error: '', want: 'metric', fix: null },
  { reason: 'value', error: 'NaN', want: 'value', fix: null },
  { reason: 'empty', error: 'the message holds no reading', want: 'empty', fix: null },
  { reason: 'too_long', error: '', want: 'too_long', fix: null },
  { reason: 'encrypted', error: '', want: 'encrypted', fix: null },
  { reason: 'overload', error: '', want: 'overload', fix: null },
  { reason: 'handshake', error: 'handshake: timeout', want: 'handshake', fix: null },
  { reason: 'handshake', error: 'wrong key for device "gh1": number 1 of 2 was tried, the next attempt tries another', want: 'wrong_key', fix: access('gh1') },
  { reason: 'handshake', error: 'no key for an unknown device "gh1"', want: 'no_key', fix: access('gh1') },
  { reason: 'handshake', error: 'no key for an unknown device "a b/c"', want: 'no_key', fix: null },
  { reason: 'forbidden', error: 'plain readings are taken from private addresses only', want: 'forbidden', fix: null },
  { reason: 'forbidden', error: 'device "gh1" may not speak for "gh2"', want: 'impostor', fix: access('gh1') },
  { reason: 'credential', error: 'device "gh1" has a credential, and this came without', want: 'credential', fix: access('gh1') },
  { reason: 'credential', error: 'the token is none of device "gh:1"', want: 'wrong_token', fix: access('gh:1') },
  { reason: 'credential', error: 'device "gh1" is revoked', want: 'revoked', fix: access('gh1') },
  { reason: 'approval', error: 'device "gh1" waits for approval', want: 'approval', fix: { where: 'waiting' } },
  { reason: 'unknown', error: 'device "gh1" is not registered', want: 'unknown', fix: access('gh1') },
  { reason: 'rate', error: 'more than 5 readings a second of device "gh1"', want: 'rate', fix: null },
  { reason: 'rate_address', error: '', want: 'rate_address', fix: null },
  { reason: 'rate_series', error: '', want: 'rate_series', fix: null },
  { reason: 'devices_limit', error: '', want: 'devices_limit', fix: null },
  { reason: 'series_limit', error: '', want: 'series_limit', fix: null },
  { reason: 'connections_limit', error: '', want: 'connections_limit', fix: null },
  { reason: 'a reason of a newer gateway', error: '', want: 'other', fix: null },
];

for (const { reason, error, want, fix } of verdicts) {
  test(`verdict: ${reason}, ${error || 'no word'} → ${want}`, () => {
    const r = refusal(reason, error);
    assert.equal(caseOf(r), want);
    assert.deepEqual(fixOf(r), fix);
    for (const text of en.verdicts[want]) assert.ok(text.length > 5);
  });
}

test('no verdict is without its reason', () => {
  assert.deepEqual(new Set(verdicts.map((v) => v.want)), new Set(Object.keys(en.verdicts)));
});

test('what is alike is one, the newest of it', () => {
  const list = [
    refusal('syntax', 'x', { time: 3, remote: '10.0.0.1:7', payload: 'a' }),
    refusal('syntax', 'x', { time: 2, remote: '10.0.0.1:8', payload: 'a' }),
    refusal('syntax', 'x', { time: 1, remote: '10.0.0.2:7', payload: 'a' }),
    refusal('syntax', 'x', { time: 0, remote: '10.0.0.1:7', payload: 'b' }),
    refusal('credential', 'y', { time: -1, remote: '10.0.0.1:7', payload: 'a' }),
    refusal('credential', 'y', { time: -2, remote: '10.0.0.1:7', payload: 'b' }),
  ];
  assert.deepEqual(grouped(list).map((g) => [g.refusal.time, g.times]), [[3, 2], [1, 1], [0, 1], [-1, 2]]);
});

test('counts, the most first, none that is nought', () => {
  assert.deepEqual(counted({ rate: 1, syntax: 12, device: 1, empty: 0 }).map((c) => `${c.reason} ${c.count}`), ['syntax 12', 'device 1', 'rate 1']);
});

const texts: { name: string; payload: string; at?: number; want: [before: string, bad: string, after: string] }[] = [
  { name: 'no place', payload: 'x', want: ['x', '', ''] },
  { name: 'first', payload: 'x v', at: 1, want: ['', 'x', ' v'] },
  { name: 'behind letters of two, three and four bytes', payload: 'é€𝄞x', at: 10, want: ['é€𝄞', 'x', ''] },
  { name: 'in the middle of a letter', payload: 'a€b', at: 3, want: ['a', '€', 'b'] },
  { name: 'at the end: something is missing', payload: 'x', at: 2, want: ['x', '\u00a0', ''] },
  { name: 'beyond what was kept', payload: 'x', at: 3, want: ['x', '', ''] },
  { name: 'a space is made visible', payload: 'a b', at: 2, want: ['a', '·', 'b'] },
  { name: 'a newline stays one', payload: 'a\nb', at: 2, want: ['a', '↵', '\nb'] },
];

for (const { name, payload, at, want: [before, bad, after] } of texts) {
  test(`mark in a text: ${name}`, () => assert.deepEqual(markText(payload, at), { before, bad, after }));
}

test('mark in bytes', () => {
  const b64 = (bytes: number[]): string => btoa(String.fromCharCode(...bytes));
  assert.deepEqual(markBytes(b64([0xa2, 0x66, 0x64, 0xff]), 4), { before: 'a2 66 64 ', bad: 'ff', after: ` ${'   '.repeat(12)} .fd.` });
  const { before, bad, after } = markBytes(b64([...Array(18).keys()].map((i) => i + 0x40)), 17);
  assert.equal(before, '40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO\n');
  assert.equal(bad, '50');
  assert.equal(after, ` 51 ${'   '.repeat(14)} PQ`);
  assert.equal(markBytes(b64([1]), 9).bad, '');
});
