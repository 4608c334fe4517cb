import { edgeOf, type Device } from '../data/board.ts';
import type { Series } from '../data/series.ts';
import { widthOf } from './canvas.ts';
import { clock, number } from './format.ts';
import type { Cell } from './painter.ts';
import { generation } from './palette.ts';
import { timeline } from './strip.ts';

/** The states of one series over the window. */
export class TimelineCell implements Cell {
  readonly element: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly #device: Device;
  readonly #series: Series;
  readonly #length: () => number;
  readonly #paused: () => boolean;
  #at = 0;
  #drawn = '';

  constructor(canvas: HTMLCanvasElement, device: Device, series: Series, length: () => number, paused: () => boolean) {
    this.element = this.canvas = canvas;
    this.#device = device;
    this.#series = series;
    this.#length = length;
    this.#paused = paused;
  }

  paint(now: number): void {
    const look = `${generation()} ${this.#length()} ${widthOf(this.canvas)}`;
    if (this.#paused() && look === this.#drawn) return;
    this.#drawn = look;
    if (!this.#paused() || this.#at === 0) this.#at = now;
    const to = edgeOf(this.#device, this.#at);
    timeline(this.canvas, this.#series, to - this.#length(), to);
  }
}

/** Rows that the table of a series has at most. */
const rows = 30;

/** Shortest time between two paintings of a table, in milliseconds. */
const between = 1000;

/** The newest readings of one series as text: the twin of its chart. */
export class TableCell implements Cell {
  readonly element: HTMLTableSectionElement;
  readonly #series: Series;
  readonly #paused: () => boolean;
  #version = -1;
  #at = 0;

  constructor(body: HTMLTableSectionElement, series: Series, paused: () => boolean) {
    this.element = body;
    this.#series = series;
    this.#paused = paused;
  }

  paint(now: number): void {
    const { ring } = this.#series;
    if (ring.version === this.#version || now - this.#at < between || (this.#paused() && this.#version >= 0)) return;
    this.#version = ring.version;
    this.#at = now;
    let row = 0;
    for (let i = ring.length - 1; i >= 0 && row < rows; i--) {
      const value = ring.value(i);
      if (Number.isNaN(value)) continue;
      const tr = this.element.rows[row] ?? this.#grow();
      (tr.cells[0] as HTMLElement).textContent = clock(ring.time(i));
      (tr.cells[1] as HTMLElement).textContent = this.#text(value);
      row++;
    }
    while (this.element.rows.length > row) this.element.deleteRow(row);
  }

  #text(value: number): string {
    if (this.#series.kind === 'state') return this.#series.words[value] ?? '';
    return number(value, this.#series.decimals);
  }

  #grow(): HTMLTableRowElement {
    const tr = this.element.insertRow();
    tr.insertCell();
    tr.insertCell();
    return tr;
  }
}
