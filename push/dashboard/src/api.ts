// The server's API as this page uses it. Every URL is relative to the page, so that it works below any path.

import type { Source, Stretch } from './data/past.ts';
import type { Sum } from './data/shelf.ts';
import type { Reading } from './transport/wire.ts';

const page = new URLSearchParams(location.search);

/** URL of an API resource. A token in the page's own address goes along, for servers that set no cookie. */
export function api(path: string, query: Record<string, string> = {}): URL {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  const token = page.get('token');
  if (token !== null) url.searchParams.set('token', token);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}

/** Where the server listens. */
export interface About {
  version: string;
  addresses: string[];
  udp: number;
  tcp: number;
  http: number;
  storage?: Storage;
}

/** Whether readings are kept; the detail says more, for people. */
export interface Storage {
  state: 'ok' | 'full' | 'failing';
  detail: string;
}

/** One payload that arrived and was not taken. */
export interface Refusal {
  time: number;
  remote: string;
  transport: string;
  format: string;
  reason: string;
  error: string;
  payload?: string;
  payload_base64?: string;
}

async function get<T>(url: URL, abort: AbortSignal | null = null): Promise<T> {
  const response = await fetch(url, { headers: { Accept: 'application/json' }, cache: 'no-store', signal: abort });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return (await response.json()) as T;
}

export function about(): Promise<About> {
  return get<About>(api('about'));
}

export async function refusals(): Promise<Refusal[]> {
  return (await get<{ refused: Refusal[] | null }>(api('refused'))).refused ?? [];
}

function stretchURL(path: string, { device, metrics, from, to }: Stretch, query: Record<string, string>): URL {
  const url = api(path, { device, ...query });
  for (const m of metrics) url.searchParams.append('metric', m);
  if (!Number.isNaN(from)) url.searchParams.set('from', String(from));
  if (!Number.isNaN(to)) url.searchParams.set('to', String(to));
  return url;
}

/** The server's store. */
export const stored: Source = {
  async sums(stretch, points, abort) {
    return (await get<{ series: Sum[] }>(stretchURL('history', stretch, { points: String(points) }), abort)).series;
  },
  async readings(stretch, limit, abort) {
    const query = { limit: String(limit), order: 'desc' };
    return (await get<{ readings: Reading[] }>(stretchURL('readings', stretch, query), abort)).readings;
  },
};
