import type { Carrier, Request, Sink, Start, Technique } from './carrier.ts';
import type { Message } from './wire.ts';

/** A carrier must have been accepted within this many milliseconds. */
const openWithin = 4000;

/** Once accepted, it proves itself by a message, or by silence while nobody else brings readings either. */
const quietFor = 1000;

/** How long it may stay silent while another carrier brings readings. */
const silentWithin = 4000;

export interface Judge {
  /** The carrier works: from now on its messages are the stream. */
  promote(trial: Trial): void;
  /** The carrier works not, or no longer. */
  fail(trial: Trial, reason: Error): void;
  message(trial: Trial, m: Message): void;
  /** A byte has come. */
  alive(): void;
  /** How many readings have been passed on, by whichever carrier. */
  received(): number;
}

/** Trial is one carrier from its start to its end: first on probation, then, once promoted, the one in charge. */
export class Trial implements Sink {
  readonly technique: Technique;
  readonly #judge: Judge;
  readonly #carrier: Carrier;
  /** Whether to trust the carrier as soon as it is accepted, because there is no other. */
  readonly #alone: boolean;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #promoted = false;
  #ended = false;

  constructor(technique: Technique, start: Start, request: Request, judge: Judge, alone: boolean) {
    this.technique = technique;
    this.#judge = judge;
    this.#alone = alone;
    this.#timer = setTimeout(() => this.end(new Error('not open in time')), openWithin);
    this.#carrier = start(request, this);
  }

  /** Takes the carrier as working without waiting for proof. */
  trust(): void {
    clearTimeout(this.#timer);
    this.#promoted = true;
  }

  open(): void {
    if (this.#promoted || this.#ended) return;
    clearTimeout(this.#timer);
    if (this.#alone) {
      this.#promote();
      return;
    }
    const before = this.#judge.received();
    this.#timer = setTimeout(() => {
      if (this.#judge.received() === before) this.#promote();
      else this.#timer = setTimeout(() => this.end(new Error('silent')), silentWithin - quietFor);
    }, quietFor);
  }

  alive(): void {
    if (this.#promoted && !this.#ended) this.#judge.alive();
  }

  message(m: Message): void {
    if (this.#ended) return;
    if (!this.#promoted) this.#promote();
    this.#judge.message(this, m);
  }

  end(reason: Error): void {
    if (this.#ended) return;
    this.close();
    this.#judge.fail(this, reason);
  }

  close(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#carrier.close();
  }

  #promote(): void {
    this.trust();
    this.#judge.promote(this);
  }
}
