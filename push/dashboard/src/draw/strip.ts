import type { Picture } from '../data/picture.ts';
import { cardCapacity, type Series } from '../data/series.ts';
import { surface } from './canvas.ts';
import { palette } from './palette.ts';
import { fewest } from './sparkline.ts';

const quiet = /^(off|closed|false|idle|no|ok|0)$/i;

/** Colour of a state: off and the like are quiet, the others take the next of the palette. */
function stateColour(series: Series, code: number): string {
  const { states, line } = palette();
  let place = 0;
  for (let i = 0; i < code; i++) if (!quiet.test(series.words[i] ?? '')) place++;
  if (quiet.test(series.words[code] ?? '')) return line;
  return states[place % states.length] ?? line;
}

/** Draws the newest states of a card as blocks, one step a reading. */
export function miniStrip(canvas: HTMLCanvasElement, series: Series, stale: boolean): void {
  const area = surface(canvas);
  if (!area) return;
  const { context: c, width, height } = area;
  const ring = series.ring;
  const step = width / Math.max(fewest, Math.min(ring.length, cardCapacity));
  const bar = 8;
  const top = (height - bar) / 2;
  c.globalAlpha = stale ? 0.45 : 1;
  for (let i = 0; i < ring.length; i++) {
    const code = ring.value(i);
    if (Number.isNaN(code)) continue;
    let j = i + 1;
    while (j < ring.length && ring.value(j) === code) j++;
    c.fillStyle = stateColour(series, code);
    c.fillRect(width - (ring.length - i) * step, top, (j - i) * step + 0.5, bar);
    i = j - 1;
  }
  c.globalAlpha = 1;
}

/**
 * Draws the states of a range, each with its word where there is room. Buckets
 * of a switch are as strong in colour as it was on.
 */
export function timeline(canvas: HTMLCanvasElement, series: Series, p: Picture, from: number, to: number): void {
  const area = surface(canvas);
  if (!area) return;
  const { context: c, width, height } = area;
  const x = (t: number): number => ((Math.min(Math.max(t, from), to) - from) / (to - from)) * width;
  c.font = `600 12px ${getComputedStyle(canvas).fontFamily}`;
  c.textBaseline = 'middle';
  const rows = p.times.length;
  for (let i = 0; i < rows; i++) {
    const begin = p.begins[i] as number;
    const isBucket = p.low[i] !== null;
    let j = i + 1;
    while (j < rows && p.avg[j] === p.avg[i] && isBucket === (p.low[j] !== null) && (!isBucket || p.begins[j] === p.ends[j - 1])) j++;
    const end = isBucket ? (p.ends[j - 1] as number) : j < rows ? (p.begins[j] as number) : to;
    const v = p.avg[i] as number;
    i = j - 1;
    if (end <= from || begin >= to) continue;
    const [left, right] = [x(begin), x(end)];
    const isMixed = isBucket && v !== 0 && v !== 1;
    const code = isBucket ? series.code(v !== 0) : v;
    block(c, stateColour(series, code), left, right - (isMixed || right === width ? 0 : 1), height, isMixed ? v : 1);
    const word = series.words[code] ?? '';
    if (isMixed || c.measureText(word).width + 16 > right - left) continue;
    c.fillStyle = palette().ink;
    c.fillText(word, left + 8, height / 2 + 1);
  }
}

function block(c: CanvasRenderingContext2D, colour: string, left: number, right: number, height: number, strength: number): void {
  c.fillStyle = palette().line;
  c.fillRect(left, 0, Math.max(1, right - left), height);
  c.globalAlpha = strength;
  c.fillStyle = colour;
  c.fillRect(left, 0, Math.max(1, right - left), height);
  c.globalAlpha = 1;
}
