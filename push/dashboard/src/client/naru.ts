import { delay, reconnect } from '../transport/backoff.ts';
import type { Gap, Message, Presence, Reading, Reset } from '../transport/messages.ts';
import { Order } from '../transport/order.ts';
import { listen, socketTo, statusOf, type Socket } from '../transport/socketio.ts';

/** How to reach the gateway. */
export interface Options {
  /** The access token; the machine of the gateway itself, and pages of the gateway where somebody has logged in, need none. */
  token?: string;
  /** Use this alone. Otherwise polling comes first, and a WebSocket takes over when it works. */
  technique?: Technique;
}

export type Technique = 'websocket' | 'polling';

/** Which readings are wanted; without anything, all from now on. */
export interface Selection {
  /** Patterns: `*` is any run of characters, `?` any one. A reading passes if it matches one of each. */
  device?: string | readonly string[];
  metric?: string | readonly string[];
  /** Begin with so many of the newest readings of each series, at most 1000. */
  last?: number;
  /** The cursor to go on from, as `info.cursor` was. */
  after?: string;
  /** `latest`: of several readings of a series that are to come at once, only the newest. */
  policy?: 'all' | 'latest';
  /** At most one reading of each series in this time, such as `1s`. */
  every?: string;
  /** Leave out numbers that differ by less than this from the last of their series. */
  deadband?: number;
  /** Whether device states are wanted; they are when there is a handler for them. */
  presence?: boolean;
}

/** What is told with a reading. */
export interface Info {
  /** Everything up to here has been handed over: a later program goes on with it as `after`. */
  cursor: string;
}

/** `unauthorized` and `closed` are the end. */
export type Phase = 'connecting' | 'live' | 'waiting' | 'unauthorized' | 'closed';

export interface State {
  phase: Phase;
  /** What carries the stream; null unless live. */
  technique: Technique | null;
  /** Why it is not live, for people. */
  error: string;
}

/** What else can be told. */
export interface Handlers {
  state?(state: State): void;
  /** Something that was asked for is no longer kept. */
  gap?(gap: Gap): void;
  /** The store is another one: what came before belongs to the past. */
  reset?(reset: Reset): void;
  device?(device: Presence): void;
  /** The gateway refuses what is asked for; without a handler the console is told. */
  error?(error: Error): void;
}

/** Ends a subscription. */
export type Stop = () => void;

/** A gateway. */
export interface Naru {
  readonly url: string;
  /**
   * Has onReading get every reading of the selection, in order and each exactly
   * once, over whatever happens to the network and the gateway; what is missing is
   * told as a gap or reset. Each subscription is a connection of its own.
   */
  readings(selection: Selection, onReading: (reading: Reading, info: Info) => void, handlers?: Handlers): Stop;
  /** Ends all subscriptions. */
  close(): void;
}

/**
 * Returns the gateway whose page is at url: by default the one that this module came
 * from, or of this machine if it came from a file. An access link will do, and its
 * token is used.
 */
export function connect(url: string | URL = origin(import.meta.url), options: Options = {}): Naru {
  const base = new URL(url);
  if (base.protocol !== 'http:' && base.protocol !== 'https:') throw new TypeError(`want an http or https URL, not ${base.protocol}`);
  const token = options.token ?? base.searchParams.get('token') ?? undefined;
  base.search = base.hash = '';
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  const open = new Set<Subscription>();
  return {
    url: base.href,
    readings(selection, onReading, handlers = {}) {
      const s = new Subscription({ base, token, only: options.technique }, selection, onReading, handlers);
      open.add(s);
      return () => {
        open.delete(s);
        s.stop();
      };
    },
    close() {
      for (const s of open) s.stop();
      open.clear();
    },
  };
}

function origin(module: string): URL {
  return module.startsWith('http') ? new URL('../', module) : new URL('http://127.0.0.1:7780/');
}

interface Gateway {
  base: URL;
  token: string | undefined;
  only: Technique | undefined;
}

class Subscription {
  readonly #gateway: Gateway;
  readonly #selection: Selection;
  readonly #onReading: (reading: Reading, info: Info) => void;
  readonly #handlers: Handlers;
  readonly #socket: Socket;
  readonly #order = new Order();
  /** Where the next connection goes on; null: it begins. */
  #cursor: string | null;
  #state: State | null = null; // before it begins
  #ended = false;
  #refusals = 0; // in a row
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(gateway: Gateway, selection: Selection, onReading: (reading: Reading, info: Info) => void, handlers: Handlers) {
    this.#gateway = gateway;
    this.#selection = { ...selection };
    this.#onReading = onReading;
    this.#handlers = handlers;
    this.#cursor = selection.after ?? null;
    this.#socket = socketTo(gateway.base, { ...gateway, again: reconnect, ask: () => this.#ask() });
    this.#listen();
    this.#set('connecting');
    this.#socket.connect();
  }

