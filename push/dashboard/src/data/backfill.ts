import { history } from '../api.ts';
import type { Device } from './board.ts';
import { cardCapacity, chartCapacity, kindOf } from './series.ts';
import type { Reading } from '../transport/wire.ts';

/** Readings that are asked for at once. */
const most = 20_000;

/**
 * Makes room for a device's charts and fetches what lies before the live
 * readings. Without it, when the server does not answer, the charts begin with
 * what has been seen.
 */
export async function backfill(device: Device, since: number): Promise<void> {
  for (const s of device.byMetric.values()) s.ring.resize(chartCapacity);
  const byMetric = new Map<string, Reading[]>();
  for (const r of await history(device.id, since, most)) {
    const list = byMetric.get(r.metric);
    if (list) list.push(r);
    else byMetric.set(r.metric, [r]);
  }
  for (const [metric, list] of byMetric) {
    const series = device.byMetric.get(metric);
    const older = list.filter((r) => series?.kind === kindOf(r.value));
    series?.ring.prepend(older.length, (i) => {
      const r = older[i] as Reading;
      return [r.offset, r.time, series.code(r.value)];
    });
  }
}

/** Gives the room back when the charts are closed. */
export function shrink(device: Device): void {
  for (const s of device.byMetric.values()) s.ring.resize(cardCapacity);
}
