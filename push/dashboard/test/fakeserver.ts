import { mock } from 'node:test';
import { parseCursor, type Presence, type Reading } from '../src/transport/wire.ts';

export type Manner = 'ok' | 'refuse' | 'hang' | 'mute';

interface Viewer {
  at: number;
  send: (text: string) => void;
  end: () => void;
}

/** FakeServer answers GET api/v1/live as the contract says, in memory; manners make it misbehave. */
export class FakeServer {
  store = 'k3v9';
  kept: Reading[] = [];
  websocket: Manner = 'ok';
  sse: Manner = 'ok';
  down = false;
  status = 200;
  /** State of the one device, told first by every stream that asks for presence. */
  state: Presence['state'] = 'online';
  /** Requests in order: `snapshot`, `after`, `longpoll`, `sse`, `stream`, `websocket`. */
  asked: string[] = [];
  #viewers = new Set<Viewer>();

  get offset(): number {
    return this.kept.at(-1)?.offset ?? 0;
  }

  /** Adds n readings and wakes everybody. */
  append(n = 1): void {
    for (let i = 0; i < n; i++) {
      const offset = this.offset + 1;
      this.kept.push({ offset, device: 'gh1', metric: 'temp', time: offset * 1000, value: offset });
    }
    for (const v of [...this.#viewers]) this.#serve(v);
  }

  /** Ends what is open; refuses what comes until up. */
  stop(): void {
    this.down = true;
    for (const v of [...this.#viewers]) v.end();
    this.#viewers.clear();
  }

  start(store = this.store): void {
    if (store !== this.store) this.kept = [];
    this.store = store;
    this.down = false;
  }

  #serve(v: Viewer): void {
    const readings = this.kept.filter((r) => r.offset > v.at);
    if (readings.length === 0) return;
    v.at = this.offset;
    v.send(this.#message(readings));
  }

  #message(readings: Reading[]): string {
    return JSON.stringify({ type: 'readings', cursor: `${this.store}-${this.offset}`, readings });
  }

  #tell(url: URL, send: (text: string) => void): void {
    if (url.searchParams.get('presence') !== '1') return;
    send(JSON.stringify({ type: 'device', device: { id: 'gh1', state: this.state, clock: 'ok', duplicates: 0 } }));
  }

  #add(url: URL, send: (text: string) => void, end: () => void): Viewer {
    const after = parseCursor(url.searchParams.get('after') ?? '');
    const v: Viewer = { at: after?.offset ?? this.offset, send, end };
    this.#viewers.add(v);
    this.#serve(v);
    return v;
  }

  fetch = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const url = new URL(String(input));
    const accept = new Headers(init?.headers).get('Accept');
    const signal = init?.signal ?? new AbortController().signal;
    const streamed = accept === 'text/event-stream' || accept === 'application/x-ndjson';
    const kind = accept === 'text/event-stream' ? 'sse' : streamed ? 'stream' : url.searchParams.has('wait') ? 'longpoll' : url.searchParams.has('after') ? 'after' : 'snapshot';
    this.asked.push(kind);
    if (this.down) return Promise.reject(new TypeError('connection refused'));
    if (this.status !== 200) return Promise.resolve(new Response('{"error":"no"}', { status: this.status }));
    if (streamed) return this.#stream(url, accept, signal);
    return this.#poll(url, kind, signal);
  };

  #poll(url: URL, kind: string, signal: AbortSignal): Promise<Response> {
    const after = parseCursor(url.searchParams.get('after') ?? '');
    const reset = JSON.stringify({ type: 'reset', cursor: `${this.store}-${this.offset}`, reason: 'unknown cursor' });
    if (after && after.store !== this.store) return Promise.resolve(new Response(reset));
    const fresh = this.kept.filter((r) => r.offset > (after?.offset ?? 0));
    if (kind !== 'longpoll' || fresh.length > 0) return Promise.resolve(new Response(this.#message(fresh)));
    return new Promise((resolve, reject) => {
      const done = (text: string): void => {
        leave();
        resolve(new Response(text));
      };
      const cut = (): void => {
        leave();
        reject(new DOMException('aborted', 'AbortError'));
      };
      const leave = (): void => {
        clearTimeout(timer);
        this.#viewers.delete(v);
        signal.removeEventListener('abort', cut);
      };
      const v = this.#add(url, done, () => reject(new TypeError('cut')));
      const timer = setTimeout(() => done(this.#message([])), 25_000);
      signal.addEventListener('abort', cut);
    });
  }

  #stream(url: URL, type: string, signal: AbortSignal): Promise<Response> {
    if (this.sse === 'refuse') return Promise.resolve(new Response('no', { status: 502 }));
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
      if (this.sse === 'hang') return;
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          const line = (text: string): void => controller.enqueue(new TextEncoder().encode(text));
          if (this.sse === 'mute') return;
          line(type === 'text/event-stream' ? ': hello\n\n' : '\n');
          const send = (text: string): void => line(type === 'text/event-stream' ? `id: x\ndata: ${text}\n\n` : `${text}\n`);
          this.#tell(url, send);
          const v = this.#add(url, send, () => controller.close());
          signal.addEventListener('abort', () => {
            if (this.#viewers.delete(v)) controller.error(new DOMException('aborted', 'AbortError'));
          });
        },
      });
      resolve(new Response(body, { headers: { 'Content-Type': type } }));
    });
  }

  /** The constructor that stands for the browser's WebSocket. */
  get WebSocket(): typeof WebSocket {
    const server = this;
    class FakeSocket {
      onopen: (() => void) | null = null;
      onmessage: ((e: { data: string }) => void) | null = null;
      onerror: (() => void) | null = null;
      onclose: ((e: { code: number }) => void) | null = null;
      #viewer: Viewer | null = null;

      constructor(url: URL) {
        server.asked.push('websocket');
        if (server.websocket === 'hang') return;
        setImmediate(() => {
          if (server.down || server.websocket === 'refuse') {
            this.onerror?.();
            this.onclose?.({ code: 1006 });
            return;
          }
          this.onopen?.();
          if (server.websocket === 'mute') return;
          server.#tell(url, (data) => this.onmessage?.({ data }));
          this.#viewer = server.#add(url, (data) => this.onmessage?.({ data }), () => this.onclose?.({ code: 1001 }));
        });
      }

      close(): void {
        if (this.#viewer) server.#viewers.delete(this.#viewer);
      }
    }
    return FakeSocket as unknown as typeof WebSocket;
  }

  /** Viewers that are connected now. */
  get viewers(): number {
    return this.#viewers.size;
  }
}

/** Lets everything happen that waits for no timer. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves the fake clock in steps, so that timers set on the way fire too. */
export async function pass(ms: number): Promise<void> {
  const step = 100;
  await settle();
  for (let done = 0; done < ms; done += step) {
    mock.timers.tick(Math.min(step, ms - done));
    await settle();
  }
}
