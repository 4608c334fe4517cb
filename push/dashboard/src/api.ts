// The server's API as this page uses it. Every URL is relative to the page, so that it works below any path.

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

async function get<T>(url: URL): Promise<T> {
  const response = await fetch(url, { headers: { Accept: 'application/json' }, cache: 'no-store' });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return (await response.json()) as T;
}

export function about(): Promise<About> {
  return get<About>(api('about'));
}

export async function refusals(): Promise<Refusal[]> {
  return (await get<{ refused: Refusal[] | null }>(api('refused'))).refused ?? [];
}

/** Stored readings of a device from a moment on, in offset order: the newest `limit` of them. */
export async function history(device: string, from: number, limit: number): Promise<Reading[]> {
  const query = { device, from: String(Math.floor(from)), limit: String(limit), order: 'desc' };
  const { readings } = await get<{ readings: Reading[] | null }>(api('readings', query));
  return (readings ?? []).sort((a, b) => a.offset - b.offset);
}
