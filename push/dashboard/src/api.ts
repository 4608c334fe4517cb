// The server's API as this page uses it. Every URL is relative to the page, so that it works below any path.

import { signal } from '@preact/signals';
import type { Source, Stretch } from './data/past.ts';
import type { Sum } from './data/shelf.ts';
import type { Presence, Reading, Value } from './transport/wire.ts';

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
  /** HTTP is over TLS. */
  https?: boolean;
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
  format?: string;
  reason: string;
  error: string;
  /** As much as was kept, as text or, where it is none, in base64. */
  payload?: string;
  payload_base64?: string;
  /** Bytes of the whole payload. */
  size: number;
  /** Byte of the payload that is to blame, from 1. */
  at?: number;
}

/** What the server takes at most, and what it has refused by reason. */
export interface Limits {
  readings_per_second: { device: number; address: number };
  new_series_per_minute: { device: number; address: number };
  devices: { now: number; most: number };
  series: { now: number; most: number };
  refused: Record<string, number>;
}

/** A new device that nobody has approved. */
export interface Waiting {
  id: string;
  address: string;
  transport: string;
  first: number;
  last: number;
  messages: number;
  values: { metric: string; time: number; value: Value }[];
}

export interface Credential {
  kind: 'psk' | 'token';
  created: number;
  /** First use; absent: never. */
  used?: number;
}

/** What is registered of a device. */
export interface Registered {
  id: string;
  name?: string;
  created: number;
  revoked?: boolean;
  credentials: Credential[];
}

export interface Secrets {
  psk?: string;
  token?: string;
}

/** How a device is told its secrets; the QR code has a text for each row, # for a dark module. */
export interface Setup {
  uri: string;
  qr: string[] | null;
  snippets: { platform: string; text: string }[];
}

/** The answer to a change: secrets that it has made are in it, this once. */
export interface Changed extends Registered {
  secrets?: Secrets;
  setup?: Setup;
}

export interface Registry {
  admission: 'open' | 'approve' | 'known';
  waiting: Waiting[];
}

/** What a change asks for beside its device. */
export interface Wish {
  name?: string;
  psk?: boolean;
  token?: boolean;
}

export interface Command {
  id: number;
  device: string;
  name: string;
  value?: unknown;
  state: 'waiting' | 'sent' | 'done' | 'failed' | 'expired' | 'cancelled';
  created: number;
  expires: number;
  tries: number;
  /** When the device was first told. */
  sent?: number;
  ended?: number;
  result?: string;
}

export const roles = ['viewer', 'writer', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Who we are to the server. */
export interface Session {
  name: string;
  role: Role;
  /** Patterns of the devices that there are for us; none: all. */
  devices: string[];
  expires?: number;
  /** Whether we came with a token, so that there is a session to leave. */
  token: boolean;
}

/** An access token without the token. */
export interface Grant {
  id: number;
  name: string;
  role: Role;
  devices: string[];
  created: number;
  expires?: number;
  /** Last request since the server started. */
  used?: number;
  state: 'valid' | 'expired' | 'damaged';
}

/** The answer that makes it: the token is in it, this once. */
export interface Granted extends Grant {
  token: string;
}

/** What access is asked for; ttl as "30d", absent: it does not end. */
export interface GrantWish {
  name: string;
  role: Role;
  devices: string[];
  ttl?: string;
}

/** How live messages can be had, and the server's clock. */
export interface Negotiation {
  techniques: { name: string }[];
  cursor: string;
  /** Unix milliseconds. */
  time: number;
}

/** Whether the server has answered that it does not know us, or no longer. */
export const isStranger = signal(false);

/** An answer that refuses; the message is the server's own. Status 0: there was no answer. */
export class Denied extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function request<T>(url: URL, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(url, { cache: 'no-store', ...init, headers: { Accept: 'application/json', ...init.headers } });
  } catch (reason) {
    if (init.signal?.aborted) throw reason;
    throw new Denied(0, String(reason));
  }
  const text = await response.text();
  if (response.ok) return (text === '' ? null : JSON.parse(text)) as T;
  if (response.status === 401) isStranger.value = true;
  throw new Denied(response.status, errorOf(text) || `${response.status} ${response.statusText}`);
}

/** The error that a body tells; '' if it tells none. */
function errorOf(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    return typeof error === 'string' ? error : '';
  } catch {
    return '';
  }
}

function get<T>(url: URL, abort: AbortSignal | null = null): Promise<T> {
  return request<T>(url, { signal: abort });
}

