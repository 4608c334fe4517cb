import type { Message } from '../src/transport/messages.ts';

interface Session {
  waiting: string[];
  answer: ((body: Response) => void) | null;
  auth: Record<string, unknown>;
}

/** FakeSockets answers as /socket.io/ does, by polling, in memory; what it sends is up to the test. */
export class FakeSockets {
  /** The status that every request is refused with; 200 refuses none. */
  status = 200;
  /** Nobody is there. */
  down = false;
  /** The message with which a connection is refused. */
  refusal = '';
  cursor = 'k3v9-0';
  /** What clients have asked for when they connected. */
  auths: Record<string, unknown>[] = [];
  urls: URL[] = [];
  #sessions = new Map<string, Session>();
  #count = 0;

  /** Stands for the global fetch. */
  fetch = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const url = new URL(String(input));
    this.urls.push(url);
    if (this.down) return Promise.reject(new TypeError('connection refused'));
    if (this.status !== 200) return Promise.resolve(new Response('{"error":"no"}', { status: this.status }));
    const id = url.searchParams.get('sid');
    if (id === null) return Promise.resolve(new Response(this.#open()));
    const session = this.#sessions.get(id);
    if (!session) return Promise.resolve(new Response('{"code":1,"message":"Session ID unknown"}', { status: 400 }));
    if (init?.method === 'POST') {
      for (const packet of String(init.body).split('\x1e')) this.#take(id, session, packet);
      return Promise.resolve(new Response('ok'));
    }
    return new Promise((resolve) => {
      session.answer = resolve;
      this.#flush(session);
    });
  };

  /** Sends a message to everybody, and `at` as the cursor behind it. */
  send(m: Message | object, at: string): void {
    this.cursor = at;
    for (const s of this.#sessions.values()) this.#queue(s, `42${JSON.stringify([(m as Message).type, m, at])}`);
  }

  /** Sends the readings from..to of store k3v9. */
  readings(from: number, to: number): void {
    const readings = [];
    for (let i = from; i <= to; i++) readings.push({ offset: i, device: 'gh1', metric: 'temp', time: i, value: i });
    this.send({ type: 'readings', cursor: `k3v9-${to}`, readings }, `k3v9-${to}`);
  }

  /** Ends all sessions, in the middle of an answer or between two. */
  cut(how: 'answer' | 'connection'): void {
    for (const s of this.#sessions.values()) s.answer?.(how === 'answer' ? broken() : new Response('', { status: 502 }));
    this.#sessions.clear();
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  #open(): string {
    const sid = `s${++this.#count}`;
    this.#sessions.set(sid, { waiting: [], answer: null, auth: {} });
    return `0${JSON.stringify({ sid, upgrades: [], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 65_536 })}`;
  }

  #take(id: string, s: Session, packet: string): void {
    if (packet === '1') {
      s.answer?.(new Response('6'));
      this.#sessions.delete(id);
    } else if (packet.startsWith('40')) {
      s.auth = JSON.parse(packet.slice(2)) as Record<string, unknown>;
      this.auths.push(s.auth);
      if (this.refusal !== '') {
        this.#queue(s, `44${JSON.stringify({ message: this.refusal })}`);
        return;
      }
      this.#queue(s, `40${JSON.stringify({ sid: `${id}-name`, pid: `${id}-proof` })}`);
      const at = typeof s.auth['after'] === 'string' ? s.auth['after'] : this.cursor;
      this.#queue(s, `42${JSON.stringify(['hello', { type: 'hello', cursor: at }, at])}`);
    }
  }

  #queue(s: Session, packet: string): void {
    s.waiting.push(packet);
    this.#flush(s);
  }

  #flush(s: Session): void {
    if (!s.answer || s.waiting.length === 0) return;
    const answer = s.answer;
    s.answer = null;
    answer(new Response(s.waiting.splice(0).join('\x1e')));
  }
}

/** An answer whose body is cut off. */
function broken(): Response {
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      controller.error(new TypeError('terminated'));
    },
  });
  return new Response(body);
}
