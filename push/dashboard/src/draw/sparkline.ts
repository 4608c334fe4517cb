import { cardCapacity, type Series } from '../data/series.ts';
import { surface } from './canvas.ts';
import { palette } from './palette.ts';

/** Space for the line's width, its end dot and, when stale, the dashed tail, in CSS pixels. */
const pad = 3;
const tail = 18;

/** Steps that the width has at least, so that two readings are no long slope. */
export const fewest = 8;

/** Smallest height of the picture, in steps of the last decimal: a value that wavers by one is drawn as calm as it is. */
const calm = 4;

/** Draws the newest readings as a line, one step a reading; a stale one ends in dashes. */
export function sparkline(canvas: HTMLCanvasElement, series: Series, stale: boolean): void {
  const { ring } = series;
  const area = surface(canvas);
  if (!area || ring.length === 0) return;
  const { context: c, width, height } = area;
  const colours = palette();
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < ring.length; i++) {
    const v = ring.value(i);
    if (v < low) low = v;
    if (v > high) high = v;
  }
  const room = Math.max(0, calm / 10 ** series.decimals - (high - low)) / 2;
  low -= room;
  high += room;
  const flat = high - low < 1e-12;
  const right = width - pad - (stale ? tail : 0);
  const step = (right - pad) / Math.max(fewest, Math.min(ring.length, cardCapacity) - 1);
  const x = (i: number): number => right - (ring.length - 1 - i) * step;
  const y = (v: number): number => (flat ? height / 2 : pad + (1 - (v - low) / (high - low)) * (height - 2 * pad));

  c.lineWidth = 1.5;
  c.lineJoin = c.lineCap = 'round';
  c.strokeStyle = stale ? colours.faint : colours.water;
  c.beginPath();
  let open = false;
  for (let i = 0; i < ring.length; i++) {
    const v = ring.value(i);
    if (Number.isNaN(v)) open = false;
    else if (open) c.lineTo(x(i), y(v));
    else {
      c.moveTo(x(i), y(v));
      open = true;
    }
  }
  c.stroke();
  const last = ring.value(ring.length - 1);
  if (Number.isNaN(last)) return;
  if (stale) {
    c.setLineDash([2, 4]);
    c.beginPath();
    c.moveTo(right, y(last));
    c.lineTo(width - pad, y(last));
    c.stroke();
    c.setLineDash([]);
    return;
  }
  c.fillStyle = colours.water;
  c.beginPath();
  c.arc(right, y(last), 2.25, 0, 7);
  c.fill();
}
