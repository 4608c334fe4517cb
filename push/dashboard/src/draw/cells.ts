import { isStale, type Device } from '../data/board.ts';
import type { Series } from '../data/series.ts';
import { s } from '../strings.ts';
import { widthOf } from './canvas.ts';
import { age, duration, lastValue } from './format.ts';
import type { Cell } from './painter.ts';
import { generation } from './palette.ts';
import { sparkline } from './sparkline.ts';
import { miniStrip } from './strip.ts';

/** Writes a text node only when it changes. */
export function write(node: Text, text: string): void {
  if (node.data !== text) node.data = text;
}

/** The text node in which an element's readings stand. */
export function textOf(element: Element): Text {
  if (element.firstChild instanceof Text) return element.firstChild;
  const node = document.createTextNode('');
  element.replaceChildren(node);
  return node;
}

/** One metric on a card: its newest value and a small picture of the last ones. */
export class MetricCell implements Cell {
  readonly element: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly #value: Text;
  readonly #series: Series;
  readonly #device: Device;
  #drawn = '';

  constructor(element: HTMLElement, value: Element, canvas: HTMLCanvasElement, device: Device, series: Series) {
    this.element = element;
    this.#value = textOf(value);
    this.canvas = canvas;
    this.#series = series;
    this.#device = device;
  }

  paint(): void {
    const series = this.#series;
    const stale = isStale(this.#device.state.peek());
    write(this.#value, lastValue(series));
    const drawn = `${series.ring.version} ${stale} ${widthOf(this.canvas)} ${generation()}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    if (series.kind === 'number') sparkline(this.canvas, series, stale);
    else miniStrip(this.canvas, series, stale);
  }
}

/** The newest value alone. */
export class ValueCell implements Cell {
  readonly element: HTMLElement;
  readonly #text: Text;
  readonly #series: Series;

  constructor(element: HTMLElement, series: Series) {
    this.element = element;
    this.#text = textOf(element);
    this.#series = series;
  }

  paint(): void {
    write(this.#text, lastValue(this.#series));
  }
}

/** How long ago a device was heard, and how often it usually is. */
export class AgeCell implements Cell {
  readonly element: HTMLElement;
  readonly #text: Text;
  readonly #device: Device;

  constructor(element: HTMLElement, device: Device) {
    this.element = element;
    this.#text = textOf(element);
    this.#device = device;
  }

  paint(now: number): void {
    const d = this.#device;
    if (d.readings === 0) {
      write(this.#text, '');
      return;
    }
    const ago = age(now - d.heardAt);
    const usual = d.pace.usual;
    const slow = usual >= 2000 || isStale(d.state.peek());
    write(this.#text, slow && !Number.isNaN(usual) ? `${ago} · ${s.every(duration(usual))}` : ago);
  }
}
