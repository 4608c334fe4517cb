import { computed, effect, signal } from '@preact/signals';
import { isStranger, session as ask, type Session } from './api.ts';
import { dialog, link } from './app.ts';

// Who we are to the server, and so what of the page there is.

/** null until the server has said so. */
export const session = signal<Session | null>(null);

/** Whether we may see and change what is not a reading: what the page then does not ask for it does not show either. */
export const isAdmin = computed(() => session.value?.role === 'admin');

/** Whether the server wants to know who we are before anything else. */
export const isLocked = computed(() => isStranger.value || link.state.value.phase === 'unauthorized');

/** After no answer it is asked again this much later, in milliseconds. */
const retry = 3000;

let timer: ReturnType<typeof setTimeout> | undefined;
let turn = 0;

async function learn(): Promise<void> {
  clearTimeout(timer);
  const mine = ++turn;
  try {
    const answer = await ask();
    if (mine === turn) session.value = answer;
  } catch {
    if (mine === turn && !isStranger.peek()) timer = setTimeout(() => void learn(), retry);
  }
}

/** Starts what runs as long as the page. */
export function watchTheSession(): void {
  const isAway = computed(() => link.state.value.phase === 'waiting');
  effect(() => {
    if (!isAway.value) void learn(); // who comes back may find another server
  });
  effect(() => {
    if (isStranger.value) link.close(); // it may still carry what we may no longer see
  });
  effect(() => {
    const open = dialog.peek();
    // What is shown once stays until it was seen; everything else can be asked for again.
    const isOnce = open?.kind === 'secret' || (open?.kind === 'later' && open.once);
    if (isLocked.value && !isOnce) dialog.value = null;
  });
}
