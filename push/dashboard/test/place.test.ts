import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceHref, placeOf, type Place } from '../src/place.ts';

const list: Place = { page: 'list' };
const places: { hash: string; want: Place }[] = [
  { hash: '', want: list },
  { hash: '#/', want: list },
  { hash: '#/refused', want: { page: 'refused' } },
  { hash: '#/access', want: { page: 'access' } },
  { hash: '#/device/gh1', want: { page: 'device', id: 'gh1', section: 'charts' } },
  { hash: '#/device/gh1/commands', want: { page: 'device', id: 'gh1', section: 'commands' } },
  { hash: '#/device/a%3Ab/access', want: { page: 'device', id: 'a:b', section: 'access' } },
  { hash: '#/device/gh1/other', want: list },
  { hash: '#/device/', want: list },
  { hash: '#/device/%zz', want: list },
  { hash: '#/refused/x', want: list },
];

test('places', () => {
  for (const { hash, want } of places) assert.deepEqual(placeOf(hash), want, hash);
});

test('the way to a device leads there', () => {
  for (const id of ['gh1', 'a:b', 'x/y', '100%', 'ü']) {
    for (const section of ['charts', 'commands', 'access'] as const) {
      assert.deepEqual(placeOf(deviceHref(id, section)), { page: 'device', id, section });
    }
  }
});
