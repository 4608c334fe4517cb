import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { edgeOf, type Device } from '../data/board.ts';
import { figuresOf, withHoles, type Picture } from '../data/picture.ts';
import type { Past } from '../data/past.ts';
import type { Series } from '../data/series.ts';
import { rangeOf, type Range, type View } from '../data/view.ts';
import { GrowingRange } from '../data/extent.ts';
import { mark, number } from './format.ts';
import { listenToGestures, type Moves } from './gestures.ts';
import type { Cell } from './painter.ts';
import { generation, palette } from './palette.ts';
import { bucket, marks, moment } from './when.ts';

/** What a chart shows, how it is moved, and where its figures stand. */
export interface ChartOptions {
  device: Device;
  series: Series;
  past: Past;
  view: () => View;
  moves: Moves;
  /** Gets the reading or bucket under the pointer, as text; empty when there is none. */
  onPoint: (text: string) => void;
  /** Gets the figures of what is shown, null when it is nothing, and how closely it is looked at. */
  onFigures: (figures: { min: string; avg: string; max: string } | null, picture: Picture) => void;
}

const height = 190;
const font = '12px system-ui, sans-serif';

/** Places of the columns in uPlot's data. */
const low = 1;
const high = 2;
const line = 3;

/** Pixels that a single reading needs to be drawn as a point of its own. */
const perPoint = 12;

/** A chart of one series: its readings as a line, or the average of each bucket within the band from lowest to highest. */
export class ChartCell implements Cell {
  readonly element: HTMLElement;
  readonly #options: ChartOptions;
  readonly #plot: uPlot;
  readonly #scale = new GrowingRange();
  readonly #sizes: ResizeObserver;
  readonly #deaf: () => void;
  #range: Range = { from: 0, to: 1 };
  #yRange: [number, number] = [0, 1];
  #picture: Picture | null = null;
  #look = '';
  #version = -1;
  #drawnAt = 0;
  #changed = true;

