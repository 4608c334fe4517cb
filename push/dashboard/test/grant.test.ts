import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { About } from '../src/api.ts';
import { addressFor, linkOf, patternsOf, wishOf } from '../src/data/grant.ts';

test('patterns as they are typed', () => {
  for (const [text, want] of [
    ['', []],
    [' , ', []],
    ['gh*', ['gh*']],
    ['gh1, gh2  gh3\n', ['gh1', 'gh2', 'gh3']],
    ['gh*,gh*', ['gh*']],
  ] as const) {
    assert.deepEqual(patternsOf(text), want, text);
  }
});

test('what access is asked for', () => {
  assert.deepEqual(wishOf(' kitchen ', 'viewer', 'gh*', '30d'), { name: 'kitchen', role: 'viewer', devices: ['gh*'], ttl: '30d' });
  assert.deepEqual(wishOf('me', 'admin', 'gh*', ''), { name: 'me', role: 'admin', devices: [] });
});

const about = (more: Partial<About>): About => ({ version: '1', addresses: ['192.168.1.20', 'fe80::1'], udp: 7700, tcp: 7700, http: 7780, ...more });

const addresses: { page: string; about: About | null; want: string }[] = [
  { page: 'http://192.168.1.20:7780/?technique=sse#/access', about: about({}), want: 'http://192.168.1.20:7780/' },
  { page: 'https://dash.example.org/naru/#/access', about: about({}), want: 'https://dash.example.org/naru/' },
  { page: 'https://dash.example.org/naru/index.html', about: about({}), want: 'https://dash.example.org/naru/' },
  { page: 'http://localhost:7780/', about: about({}), want: 'http://192.168.1.20:7780/' },
  { page: 'http://localhost:8080/naru/', about: about({}), want: 'http://192.168.1.20:7780/' },
  { page: 'https://127.0.0.1:7780/', about: about({ https: true }), want: 'https://192.168.1.20:7780/' },
  { page: 'http://[::1]:7780/', about: about({ addresses: ['fd00::7'] }), want: 'http://[fd00::7]:7780/' },
  { page: 'http://localhost:9000/', about: about({ addresses: ['127.0.0.1'] }), want: 'http://localhost:9000/' },
  { page: 'http://localhost:9000/', about: about({ http: 0 }), want: 'http://localhost:9000/' },
  { page: 'http://localhost:9000/', about: null, want: 'http://localhost:9000/' },
];

test('the address for others', () => {
  for (const { page, about, want } of addresses) {
    const address = addressFor(page, about);
    assert.equal(address.href, want, page);
    assert.equal(linkOf(address, 'abc'), `${want}?token=abc`);
  }
});
