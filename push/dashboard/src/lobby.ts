import { computed, effect, signal } from '@preact/signals';
import { registry, type Registry } from './api.ts';
import { link, place } from './app.ts';
import { isAdmin, isLocked, session } from './session.ts';

// Who waits for approval: asked for while an admin looks.

/** How often that is, in milliseconds: while the list is open, elsewhere, and where nobody can wait. */
const listed = 3000;
const elsewhere = 15_000;
const never = 60_000;

/** An answer may be long: the pause is at least so many times what it took. */
const share = 10;

/** null until the server has said who waits. */
const known = signal<Registry | null>(null);

export const admission = computed(() => known.value?.admission ?? null);
export const waiting = computed(() => known.value?.waiting ?? []);

/** Whether it is known who waits, or not ours to know, or not worth waiting for: what stands above the devices then has its place. */
export const settled = signal(false);

/** The devices do not wait longer for that, in milliseconds. */
const patience = 400;

let timer: ReturnType<typeof setTimeout> | undefined;
let turn = 0;

function pause(): number {
  if (admission.peek() !== 'approve') return never;
  return place.peek().page === 'list' ? listed : elsewhere;
}

/** Asks now, and again later; what an earlier question brings no longer counts. */
async function ask(): Promise<void> {
  clearTimeout(timer);
  const mine = ++turn;
  if (!isAdmin.peek()) {
    known.value = null;
    if (session.peek() !== null) settled.value = true;
    return;
  }
  const begun = performance.now();
  try {
    if (!document.hidden && !isLocked.peek()) {
      const { admission, waiting } = await registry();
      if (mine === turn) known.value = { admission, waiting };
    }
  } catch {
    // Who waited before still does, as far as we know; the next answer tells.
  }
  if (mine !== turn) return;
  settled.value = true;
  timer = setTimeout(() => void ask(), Math.max(pause(), share * (performance.now() - begun)));
}

/** What becomes of a device has been decided: it leaves the list at once, and the next answer says the same. */
export function decided(id: string): void {
  const now = known.peek();
  if (now) known.value = { ...now, waiting: now.waiting.filter((w) => w.id !== id) };
  void ask();
}

/** Starts what runs as long as the page. */
export function watchTheLobby(): void {
  const isConnecting = computed(() => link.state.value.phase === 'connecting');
  const isLive = computed(() => link.state.value.phase === 'live');
  const isList = computed(() => place.value.page === 'list');
  const isKnown = computed(() => session.value !== null);
  effect(() => {
    if (isKnown.value) void ask();
  });
  effect(() => {
    if (isConnecting.value || (isLive.value && isList.value)) void ask();
  });
  setTimeout(() => (settled.value = true), patience);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) void ask();
  });
}
