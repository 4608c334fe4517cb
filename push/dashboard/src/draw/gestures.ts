import type uPlot from 'uplot';
import type { Range } from '../data/view.ts';

/** What gestures do to the view. */
export interface Moves {
  /** A gesture begins: what is shown now can be come back to. */
  begin(): void;
  /** Show this range, as near as can be. */
  to(range: Range): void;
  /** Zoom by a factor around a place from 0, the left edge, to 1. */
  zoom(factor: number, at: number): void;
  /** Move by a part of the length. */
  pan(by: number): void;
  back(): void;
}

/** Pixels that a pointer moves before it means something. */
const least = 5;

/** Turns of a wheel that are less apart, in milliseconds, belong together. */
const together = 250;

/** The wheel of the page: turning that began outside the charts goes on scrolling over them. */
const wheel = { at: -Infinity, zooms: false };

document.addEventListener(
  'wheel',
  (e) => {
    if (!(e.target instanceof Element) || !e.target.closest('.u-over')) Object.assign(wheel, { at: e.timeStamp, zooms: false });
  },
  { passive: true, capture: true },
);

/**
 * Moves the view by gestures on a chart. Mouse: drag to zoom, drag the time axis
 * or with Shift to pan, wheel to zoom, sideways to pan, double click to go
 * back. Touch: drag to pan, pinch to zoom. Returns how to stop.
 */
export function listenToGestures(plot: uPlot, range: () => Range, moves: Moves): () => void {
  const stop = new AbortController();
  const { signal } = stop;
  const hands = new Hands(plot, range, moves);
  plot.root.addEventListener('pointerdown', (e) => hands.down(e), { signal });
  document.addEventListener('pointermove', (e) => hands.move(e), { signal });
  document.addEventListener('pointerup', (e) => hands.up(e, true), { signal });
  document.addEventListener('pointercancel', (e) => hands.up(e, false), { signal });
  plot.root.addEventListener('dblclick', () => moves.back(), { signal });
  plot.over.addEventListener('wheel', (e) => turn(e, plot.over, moves), { signal, passive: false });
  return () => stop.abort();
}

function turn(e: WheelEvent, over: HTMLElement, moves: Moves): void {
  const ongoing = e.timeStamp - wheel.at < together;
  wheel.at = e.timeStamp;
  if (ongoing && !wheel.zooms) return;
  wheel.zooms = true;
  e.preventDefault();
  if (!ongoing) moves.begin();
  const unit = e.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 400;
  const box = over.getBoundingClientRect();
  if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
    moves.pan(((e.deltaX || e.deltaY) * unit) / box.width);
    return;
  }
  // A pinch on a touch pad comes as a wheel with Ctrl, in small steps.
  const turned = Math.max(-200, Math.min(200, e.deltaY * unit * (e.ctrlKey ? 5 : 1)));
  moves.zoom(Math.exp(turned / 400), (e.clientX - box.left) / box.width);
}

/** The pointers that are down on one chart. */
class Hands {
  readonly #plot: uPlot;
  readonly #range: () => Range;
  readonly #moves: Moves;
  /** Where each pointer is and where it was when the gesture began, as parts of the plot's width. */
  readonly #at = new Map<number, { start: number; now: number }>();
  #gesture: 'select' | 'pan' | 'pinch' | null = null;
  #before: Range = { from: 0, to: 1 };
  #begun = false;

  constructor(plot: uPlot, range: () => Range, moves: Moves) {
    this.#plot = plot;
    this.#range = range;
    this.#moves = moves;
  }

  down(e: PointerEvent): void {
    if (e.pointerType === 'mouse' && e.button > 1) return;
    const x = this.#place(e);
    this.#at.set(e.pointerId, { start: x, now: x });
    this.#before = this.#range();
    for (const p of this.#at.values()) p.start = p.now;
    if (this.#at.size > 1) this.#gesture = 'pinch';
    else if (e.pointerType !== 'mouse') this.#gesture = 'pan';
    else this.#gesture = e.button === 0 && !e.shiftKey && e.target === this.#plot.over ? 'select' : 'pan';
    if (this.#at.size === 1) this.#begun = false;
    if (e.pointerType === 'mouse') e.preventDefault(); // selects no text
  }

  move(e: PointerEvent): void {
    const p = this.#at.get(e.pointerId);
    if (!p) return;
    p.now = this.#place(e);
    const far = Math.abs(p.now - p.start) * this.#width >= least;
    if (!this.#begun) {
      if (!far && this.#gesture !== 'pinch') return;
      this.#begun = true;
      this.#moves.begin();
    }
    const { from, to } = this.#before;
    const length = to - from;
    if (this.#gesture === 'select') this.#select(p.start, p.now);
    else if (this.#gesture === 'pan') this.#moves.to({ from: from - (p.now - p.start) * length, to: to - (p.now - p.start) * length });
    else this.#pinch(from, length);
  }

  up(e: PointerEvent, done: boolean): void {
    const p = this.#at.get(e.pointerId);
    if (!p) return;
    this.#at.delete(e.pointerId);
    if (this.#gesture === 'select') {
      this.#plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      const { from, to } = this.#before;
      const [a, b] = [Math.min(p.start, p.now), Math.max(p.start, p.now)].map((x) => from + Math.min(1, Math.max(0, x)) * (to - from)) as [number, number];
      if (done && this.#begun && b > a) this.#moves.to({ from: a, to: b });
    }
    // The finger that stays goes on from here.
    for (const q of this.#at.values()) q.start = q.now;
    this.#before = this.#range();
    this.#gesture = this.#at.size > 1 ? 'pinch' : this.#at.size === 1 ? 'pan' : null;
  }

  #select(a: number, b: number): void {
    const { clientWidth: width, clientHeight: height } = this.#plot.over;
    const left = Math.min(1, Math.max(0, Math.min(a, b)));
    const right = Math.min(1, Math.max(0, Math.max(a, b)));
    this.#plot.setSelect({ left: left * width, top: 0, width: (right - left) * width, height }, false);
  }

  /** The times under the two fingers stay under them. */
  #pinch(from: number, length: number): void {
    const [p, q] = [...this.#at.values()];
    if (!p || !q) return;
    const before = p.start - q.start;
    const now = p.now - q.now;
    if (Math.abs(before) * this.#width < least || Math.abs(now) * this.#width < least || before * now < 0) return;
    const scaled = length * (before / now);
    const middle = from + ((p.start + q.start) / 2) * length;
    const begin = middle - ((p.now + q.now) / 2) * scaled;
    this.#moves.to({ from: begin, to: begin + scaled });
  }

  get #width(): number {
    return this.#plot.over.clientWidth;
  }

  #place(e: PointerEvent): number {
    const box = this.#plot.over.getBoundingClientRect();
    return (e.clientX - box.left) / (box.width || 1);
  }
}
