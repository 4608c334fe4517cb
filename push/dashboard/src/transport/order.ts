import { parseCursor, type Gap, type Message, type Readings, type Reset } from './wire.ts';

/**
 * Order makes one stream of what several carriers bring at the same time.
 *
 * Every carrier brings, in order and without holes, what lies after a cursor
 * that Order has already passed. So whatever is not beyond the newest offset
 * has been seen, and dropping it leaves each reading exactly once.
 */
export class Order {
  #store = '';
  #last = -1;

  /** Everything up to here has been passed on; null before the first message. */
  get cursor(): string | null {
    return this.#store === '' ? null : `${this.#store}-${Math.max(0, this.#last)}`;
  }

  /** Forgets the position, so that the next message begins a new stream. */
  clear(): void {
    this.#store = '';
    this.#last = -1;
  }

  /** Returns what of the message is new, preceded by a reset if it comes from another store. */
  accept(message: Message): Message[] {
    switch (message.type) {
      case 'readings':
        return this.#readings(message);
      case 'gap':
        return this.#gap(message);
      case 'reset':
        this.clear();
        return [message];
      case 'device':
      case 'error':
        return [message];
    }
  }

  #readings(message: Readings): Message[] {
    const out = this.#enter(message.cursor);
    const seen = this.#last;
    const readings = message.readings.filter((r) => r.offset > seen);
    this.#advance(message.cursor);
    for (const r of readings) if (r.offset > this.#last) this.#last = r.offset;
    if (readings.length > 0) out.push({ ...message, readings });
    return out;
  }

  #gap(message: Gap): Message[] {
    const out = this.#enter(message.cursor);
    const before = this.#last;
    this.#advance(message.cursor);
    if (this.#last > before) out.push(message);
    return out;
  }

  /** Takes the store of the cursor as ours; a change of store is a reset. */
  #enter(cursor: string): Message[] {
    const at = parseCursor(cursor);
    if (at === null || at.store === this.#store) return [];
    const first = this.#store === '';
    this.#store = at.store;
    this.#last = -1;
    if (first) return [];
    const reset: Reset = { type: 'reset', cursor, reason: 'the store is another one' };
    return [reset];
  }

  #advance(cursor: string): void {
    const at = parseCursor(cursor);
    if (at !== null && at.offset > this.#last) this.#last = at.offset;
  }
}
