import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { edgeOf, type Device } from '../data/board.ts';
import type { Series } from '../data/series.ts';
import { extent, GrowingRange, windowOf } from '../data/window.ts';
import { clock, mark, minute, number } from './format.ts';
import type { Cell } from './painter.ts';
import { generation, palette } from './palette.ts';

/** What a chart shows, and where its figures stand. */
export interface ChartOptions {
  device: Device;
  series: Series;
  /** Length of the window in milliseconds. */
  length: () => number;
  paused: () => boolean;
  /** Gets the reading under the pointer, as text; empty when there is none. */
  onPoint: (text: string) => void;
  onFigures: (figures: { min: string; avg: string; max: string } | null) => void;
}

const height = 190;
const font = '12px system-ui, sans-serif';

/** A live line chart of one series. */
export class ChartCell implements Cell {
  readonly element: HTMLElement;
  readonly #options: ChartOptions;
  readonly #plot: uPlot;
  readonly #range = new GrowingRange();
  readonly #sizes: ResizeObserver;
  #window: [number, number] = [0, 1];
  #yRange: [number, number] = [0, 1];
  #length = 0;
  #drawnAt = 0;
  #drawn = '';

  constructor(element: HTMLElement, options: ChartOptions) {
    this.element = element;
    this.#options = options;
    this.#plot = new uPlot(this.#settings(element.clientWidth || 300), [[], []], element);
    this.#sizes = new ResizeObserver(([entry]) => {
      if (!entry) return;
      this.#plot.setSize({ width: Math.max(120, entry.contentRect.width), height });
      this.#drawn = '';
      this.paint(Date.now());
    });
    this.#sizes.observe(element);
  }

  destroy(): void {
    this.#sizes.disconnect();
    this.#plot.destroy();
  }

  paint(now: number): void {
    const { series, device, length, paused } = this.#options;
    const span = length();
    const fresh = span !== this.#length;
    if (fresh) this.#range.reset();
    if (paused() && !fresh && this.#drawn === String(generation())) return;
    // Not more often than the picture moves by a pixel.
    if (!fresh && this.#drawn === String(generation()) && now - this.#drawnAt < span / this.#plot.width / 2) return;
    if (!paused() || this.#drawnAt === 0) this.#drawnAt = now;
    this.#length = span;
    this.#drawn = String(generation());
    const to = edgeOf(device, this.#drawnAt);
    this.#window = [(to - span) / 1000, to / 1000];
    const { times, values } = windowOf(series.ring, to - span, to, this.#plot.width);
    this.#figures(times, values, (to - span) / 1000);
    this.#yRange = this.#range.take(values);
    this.#plot.setData([times, values]);
  }

  #figures(times: number[], values: (number | null)[], from: number): void {
    const inside = values.filter((_, i) => (times[i] as number) >= from);
    const seen = extent(inside);
    if (!seen) {
      this.#options.onFigures(null);
      return;
    }
    let sum = 0;
    let count = 0;
    for (const v of inside) {
      if (v === null) continue;
      sum += v;
      count++;
    }
    const { decimals } = this.#options.series;
    const [min, max] = seen;
    this.#options.onFigures({ min: number(min, decimals), avg: number(sum / count, decimals + 1), max: number(max, decimals) });
  }

  #settings(width: number): uPlot.Options {
    const axis = { stroke: () => palette().faint, font, ticks: { show: false } };
    return {
      width,
      height,
      legend: { show: false },
      padding: [8, 8, 0, 0],
      cursor: { sync: { key: 'device' }, y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: () => this.#window },
        y: { range: () => this.#yRange },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          space: 90,
          size: 26,
          values: (_, splits) => splits.map((t) => (this.#length > 2 * 60_000 ? minute(t * 1000) : clock(t * 1000))),
        },
        {
          ...axis,
          grid: { stroke: () => palette().line, width: 1 },
          space: 34,
          size: (_, labels) => 14 + 7.5 * Math.max(3, ...(labels ?? []).map((l) => l.length)),
          values: (_, splits, _axis, _space, apart) => splits.map((v) => mark(v, apart)),
        },
      ],
      series: [
        {},
        { stroke: () => palette().water, width: 1.75, spanGaps: false, fill: () => palette().shallow, points: { show: false } },
      ],
      hooks: { setCursor: [(u) => this.#point(u)] },
    };
  }

  #point(u: uPlot): void {
    const i = u.cursor.idx;
    const t = i == null ? undefined : u.data[0][i];
    const v = i == null ? undefined : u.data[1]?.[i];
    this.#options.onPoint(t == null || v == null ? '' : `${number(v, this.#options.series.decimals)} · ${clock(t * 1000)}`);
  }
}
