import { computed, effect, signal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { about, api, devices, type Changed, type Storage, type Waiting } from './api.ts';
import { Board, titleOf } from './data/board.ts';
import { beginning, type View } from './data/view.ts';
import { Painter } from './draw/painter.ts';
import { repaint } from './draw/palette.ts';
import { River } from './draw/river.ts';
import type { Helm } from './helm.ts';
import { placeOf } from './place.ts';
import { s } from './strings.ts';
import { isTechnique, type Technique } from './transport/carrier.ts';
import { connect } from './transport/connect.ts';
import type { Message } from './transport/wire.ts';

// The parts of the page and how they are joined. Readings go link → board →
// painter → cells; signals carry structure and state only.

export const painter = new Painter();
export const board = new Board(painter);
export const river = new River();

/** What was kept under a key; null if nothing was, or the browser keeps nothing for this page. */
function stored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Keeps a choice; an empty one is forgotten. */
function keep(key: string, choice: string): void {
  try {
    if (choice === '') localStorage.removeItem(key);
    else localStorage.setItem(key, choice);
  } catch {
    // The choice then holds until the page is closed.
  }
}

/** Called with each message that was pushed, when it is on the board. */
export const pushed = new Set<(message: Message) => void>();

const techniqueKey = 'naru.technique';

/** The technique that is used alone, by the page's address or as it was chosen here before; null: the choice is free. */
function wantedTechnique(): Technique | null {
  const wanted = new URLSearchParams(location.search).get('technique') ?? stored(techniqueKey);
  return isTechnique(wanted) ? wanted : null;
}

/** Uses a technique alone from now on, also when the page is opened again; null: chooses freely again. */
export function chooseTechnique(technique: Technique | null): void {
  const url = new URL(location.href);
  url.searchParams.delete('technique'); // it would go before what was chosen last
  history.replaceState(history.state, '', url);
  keep(techniqueKey, technique ?? '');
  link.force(technique);
}

export const link = connect(
  api('live', { presence: '1' }),
  { last: 60, technique: wantedTechnique() },
  (message) => {
    const live = link.state.peek().phase === 'live';
    board.apply(message, { now: Date.now(), clockOffset: link.stats.clockOffset, live });
    if (live) for (const f of pushed) f(message);
    else board.review(Date.now()); // who was silent before we came is no news
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

export const place = signal(placeOf(location.hash));
addEventListener('hashchange', () => {
  place.value = placeOf(location.hash);
});

/** Id of the device whose page is open; null elsewhere. */
export const route = computed(() => (place.value.page === 'device' ? place.value.id : null));

/** Whether there is nothing to show yet, and the page teaches instead. */
export const isEmpty = computed(
  () => board.begun.value && place.value.page === 'list' && board.devices.value.length === 0,
);

// What the user has chosen.

export const query = signal('');

/** What the charts of the open device show, and what steers them; null on the list. */
export const view = signal<View>(beginning);
export const helm = signal<Helm | null>(null);

/** A question before something that cannot be taken back. */
export interface Question {
  title: string;
  text: string;
  /** What the button says that does it. */
  act: string;
  /** Rejects with what is then shown beside the question. */
  run: () => Promise<void>;
}

export type Dialog =
  | { kind: 'connection' | 'help' | 'add' }
  | { kind: 'admit'; device: Waiting }
  | { kind: 'ask'; question: Question }
  /** The only time that new secrets are shown. */
  | { kind: 'secret'; made: Changed }
  /** One of a page whose code comes later; once: it shows what is not shown again. */
  | { kind: 'later'; View: ComponentType; once: boolean };
export const dialog = signal<Dialog | null>(null);

export const found = computed(() => {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return board.devices.value;
  return board.devices.value.filter((d) => {
    const text = [d.id, d.name.value, ...d.series.value.map((x) => x.metric)].join(' ').toLowerCase();
    return words.every((w) => text.includes(w));
  });
});

export type Theme = 'auto' | 'light' | 'dark';
const themes: readonly Theme[] = ['auto', 'light', 'dark'];
const themeKey = 'naru.theme';

function storedTheme(): Theme {
  const t = stored(themeKey) as Theme;
  return themes.includes(t) ? t : 'auto';
}

export const theme = signal<Theme>(storedTheme());

export function nextTheme(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length] as Theme;
  keep(themeKey, theme.value);
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

/** How often the states of devices are asked for where they are not pushed, in seconds. */
const statesEvery = 5;

function askStates(): void {
  const { technique } = link.state.peek();
  if (document.hidden || (technique !== 'poll' && technique !== 'longpoll')) return;
  devices().then(
    (list) => board.learn(list, Date.now()),
    () => undefined, // The readings then tell alone.
  );
}

let seconds = 0;
let pushedBefore = 0;

function second(): void {
  rate = board.pushed - pushedBefore;
  pushedBefore = board.pushed;
  river.flow(rate);
  if (seconds % storageEvery === 0) askStorage();
  if (seconds++ % statesEvery === 0) askStates();
  if (link.state.peek().phase === 'live') announce();
  painter.markAll();
  for (const f of ticks) f();
}

function announce(): void {
  const changed = board.review(Date.now());
  const stale = changed.filter((d) => d.state.peek() === 'late');
  const gone = changed.filter((d) => d.state.peek() === 'offline');
  const live = changed.filter((d) => d.state.peek() === 'online');
  const say = (list: typeof changed, one: (id: string) => string, many: (n: number) => string): string =>
    list.length === 0 ? '' : list.length === 1 && list[0] ? one(titleOf(list[0])) : many(list.length);
  const text = [say(stale, s.nowLate, s.manyLate), say(gone, s.nowOffline, s.manyOffline), say(live, s.nowOnline, s.manyOnline)]
    .filter(Boolean)
    .join('. ');
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
