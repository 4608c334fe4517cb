import { computed, effect, signal } from '@preact/signals';
import { about, api, type Storage } from './api.ts';
import { Board } from './data/board.ts';
import { beginning, type View } from './data/view.ts';
import { Painter } from './draw/painter.ts';
import { repaint } from './draw/palette.ts';
import { River } from './draw/river.ts';
import type { Helm } from './helm.ts';
import { s } from './strings.ts';
import { isTechnique } from './transport/carrier.ts';
import { connect } from './transport/connect.ts';

// The parts of the page and how they are joined. Readings go link → board →
// painter → cells; signals carry structure and state only.

export const painter = new Painter();
export const board = new Board(painter);
export const river = new River();

const wanted = new URLSearchParams(location.search).get('technique');

export const link = connect(
  api('live'),
  { last: 60, technique: isTechnique(wanted) ? wanted : null },
  (message) => {
    const live = link.state.peek().phase === 'live';
    board.apply(message, { now: Date.now(), clockOffset: link.stats.clockOffset, live });
    if (!live) board.review(Date.now()); // who was silent before we came is no news
  },
);

// An answer without readings is not passed on, yet it says that there are none.
effect(() => {
  if (link.state.value.phase === 'live') board.begun.value = true;
});

addEventListener('online', () => link.check());
addEventListener('offline', () => link.check());
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) link.check();
});

// Where the page is: the list, or one device.

function readRoute(): string | null {
  const found = /^#\/device\/(.+)$/.exec(location.hash);
  if (!found?.[1]) return null;
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

/** Id of the device whose page is open; null for the list. */
export const route = signal(readRoute());
addEventListener('hashchange', () => {
  route.value = readRoute();
});

export function deviceHref(id: string): string {
  return `#/device/${encodeURIComponent(id)}`;
}

/** Whether there is nothing to show yet, and the page teaches instead. */
export const isEmpty = computed(
  () => board.begun.value && route.value === null && board.devices.value.length === 0,
);

// What the user has chosen.

export const query = signal('');

/** What the charts of the open device show, and what steers them; null on the list. */
export const view = signal<View>(beginning);
export const helm = signal<Helm | null>(null);

export type Dialog = 'connection' | 'refused' | 'help';
export const dialog = signal<Dialog | null>(null);

export const found = computed(() => {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return board.devices.value;
  return board.devices.value.filter((d) => {
    const text = [d.id, ...d.series.value.map((x) => x.metric)].join(' ').toLowerCase();
    return words.every((w) => text.includes(w));
  });
});

export type Theme = 'auto' | 'light' | 'dark';
const themes: readonly Theme[] = ['auto', 'light', 'dark'];
const themeKey = 'naru.theme';

/** What was stored; nothing if the browser keeps nothing for this page. */
function storedTheme(): Theme {
  try {
    const t = localStorage.getItem(themeKey) as Theme;
    return themes.includes(t) ? t : 'auto';
  } catch {
    return 'auto';
  }
}

export const theme = signal<Theme>(storedTheme());

export function nextTheme(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length] as Theme;
  try {
    localStorage.setItem(themeKey, theme.value);
  } catch {
    // The choice then holds until the page is closed.
  }
}

function recolour(): void {
  repaint();
  painter.markAll();
  for (const f of ticks) f();
}

// The second: ages, rate, states.

const ticks = new Set<() => void>();

/** Calls f once a second until the returned function is called. */
export function everySecond(f: () => void): () => void {
  ticks.add(f);
  return () => ticks.delete(f);
}

/** Readings pushed in the last second. */
export let rate = 0;

/** What a screen reader is told: changes of state, never values. */
export const announcement = signal('');

/** Whether the server keeps what is sent; null until it has said so. */
export const storage = signal<Storage | null>(null);

/** How often the server is asked for that, in seconds. */
const storageEvery = 15;

function askStorage(): void {
  if (document.hidden || link.state.peek().phase !== 'live') return;
  about().then(
    (a) => (storage.value = a.storage ?? null),
    () => undefined, // What it said last stands; the connection has its own sign.
  );
}

let seconds = 0;
let pushedBefore = 0;

function second(): void {
  rate = board.pushed - pushedBefore;
  pushedBefore = board.pushed;
  river.flow(rate);
  if (seconds++ % storageEvery === 0) askStorage();
  if (link.state.peek().phase === 'live') announce();
  painter.markAll();
  for (const f of ticks) f();
}

function announce(): void {
  const changed = board.review(Date.now());
  const stale = changed.filter((d) => d.state.peek() === 'stale');
  const live = changed.filter((d) => d.state.peek() === 'live');
  const say = (list: typeof changed, one: (id: string) => string, many: (n: number) => string): string =>
    list.length === 0 ? '' : list.length === 1 && list[0] ? one(list[0].id) : many(list.length);
  const text = [say(stale, s.nowStale, s.manyStale), say(live, s.nowLive, s.manyLive)].filter(Boolean).join('. ');
  if (text) announcement.value = text;
}

/** Starts what runs as long as the page. */
export function start(): void {
  setInterval(second, 1000);
  effect(() => {
    if (theme.value === 'auto') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme.value;
    recolour();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', recolour);
}
