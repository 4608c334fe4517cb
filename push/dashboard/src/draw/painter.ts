import type { Touched } from '../data/board.ts';
import { resized } from './canvas.ts';

/** A part of the page that shows readings: it writes text nodes and canvases, never structure. */
export interface Cell {
  readonly element: Element;
  /** What it draws on, if it draws. */
  readonly canvas?: HTMLCanvasElement;
  /** Draws what is new. now is Unix milliseconds. */
  paint(now: number): void;
  /** Draw anew at the next painting, though nothing came: more of the past is known. */
  refresh?(): void;
}

/** Shortest time between two paintings, in milliseconds: nobody reads faster. */
const between = 80;

/**
 * Painter draws what has changed, once an animation frame and not more often
 * than is of use, and only what is on the screen.
 */
export class Painter implements Touched {
  readonly #dirty = new Set<Cell>();
  readonly #onScreen = new Set<Cell>();
  readonly #cells = new Map<Element, Cell>();
  readonly #canvases = new Map<Element, Cell>();
  readonly #watch: IntersectionObserver;
  readonly #sizes: ResizeObserver;
  /** Called after each painting. */
  onPainted: () => void = () => undefined;
  #painted = 0;
  #frame = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.#watch = new IntersectionObserver((entries) => this.#crossed(entries), { rootMargin: '64px' });
    this.#sizes = new ResizeObserver((entries) => {
      for (const e of entries) {
        if (e.target instanceof HTMLCanvasElement) resized(e.target, e.contentRect.width, e.contentRect.height);
        this.#mark(this.#canvases.get(e.target));
      }
    });
  }

  add(cell: Cell): void {
    this.#cells.set(cell.element, cell);
    this.#watch.observe(cell.element);
    if (!cell.canvas) return;
    this.#canvases.set(cell.canvas, cell);
    this.#sizes.observe(cell.canvas);
  }

  remove(cell: Cell): void {
    this.#watch.unobserve(cell.element);
    this.#cells.delete(cell.element);
    if (cell.canvas) {
      this.#sizes.unobserve(cell.canvas);
      this.#canvases.delete(cell.canvas);
    }
    this.#onScreen.delete(cell);
    this.#dirty.delete(cell);
  }

  /** Whether something that is on the screen waits to be painted. */
  get isBehind(): boolean {
    return this.#dirty.size > 0;
  }

  /** Something new for this cell. */
  mark(cell: object): void {
    this.#mark(cell as Cell);
  }

  /** Something new for all: time has passed, or colours have changed. */
  markAll(): void {
    for (const cell of this.#onScreen) this.#dirty.add(cell);
    if (this.#dirty.size > 0) this.#schedule();
  }

  /** More of the past is known. */
  refreshAll(): void {
    for (const cell of this.#cells.values()) cell.refresh?.();
    this.markAll();
  }

  /** As markAll, at the very next frame: somebody's hand moves it. */
  hurry(): void {
    for (const cell of this.#onScreen) this.#dirty.add(cell);
    this.#soon();
  }

  #mark(cell: Cell | undefined): void {
    if (!cell || !this.#onScreen.has(cell)) return;
    this.#dirty.add(cell);
    this.#schedule();
  }

  #crossed(entries: readonly IntersectionObserverEntry[]): void {
    for (const e of entries) {
      const cell = this.#cells.get(e.target);
      if (!cell) continue;
      if (e.isIntersecting) {
        this.#onScreen.add(cell);
        this.#mark(cell);
      } else {
        this.#onScreen.delete(cell);
        this.#dirty.delete(cell);
      }
    }
  }

  #schedule(): void {
    if (this.#frame || this.#timer !== undefined) return;
    const wait = this.#painted + between - performance.now();
    if (wait <= 0) this.#soon();
    else this.#timer = setTimeout(() => this.#soon(), wait);
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#frame) return;
    this.#frame = true;
    requestAnimationFrame(() => this.#paint());
  }

  #paint(): void {
    this.#frame = false;
    this.#painted = performance.now();
    const cells = [...this.#dirty];
    this.#dirty.clear();
    const now = Date.now();
    for (const cell of cells) cell.paint(now);
    this.onPainted();
  }
}
