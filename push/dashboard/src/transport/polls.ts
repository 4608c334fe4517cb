import { asError, StatusError, withQuery, type Env, type Request, type Sink, type Start } from './carrier.ts';
import { parseMessage, type Message } from './wire.ts';

const second = 1000;

/** How long the server may hold a long poll, and how much longer an answer may be under way. */
const hold = 25;
const slack = 10 * second;

/** After an answer with readings the next ones may gather, so that a busy stream costs ten requests a second, not hundreds. */
const gather = 100;

/** Pause after an empty answer that came at once although the server was asked to hold it. */
const breath = second;

/** Pause between two plain polls. */
const pollEvery = 2 * second;

/** How long a plain request may take. */
export const answerWithin = 10 * second;

export interface Answer {
  message: Message | null;
  /** The server's clock, Unix milliseconds to the second; null if it did not say. */
  date: number | null;
}

/** One polling request. Rejects with StatusError when the server refuses. */
export async function ask(env: Env, url: URL, within: number, signal: AbortSignal): Promise<Answer> {
  const limit = new AbortController();
  const stop = (): void => limit.abort();
  const timer = setTimeout(stop, within);
  signal.addEventListener('abort', stop);
  try {
    const response = await env.fetch(url, {
      headers: { Accept: 'application/json' },
      cache: 'no-store',
      signal: limit.signal,
    });
    if (!response.ok) throw new StatusError(response.status, `${response.status} ${response.statusText}`);
    const date = Date.parse(response.headers.get('Date') ?? '');
    return { message: parseMessage(await response.text()), date: Number.isNaN(date) ? null : date };
  } catch (reason) {
    throw limit.signal.aborted && !signal.aborted ? new Error('no answer') : reason;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

export const startLongPoll: Start = (request, sink) => startPolls(request, sink, `${hold}s`, hold * second + slack, 0);

export const startPoll: Start = (request, sink) => startPolls(request, sink, null, answerWithin, pollEvery);

function startPolls(request: Request, sink: Sink, wait: string | null, within: number, pause: number) {
  const abort = new AbortController();
  const run = async (): Promise<void> => {
    for (let first = true; !abort.signal.aborted; first = false) {
      const url = withQuery(request.url, { after: request.cursor(), wait });
      const asked = request.env.now();
      const { message } = await ask(request.env, url, within, abort.signal);
      if (abort.signal.aborted) return;
      if (first) sink.open();
      sink.alive();
      if (message) sink.message(message);
      const some = message?.type === 'readings' && message.readings.length > 0;
      const early = request.env.now() - asked < breath;
      await sleep(Math.max(pause, some ? gather : early ? breath : 0), abort.signal);
    }
  };
  run().catch((reason: unknown) => {
    if (abort.signal.aborted) return;
    abort.abort();
    sink.end(asError(reason));
  });
  return { close: () => abort.abort() };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