  constructor(element: HTMLElement, options: ChartOptions) {
    this.element = element;
    this.#options = options;
    this.#plot = new uPlot(this.#settings(element.clientWidth || 300), [[], [], [], []], element);
    this.#deaf = listenToGestures(this.#plot, () => this.#range, options.moves);
    this.#sizes = new ResizeObserver(([entry]) => {
      if (!entry) return;
      this.#plot.setSize({ width: Math.max(120, entry.contentRect.width), height });
      this.#changed = true;
      this.paint(Date.now());
    });
    this.#sizes.observe(element);
  }

  destroy(): void {
    this.#sizes.disconnect();
    this.#deaf();
    this.#plot.destroy();
  }

  /** What was drawn is not all there is any more, although no reading came. */
  refresh(): void {
    this.#changed = true;
  }

  paint(now: number): void {
    const { series, device, view, past } = this.#options;
    const v = view();
    const edge = edgeOf(device, now);
    const range = rangeOf(v, edge);
    const width = this.#plot.over.clientWidth || this.#plot.width;
    const look = `${v.length} ${v.end} ${generation()}`;
    if (look === this.#look && !this.#changed) {
      // Not more often than the picture moves by a pixel or its last bucket grows.
      if (v.end !== null && this.#version === series.ring.version) return;
      const still = this.#version === series.ring.version ? 1 : 0.5;
      if (now - this.#drawnAt < Math.min(1000, (v.length / width) * still)) return;
    }
    const before = this.#look.split(' ');
    if (before[0] !== String(v.length) || before[1] !== String(v.end)) this.#scale.reset();
    this.#look = look;
    this.#changed = false;
    this.#version = series.ring.version;
    this.#drawnAt = now;
    this.#range = range;
    const picture = past.look(series, range, width);
    this.#draw(picture);
  }

  #draw(picture: Picture): void {
    const { from, to } = this.#range;
    if (this.#picture?.step !== picture.step || this.#picture.whole !== picture.whole) this.#scale.reset();
    this.#figures(picture);
    const p = withHoles(picture, to - from);
    this.#picture = p;
    this.#yRange = this.#scale.take(p.step > 0 ? [...p.low, ...p.high, ...p.avg] : p.avg);
    this.#plot.setData([p.times, p.low, p.high, p.avg]);
    this.#mark(picture);
  }

  #figures(picture: Picture): void {
    const f = figuresOf(picture, this.#range);
    const { decimals } = this.#options.series;
    this.#options.onFigures(
      f && { min: number(f.min, decimals), avg: number(f.avg, decimals + 1), max: number(f.max, decimals) },
      picture,
    );
  }

  /** Says in the page what is drawn, for who cannot see a canvas. */
  #mark({ step, times, whole }: Picture): void {
    const { dataset } = this.element;
    const { from, to } = this.#range;
    const inside = times.filter((t) => t >= from && t <= to);
    for (const [name, value] of Object.entries({ from, to, step, rows: inside.length, whole })) dataset[name] = String(value);
  }

  #settings(width: number): uPlot.Options {
    const axis = { stroke: () => palette().faint, font, ticks: { show: false } };
    const edge = { class: 'edge', stroke: 'transparent', width: 0, points: { show: false }, spanGaps: false };
    const isRaw = (): boolean => this.#picture?.step === 0;
    return {
      width,
      height,
      ms: 1,
      legend: { show: false },
      padding: [8, 8, 0, 0],
      cursor: {
        sync: { key: 'device' },
        y: false,
        points: { size: 9 },
        drag: { x: false, y: false },
        bind: { mousedown: () => () => null, dblclick: () => () => null },
      },
      scales: {
        // A fraction would put uPlot's marks beside the full minute.
        x: { time: true, range: () => [Math.floor(this.#range.from), Math.floor(this.#range.to)] },
        y: { range: () => this.#yRange },
      },
      axes: [
        { ...axis, grid: { show: false }, space: 84, size: 26, values: (_u, at, _axis, _space, apart) => marks(at, apart) },
        {
          ...axis,
          grid: { stroke: () => palette().line, width: 1 },
          space: 34,
          size: (_, labels) => 14 + 7.5 * Math.max(3, ...(labels ?? []).map((l) => l.length)),
          values: (_u, splits, _axis, _space, apart) => splits.map((v) => (this.#picture?.times.length ? mark(v, apart) : '')),
        },
      ],
      series: [
        {},
        edge,
        edge,
        {
          stroke: () => palette().water,
          width: 1.75,
          spanGaps: false,
          fill: () => (isRaw() ? palette().shallow : 'transparent'),
          points: {
            size: 5,
            fill: () => palette().water,
            show: (u, _i, from, to) => isRaw() && to - from < u.over.clientWidth / perPoint,
            filter: (u, _i, show) => (show ? null : lonely(u.data[line] as Column)),
          },
        },
      ],
      bands: [{ series: [high, low], fill: () => palette().band }],
      hooks: { setCursor: [(u) => this.#point(u)] },
    };
  }

  #point(u: uPlot): void {
    const i = u.cursor.idx;
    const p = this.#picture;
    const avg = i == null ? null : (p?.avg[i] ?? null);
    if (i == null || !p || avg === null) {
      this.#options.onPoint('');
      return;
    }
    const { decimals } = this.#options.series;
    const length = this.#range.to - this.#range.from;
    const [begin, end] = [p.begins[i] as number, p.ends[i] as number];
    if (end === begin) {
      this.#options.onPoint(`${number(avg, decimals)} · ${moment(begin, length)}`);
      return;
    }
    const [min, max] = [p.low[i] as number, p.high[i] as number];
    const spread = min === max ? '' : ` (${number(min, decimals)} – ${number(max, decimals)})`;
    this.#options.onPoint(`${number(avg, decimals + 1)}${spread} · ${bucket(begin, end, length)}`);
  }
}

type Column = readonly (number | null)[];

/** Rows between two holes, which make no line. */
function lonely(column: Column): number[] {
  const out: number[] = [];
  for (let i = 0; i < column.length; i++) {
    if (column[i] != null && column[i - 1] == null && column[i + 1] == null) out.push(i);
  }
  return out;
}
