import { edgeOf, type Device } from '../data/board.ts';
import type { Past } from '../data/past.ts';
import type { Picture } from '../data/picture.ts';
import type { Kind, Series } from '../data/series.ts';
import { rangeOf, type View } from '../data/view.ts';
import { s } from '../strings.ts';
import { widthOf } from './canvas.ts';
import { number } from './format.ts';
import type { Cell } from './painter.ts';
import { generation } from './palette.ts';
import { timeline } from './strip.ts';
import { bucket, moment } from './when.ts';

/** What a picture of the past is drawn from, and who hears how closely it looks. */
export interface Sight {
  device: Device;
  series: Series;
  past: Past;
  view: () => View;
  onPicture: (picture: Picture, rows: number) => void;
}

/** Shortest time between two paintings of a strip or table that stands still, in milliseconds. */
const between = 1000;

/** Rows that show in a range: a state does until the next one. */
function inside(p: Picture, kind: Kind, from: number, to: number): number {
  let n = 0;
  for (let i = 0; i < p.times.length; i++) {
    if ((kind === 'state' || (p.ends[i] as number) >= from) && (p.begins[i] as number) <= to) n++;
  }
  return n;
}

/** The part of a cell that a picture of the past has in common. */
abstract class SightCell implements Cell {
  abstract readonly element: HTMLElement;
  protected readonly sight: Sight;
  #look = '';
  #version = -1;
  #at = 0;

  constructor(sight: Sight) {
    this.sight = sight;
  }

  /** What was drawn is not all there is any more, although no reading came. */
  refresh(): void {
    this.#look = '';
  }

  paint(now: number): void {
    const { device, series, past, view, onPicture } = this.sight;
    const v = view();
    const look = `${v.length} ${v.end} ${this.look()}`;
    if (look === this.#look && (now - this.#at < between || (v.end !== null && series.ring.version === this.#version))) return;
    this.#look = look;
    this.#version = series.ring.version;
    this.#at = now;
    const { from, to } = rangeOf(v, edgeOf(device, now));
    const picture = past.look(series, { from, to }, this.pixels());
    onPicture(picture, inside(picture, series.kind, from, to));
    this.draw(picture, from, to);
  }

  /** What the drawing depends on beside the view. */
  protected abstract look(): string;
  protected abstract pixels(): number;
  protected abstract draw(picture: Picture, from: number, to: number): void;
}

/** The states of one series over a range. */
export class TimelineCell extends SightCell {
  readonly element: HTMLElement;
  readonly canvas: HTMLCanvasElement;

  constructor(canvas: HTMLCanvasElement, sight: Sight) {
    super(sight);
    this.element = this.canvas = canvas;
  }

  protected look(): string {
    return `${generation()} ${widthOf(this.canvas)}`;
  }

  protected pixels(): number {
    return widthOf(this.canvas) || 300;
  }

  protected draw(picture: Picture, from: number, to: number): void {
    timeline(this.canvas, this.sight.series, picture, from, to);
  }
}

/** Rows that a table has at most. */
const most = 200;

/** A range as text, newest first: the twin of its chart. */
export class TableCell extends SightCell {
  readonly element: HTMLTableSectionElement;

  constructor(body: HTMLTableSectionElement, sight: Sight) {
    super(sight);
    this.element = body;
  }

  protected look(): string {
    return '';
  }

  protected pixels(): number {
    return most;
  }

  protected draw(p: Picture, from: number, to: number): void {
    const { kind } = this.sight.series;
    let row = 0;
    for (let i = p.times.length - 1; i >= 0 && row < most; i--) {
      const avg = p.avg[i] as number | null;
      const isBefore = kind === 'number' && (p.ends[i] as number) < from;
      if (avg === null || isBefore || (p.begins[i] as number) > to) continue;
      const tr = this.element.rows[row] ?? this.#grow();
      this.#cells(p, i, avg, to - from).forEach((text, c) => {
        const cell = tr.cells[c] as HTMLElement;
        if (cell.textContent !== text) cell.textContent = text;
      });
      row++;
    }
    while (this.element.rows.length > row) this.element.deleteRow(row);
  }

  #cells(p: Picture, i: number, avg: number, length: number): [time: string, value: string, spread: string] {
    const { kind, words, decimals } = this.sight.series;
    const [begin, end] = [p.begins[i] as number, p.ends[i] as number];
    const when = end > begin ? bucket(begin, end, length) : moment(begin, length);
    if (kind === 'state') {
      if (end > begin) return [when, s.range.on(number(avg * 100, 0)), ''];
      return [when, words[avg] ?? '', ''];
    }
    if (end === begin) return [when, number(avg, decimals), ''];
    const [min, max] = [p.low[i] as number, p.high[i] as number];
    return [when, number(avg, decimals + 1), min === max ? '' : `${number(min, decimals)} – ${number(max, decimals)}`];
  }

  #grow(): HTMLTableRowElement {
    const tr = this.element.insertRow();
    for (let c = 0; c < 3; c++) tr.insertCell();
    return tr;
  }
}
