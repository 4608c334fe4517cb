import { dialog, helm, place, query } from './app.ts';

/** Whether a key press belongs to the element that has the focus. */
function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('input:not([type=radio]), textarea, select, [contenteditable]');
}

/** Whether the element turns among its choices with the arrows. */
function isChoice(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('[type=radio], [role=tab]');
}

function isPressable(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('button, a, summary, [role=tab]');
}

function search(): HTMLInputElement | null {
  return document.querySelector<HTMLInputElement>('#search');
}

/** Focuses the search, which may take a few frames to be on the page. */
function focusSearch(frames: number): void {
  const input = search();
  if (input) input.focus();
  else if (frames > 0) requestAnimationFrame(() => focusSearch(frames - 1));
}

/** Moves the focus to the next or previous card. */
function step(by: 1 | -1): void {
  const cards = [...document.querySelectorAll<HTMLElement>('.card-link')];
  if (cards.length === 0) return;
  const at = cards.indexOf(document.activeElement as HTMLElement);
  const next = at < 0 ? (by > 0 ? 0 : cards.length - 1) : Math.min(cards.length - 1, Math.max(0, at + by));
  cards[next]?.focus();
  cards[next]?.scrollIntoView({ block: 'nearest' });
}

function escape(typing: boolean): boolean {
  if (typing) {
    query.value = '';
    (document.activeElement as HTMLElement).blur();
  } else if (place.value.page !== 'list') {
    location.hash = '#/';
  } else if (query.value !== '') {
    query.value = '';
  } else {
    return false;
  }
  return true;
}

/** Returns whether the key meant something. */
function press(key: string, target: EventTarget | null): boolean {
  const typing = isTyping(target);
  if (key === 'Escape') return escape(typing);
  if (typing) return false;
  switch (key) {
    case '/':
      if (!search()) location.hash = '#/';
      focusSearch(10);
      return true;
    case 'j':
      step(1);
      return true;
    case 'k':
      step(-1);
      return true;
    case ' ':
      if (isPressable(target)) return false;
      break;
    case 'ArrowLeft':
    case 'ArrowRight':
      if (isChoice(target)) return false;
      break;
    case '?':
      dialog.value = { kind: 'help' };
      return true;
  }
  return steer(key);
}

function steer(key: string): boolean {
  const h = helm.value;
  const act = {
    ' ': () => h?.toggle(),
    '+': () => h?.step(0.5),
    '=': () => h?.step(0.5), // the same key without Shift
    '-': () => h?.step(2),
    '0': () => h?.live(),
    ArrowLeft: () => h?.turn(-0.25),
    ArrowRight: () => h?.turn(0.25),
  }[key];
  if (!h || !act) return false;
  act();
  return true;
}

/** Listens to the keys of the whole page. An open dialog has them for itself. */
export function listenToKeys(): void {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || dialog.value !== null) return;
    if (press(event.key, event.target)) event.preventDefault();
  });
}
