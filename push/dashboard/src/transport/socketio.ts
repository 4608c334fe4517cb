import { Fetch, io, WebSocket as WebSockets, type Socket } from 'socket.io-client';
import { StatusError, type Start } from './carrier.ts';
import type { Message } from './messages.ts';
import { checkMessage } from './wire.ts';

// The official client of Socket.IO, as both the page and the client for others use it.

export type { Socket };

/** What carries Socket.IO. */
export type Transport = 'websocket' | 'polling';

export interface SocketOptions {
  /** Goes into the address of every request: browsers let no WebSocket have headers. */
  token?: string | undefined;
  /** Use this one alone; otherwise polling comes first and a WebSocket takes over when it works. */
  only?: Transport | undefined;
  /** Whether the client comes again by itself; how long it waits, as Backoff has it. */
  again: false | { first: number; most: number };
  /** What is asked for with each connection: the parameters of the live URL. */
  ask: () => Record<string, unknown>;
}

/** Longest that a request may take, in milliseconds: the gateway holds a poll for 25 s at most. */
const pollWithin = 60_000;

/**
 * Polls through fetch, which Node.js has too. That of the library leaves an answer
 * that is cut off unnoticed, and has no time limit.
 */
class Polls extends Fetch {
  override doPoll(): void {
    this.#ask(null).then(
      (data) => this.onData(data),
      (reason: unknown) => this.onError('poll failed', statusOf(reason)),
    );
  }

  override doWrite(data: string, callback: () => void): void {
    this.#ask(data).then(callback, (reason: unknown) => this.onError('poll failed', statusOf(reason)));
  }

  async #ask(body: string | null): Promise<string> {
    const response = await fetch(this.uri(), {
      method: body === null ? 'GET' : 'POST',
      body,
      headers: body === null ? {} : { 'Content-Type': 'text/plain;charset=UTF-8' },
      credentials: this.opts.withCredentials ? 'include' : 'omit',
      cache: 'no-store',
      signal: AbortSignal.timeout(pollWithin),
    });
    if (!response.ok) throw Object.assign(new Error(response.statusText), { description: response.status });
    return response.text();
  }
}

/** The status with which the gateway has refused a request; 0 if it was something else. */
export function statusOf(reason: unknown): number {
  const { description } = reason as { description?: unknown };
  return typeof description === 'number' ? description : 0;
}

/** Returns a socket to the gateway whose page is at base; it does not connect yet. */
export function socketTo(base: URL, o: SocketOptions): Socket {
  const polls = o.only === 'websocket' ? [] : [Polls];
  const sockets = o.only === 'polling' || globalThis.WebSocket === undefined ? [] : [WebSockets];
  return io(base.origin, {
    path: new URL('socket.io/', base).pathname,
    transports: [...polls, ...sockets],
    query: o.token === undefined ? {} : { token: o.token },
    withCredentials: o.token === undefined,
    auth: (give) => give({ ...o.ask(), batch: 1 }),
    autoConnect: false,
    forceNew: true,
    reconnection: o.again !== false,
    ...(o.again && { reconnectionDelay: o.again.first, reconnectionDelayMax: o.again.most }),
  });
}

/** What a socket brings; each comes with the cursor to go on from. */
export interface Ears {
  /** The stream begins, or goes on. */
  hello(cursor: string): void;
  message(m: Message, cursor: string): void;
  /** What came is no message. */
  bad(reason: Error): void;
}

/** Has ears hear all that the socket brings. */
export function listen(socket: Socket, ears: Ears): void {
  socket.on('hello', (_: unknown, cursor: string) => ears.hello(cursor));
  for (const name of ['readings', 'gap', 'reset', 'device', 'error']) {
    socket.on(name, (raw: unknown, cursor: string) => {
      let m: Message | null;
      try {
        m = checkMessage(raw);
      } catch (reason) {
        ears.bad(reason as Error);
        return;
      }
      if (m) ears.message(m, cursor);
    });
  }
}

/** Socket.IO as a technique of the page, which comes again and orders by itself. */
export const startSocketIO: Start = (request, sink) => {
  const base = new URL('../../', request.url); // of api/v1/live
  const socket = socketTo(base, { again: false, ask: () => ({ ...parameters(request.url), after: request.cursor() }) });
  const stop = (): void => {
    socket.removeAllListeners();
    socket.disconnect();
  };
  const end = (reason: Error): void => {
    stop();
    sink.end(reason);
  };
  socket.on('connect', () => sink.open());
  socket.on('disconnect', (reason) => end(new Error(reason)));
  socket.on('connect_error', (reason) => {
    const status = statusOf(reason);
    end(status === 0 ? reason : new StatusError(status, reason.message));
  });
  socket.io.on('ping', () => sink.alive());
  listen(socket, {
    hello: () => sink.alive(),
    message: (m) => {
      sink.alive();
      sink.message(m);
    },
    bad: end,
  });
  socket.connect();
  return { close: stop };
};

function parameters(url: URL): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = {};
  for (const name of new Set(url.searchParams.keys())) {
    const all = url.searchParams.getAll(name);
    out[name] = all.length === 1 ? (all[0] ?? '') : all;
  }
  return out;
}
