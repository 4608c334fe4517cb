import { effect, signal } from '@preact/signals';
import { isStranger, negotiation } from './api.ts';
import { board, link, painter, pushed } from './app.ts';
import { firstReceipt, Recent, ServerClock } from './data/delay.ts';
import type { Message } from './transport/wire.ts';

// How long readings take from the server's receipt to the screen. The server's
// clock is asked for with a small request, whose round trip is told too.

const clock = new ServerClock();
const trips = new Recent(5);
const lags = new Recent(15);

/** Names of the techniques that the server offers; null until it has said so. */
export const offered = signal<readonly string[] | null>(null);

/** How often the clock is asked for while somebody looks, in milliseconds: it drifts. */
const every = 60_000;

/** A figure that is older, in milliseconds, says nothing of now. */
const freshFor = 10_000;

let paintedAt = 0;

/** When the server received what has waited longest for its painting; NaN if nothing waits. */
let oldest = Number.NaN;

/** Our clock, finer than a millisecond, which nobody sets while the page is open. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Milliseconds of a small request and its answer; null until known. */
export function roundTrip(): number | null {
  return trips.median;
}

/** Milliseconds from the server's receipt to the painting, of what was pushed lately; null where nothing was. */
export function lag(): number | null {
  return now() - paintedAt > freshFor ? null : lags.median;
}

/** Notes readings that were pushed and have just been put on the board. */
function arrived(message: Message): void {
  if (message.type !== 'readings' || document.hidden || !painter.isBehind || !Number.isNaN(oldest)) return;
  oldest = firstReceipt(message.readings, (id) => board.device(id)?.presence.peek() ?? null);
}

function painted(): void {
  const { offset } = clock;
  if (!Number.isNaN(oldest) && offset !== null) {
    paintedAt = now();
    lags.add(Math.max(0, paintedAt + offset - oldest));
  }
  oldest = Number.NaN;
}

/** Asks for the server's clock, which takes a round trip. */
export async function ping(): Promise<void> {
  if (document.hidden || isStranger.peek()) return;
  const asked = now();
  try {
    const { time, techniques } = await negotiation();
    const answered = now();
    clock.note(asked, answered, time);
    trips.add(answered - asked);
    offered.value = techniques.map((t) => t.name);
  } catch {
    // The connection has its own sign.
  }
}

/** Starts what runs as long as the page. */
export function watchTheLag(): void {
  painter.onPainted = painted;
  pushed.add(arrived);
  effect(() => {
    const { phase, technique } = link.state.value;
    if (technique) lags.clear(); // what another one took says nothing of this one
    if (phase === 'live') void ping();
  });
  document.addEventListener('visibilitychange', () => {
    oldest = Number.NaN; // a page that nobody sees is not painted
  });
  setInterval(() => {
    if (link.state.peek().phase === 'live') void ping();
  }, every);
}