  stop(): void {
    this.#end('closed', '');
  }

  #end(phase: 'closed' | 'unauthorized', error: string): void {
    if (this.#ended) return;
    this.#set(phase, null, error);
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#socket.removeAllListeners();
    this.#socket.disconnect();
  }

  #ask(): Record<string, unknown> {
    const { last, after: _, presence = this.#handlers.device !== undefined, ...rest } = this.#selection;
    return { ...rest, presence, ...(this.#cursor !== null && { after: this.#cursor }), ...(last !== undefined && { last }) };
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on('connect', () => {
      this.#refusals = 0;
      const { engine } = socket.io;
      const live = (): void => this.#set('live', engine.transport.name as Technique);
      engine.on('upgrade', live);
      live();
    });
    socket.on('disconnect', (reason) => this.#waits(reason));
    socket.on('connect_error', (reason) => void this.#failed(reason));
    listen(socket, {
      hello: (cursor) => (this.#cursor = cursor),
      message: (m, cursor) => this.#pass(m, cursor),
      bad: (reason) => this.#tell('error', reason),
    });
  }

  /** Hands a message over. The cursor is noted first: what a handler throws is his own affair. */
  #pass(message: Message, cursor: string): void {
    this.#cursor = cursor;
    for (const m of this.#order.accept(message)) {
      switch (m.type) {
        case 'readings':
          this.#hand(m.readings, cursor);
          break;
        case 'gap':
          this.#tell('gap', m);
          break;
        case 'reset':
          this.#tell('reset', m);
          break;
        case 'device':
          this.#tell('device', m.device);
          break;
        case 'error':
          this.#tell('error', new Error(m.error));
          break;
      }
    }
  }

  #hand(readings: readonly Reading[], cursor: string): void {
    const store = cursor.slice(0, cursor.lastIndexOf('-'));
    const last = readings.length - 1;
    for (const [i, r] of readings.entries()) {
      if (this.#ended) return;
      attempt(() => this.#onReading(r, { cursor: i === last ? cursor : `${store}-${r.offset}` }));
    }
  }

  #tell<K extends keyof Handlers>(name: K, what: Parameters<NonNullable<Handlers[K]>>[0]): void {
    const handler = this.#handlers[name] as ((what: unknown) => void) | undefined;
    if (handler) attempt(() => handler.call(this.#handlers, what));
    else if (name === 'error') console.error('naru:', what);
  }

  /** Says how it stands, if that is news. A socket that is closed finishes a change of transports that has begun: nobody is told. */
  #set(phase: Phase, technique: Technique | null = null, error = ''): void {
    const before = this.#state;
    if (this.#ended || (before?.phase === phase && before.technique === technique && before.error === error)) return;
    this.#state = { phase, technique, error };
    this.#tell('state', this.#state);
  }

  /** The connection has ended, or none came about. */
  async #failed(reason: Error): Promise<void> {
    const status = this.#gateway.only === 'websocket' ? await this.#status() : statusOf(reason);
    if (this.#ended || this.#socket.connected) return;
    if (status === 401 || status === 403) {
      const error = new Error('the access token is missing or wrong, or may not watch');
      this.#end('unauthorized', error.message);
      this.#tell('error', error);
      return;
    }
    if (!this.#socket.active) this.#tell('error', reason);
    this.#waits(reason.message);
  }

  /** How the gateway answers a question that wants the same right: a WebSocket that it refuses does not say why. */
  async #status(): Promise<number> {
    const url = new URL('api/v1/about', this.#gateway.base);
    if (this.#gateway.token !== undefined) url.searchParams.set('token', this.#gateway.token);
    const credentials = this.#gateway.token === undefined ? 'include' : 'omit';
    return fetch(url, { credentials, cache: 'no-store' }).then(
      (response) => response.status,
      () => 0,
    );
  }

  /** Says that it waits. Where the socket does not come again by itself, since the gateway has refused it, it is made to. */
  #waits(error: string): void {
    this.#set('waiting', null, error);
    if (this.#ended || this.#socket.active) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.connect(), delay(reconnect, ++this.#refusals, Math.random));
  }
}

/** Calls a handler. What it throws is reported as uncaught, and keeps nothing else from being handed over. */
function attempt(f: () => void): void {
  try {
    f();
  } catch (reason) {
    setTimeout(() => {
      throw reason;
    }, 0);
  }
}