function change<T>(method: string, path: string, body?: string): Promise<T> {
  return request<T>(api(path), { method, ...(body !== undefined && { body, headers: { 'Content-Type': 'application/json' } }) });
}

export function about(): Promise<About> {
  return get<About>(api('about'));
}

export async function refusals(): Promise<Refusal[]> {
  return (await get<{ refused: Refusal[] | null }>(api('refused'))).refused ?? [];
}

export function limits(): Promise<Limits> {
  return get<Limits>(api('limits'));
}

export async function devices(): Promise<Presence[]> {
  return (await get<{ devices: Presence[] }>(api('devices'))).devices;
}

export function session(): Promise<Session> {
  return get<Session>(api('session'));
}

/** Exchanges an access token for a session of this browser. Returns the status of the answer, 303 if it was taken. */
export async function login(token: string): Promise<number> {
  const init: RequestInit = { method: 'POST', body: new URLSearchParams({ token }), redirect: 'manual', cache: 'no-store' };
  try {
    const response = await fetch(new URL('login', document.baseURI), init);
    return response.type === 'opaqueredirect' ? 303 : response.status;
  } catch {
    return 0;
  }
}

/** Ends the session of this browser. */
export async function logout(): Promise<void> {
  const init: RequestInit = { method: 'POST', redirect: 'manual', cache: 'no-store' };
  let status: number;
  try {
    const response = await fetch(new URL('logout', document.baseURI), init);
    status = response.type === 'opaqueredirect' ? 303 : response.status;
  } catch (reason) {
    throw new Denied(0, String(reason));
  }
  if (status !== 303) throw new Denied(status, `${status}`);
}

/** The access tokens. */
export const grants = {
  all: async () => (await get<{ access: Grant[] }>(api('access'))).access,
  make: (wish: GrantWish) => change<Granted>('POST', 'access', JSON.stringify(wish)),
  revoke: (id: number) => change<null>('DELETE', `access/${id}`),
};

/** The QR code of a text: a text for each row, # for a dark module. */
export async function qrOf(text: string): Promise<string[]> {
  const init: RequestInit = { method: 'POST', body: text, headers: { 'Content-Type': 'text/plain' } };
  return (await request<{ qr: string[] }>(api('qr'), init)).qr;
}

export function negotiation(): Promise<Negotiation> {
  return get<Negotiation>(api('live/techniques'));
}

export function registry(): Promise<Registry> {
  return get<Registry>(api('registry'));
}

/** What is registered of a device; null if nothing is. */
export function registration(id: string): Promise<Registered | null> {
  return unlessUnknown<Registered | null>(get<Registered>(api(`registry/${encodeURIComponent(id)}`)), null);
}

/** The answer, or what stands for it where the server knows no such thing. */
async function unlessUnknown<T>(answer: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await answer;
  } catch (reason) {
    if (reason instanceof Denied && reason.status === 404) return otherwise;
    throw reason;
  }
}

/** Changes of the registry. */
export const registrar = {
  register: (id: string, wish: Wish) => change<Changed>('POST', 'registry', JSON.stringify({ id, ...wish })),
  approve: (id: string, wish: Wish = {}) => act(id, 'approve', wish),
  rotate: (id: string, wish: Wish) => act(id, 'rotate', wish),
  revoke: (id: string) => act(id, 'revoke', {}),
  rename: (id: string, name: string) => change<Changed>('PATCH', `registry/${encodeURIComponent(id)}`, JSON.stringify({ name })),
  remove: (id: string) => change<null>('DELETE', `registry/${encodeURIComponent(id)}`),
};

function act(id: string, verb: string, wish: Wish): Promise<Changed> {
  return change<Changed>('POST', `registry/${encodeURIComponent(id)}/${verb}`, JSON.stringify(wish));
}

function commandsPath(device: string): string {
  return `devices/${encodeURIComponent(device)}/commands`;
}

/** The commands of a device, newest first; none of one that the server does not know. */
export async function commands(device: string): Promise<Command[]> {
  const answer = get<{ commands: Command[] | null }>(api(commandsPath(device)));
  return (await unlessUnknown(answer, { commands: [] })).commands ?? [];
}

/** The body is JSON: its value travels as it was written. */
export function sendCommand(device: string, body: string): Promise<Command> {
  return change<Command>('POST', commandsPath(device), body);
}

export function cancelCommand(device: string, id: number): Promise<Command> {
  return change<Command>('DELETE', `${commandsPath(device)}/${id}`);
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
