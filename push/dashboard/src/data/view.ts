// What stretch of time the charts of a device show, and how it is moved. All
// times and lengths are milliseconds.

/** A stretch of time, Unix milliseconds. */
export interface Range {
  from: number;
  to: number;
}

/** The lengths that have a button; `all` is as long as there are readings. */
export type Preset = 'minutes' | 'hour' | 'day' | 'week' | 'month' | 'year' | 'all';

export interface View {
  length: number;
  /** Right edge; null means now, and goes on with it. */
  end: number | null;
  /** The button that led here; null once it has been moved by hand. */
  preset: Preset | null;
}

const hour = 3600_000;
const day = 24 * hour;

export const lengths: Record<Exclude<Preset, 'all'>, number> = {
  minutes: hour / 12,
  hour,
  day,
  week: 7 * day,
  month: 30 * day,
  year: 365 * day,
};

export const shortest = 100;
export const longest = 30 * lengths.year;

export const beginning: View = { length: hour, end: null, preset: 'hour' };

/** What a view shows when now is `edge`. */
export function rangeOf(view: View, edge: number): Range {
  const to = view.end ?? edge;
  return { from: to - view.length, to };
}

function clamp(length: number): number {
  return Math.min(longest, Math.max(shortest, length));
}

/** The view of a range: never beyond now, and live where it ends at now. */
export function viewOf(range: Range, edge: number): View {
  const length = clamp(range.to - range.from);
  const to = Math.max(length, (range.from + range.to + length) / 2);
  return { length, end: to >= edge ? null : to, preset: null };
}

/** Zooms by a factor, below 1 into it, around a place from 0, the left edge, to 1. */
export function zoomed(view: View, edge: number, factor: number, at: number): View {
  const { to } = rangeOf(view, edge);
  const length = clamp(view.length * factor);
  const kept = to - (1 - at) * view.length; // stays where it is
  return viewOf({ from: kept - at * length, to: kept + (1 - at) * length }, edge);
}

/** Moves by a part of the length: below 0 into the past. */
export function panned(view: View, edge: number, by: number): View {
  const { from, to } = rangeOf(view, edge);
  return { ...viewOf({ from: from + by * view.length, to: to + by * view.length }, edge), length: view.length };
}

/** The same length up to now. */
export function live(view: View): View {
  return { ...view, end: null };
}

/** The same stretch, standing still. */
export function frozen(view: View, edge: number): View {
  return view.end === null ? { ...view, end: edge } : view;
}

/** Trail remembers where one came from, so that a step can be taken back. */
export class Trail {
  readonly #views: View[] = [];

  /** Before a move away from `view`. */
  leave(view: View): void {
    this.#views.push(view);
    if (this.#views.length > 50) this.#views.shift();
  }

  /** Where to go back to: the whole way to the beginning, and then there. */
  back(): View {
    return this.#views.pop() ?? beginning;
  }

  clear(): void {
    this.#views.length = 0;
  }
}
