import { s } from '../strings.ts';
import { wordOf, type Series } from '../data/series.ts';
import type { Value } from '../transport/wire.ts';

const formatters = new Map<number, Intl.NumberFormat>();

function formatter(decimals: number): Intl.NumberFormat {
  let f = formatters.get(decimals);
  if (!f) {
    f = new Intl.NumberFormat(undefined, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    formatters.set(decimals, f);
  }
  return f;
}

/** Decimals worth showing of a number of this size: four digits or so. */
function mostDecimals(size: number): number {
  if (size >= 100) return 1;
  if (size >= 10) return 2;
  return size >= 1 ? 3 : 4;
}

/** Decimals that v has, as far as they are worth showing. */
export function decimalsOf(v: number): number {
  const most = mostDecimals(Math.abs(v));
  for (let d = 0; d < most; d++) {
    const scaled = v * 10 ** d;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-9) return d;
  }
  return most;
}

/** A number for reading: grouped, a sensible count of decimals, in the local form. */
export function number(v: number, decimals = decimalsOf(v)): string {
  const size = Math.abs(v);
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return v.toExponential(3);
  return formatter(Math.min(decimals, mostDecimals(size))).format(v);
}

/** A number on an axis whose marks are so far apart. */
export function mark(v: number, apart: number): string {
  let decimals = Math.max(0, Math.ceil(-Math.log10(apart) - 1e-9));
  while (decimals < 7 && Math.abs(apart - Number(apart.toFixed(decimals))) > apart / 1000) decimals++;
  return decimals > 6 ? v.toExponential(2) : formatter(decimals).format(v);
}

/** Any value for reading. */
export function valueOf(v: Value): string {
  return typeof v === 'number' ? number(v) : wordOf(v);
}

/** The series' newest value as text; raises the series' decimals if this one has more. */
export function lastValue(series: Series): string {
  const v = series.last;
  if (typeof v !== 'number') return wordOf(v);
  series.decimals = Math.max(series.decimals, decimalsOf(v));
  return number(v, series.decimals);
}

/** A length of time in one unit: "3 s", "12 min". */
export function duration(ms: number): string {
  const a = s.age;
  if (ms < 950) return a.milliseconds(Math.round(ms));
  const seconds = ms / 1000;
  if (seconds < 99.5) return a.seconds(Math.round(seconds));
  if (seconds < 99 * 60) return a.minutes(Math.round(seconds / 60));
  if (seconds < 48 * 3600) return a.hours(Math.round(seconds / 3600));
  return a.days(Math.round(seconds / 86_400));
}

export function age(ms: number): string {
  return ms < 1500 ? s.age.now : s.age.ago(duration(ms));
}

/** The length of a bucket, exactly: "10 s", "1 d". */
export function grain(ms: number): string {
  const a = s.age;
  for (const [unit, say] of [[86_400_000, a.days], [3600_000, a.hours], [60_000, a.minutes], [1000, a.seconds]] as const) {
    if (ms % unit === 0) return say(ms / unit);
  }
  return a.milliseconds(ms);
}
