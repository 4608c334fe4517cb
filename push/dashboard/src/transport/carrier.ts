import type { Message } from './wire.ts';

export const techniques = ['websocket', 'sse', 'stream', 'longpoll', 'poll', 'socketio'] as const;
export type Technique = (typeof techniques)[number];

export function isTechnique(s: string | null): s is Technique {
  return techniques.includes(s as Technique);
}

/** Where a carrier delivers. Nothing comes after end, and nothing after close. */
export interface Sink {
  /** The server has accepted the request. */
  open(): void;
  /** A byte has come, be it only a sign of life. */
  alive(): void;
  message(m: Message): void;
  end(reason: Error): void;
}

/** What a carrier needs of its surroundings; tests give their own. */
export interface Env {
  fetch: typeof fetch;
  WebSocket: typeof WebSocket;
  /** Unix milliseconds: the wall clock, because a monotonic one may stand still while the machine sleeps. */
  now: () => number;
  random: () => number;
}

/** A running technique. close is silent and may be called twice. */
export interface Carrier {
  close(): void;
}

export interface Request {
  /** The live URL with the selection, without a position. */
  url: URL;
  /** Everything up to here has been passed on. */
  cursor: () => string | null;
  env: Env;
}

export type Start = (request: Request, sink: Sink) => Carrier;

/** A technique whose code is fetched when it is used. */
export function later(load: () => Promise<Start>): Start {
  return (request, sink) => {
    let carrier: Carrier | null = null;
    let closed = false;
    load().then(
      (start) => {
        if (!closed) carrier = start(request, sink);
      },
      (reason: unknown) => {
        if (!closed) sink.end(asError(reason));
      },
    );
    return {
      close: () => {
        closed = true;
        carrier?.close();
      },
    };
  };
}

/** An answer that is not the stream: 401 wants the access token. */
export class StatusError extends Error {
  readonly status: number;
  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

export function withQuery(url: URL, query: Record<string, string | null>): URL {
  const out = new URL(url);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null) out.searchParams.set(name, value);
  }
  return out;
}

export function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
