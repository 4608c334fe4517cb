import type { About, Granted, GrantWish, Role } from '../api.ts';
import { isLoopback } from './host.ts';

/** A new access token and where it is good for something. */
export interface Given {
  made: Granted;
  /** The page as others reach it. */
  address: URL;
  /** Of the link; null: there is none. */
  qr: string[] | null;
}

/** Patterns as they were typed: parted by commas or white space, each once. */
export function patternsOf(text: string): string[] {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))];
}

/** What access is asked for; an admin cannot be limited. */
export function wishOf(name: string, role: Role, devices: string, ttl: string): GrantWish {
  const wish: GrantWish = { name: name.trim(), role, devices: role === 'admin' ? [] : patternsOf(devices) };
  return ttl === '' ? wish : { ...wish, ttl };
}

/**
 * The page's address as others reach it, without what stands behind its path:
 * who sits at the gateway itself sees it under a name that is good for nobody
 * else, and the gateway knows a better one.
 */
export function addressFor(page: string, about: About | null): URL {
  const url = new URL('.', page);
  const known = about?.addresses.find((a) => !isLoopback(a));
  if (!isLoopback(url.hostname) || known === undefined || !about?.http) return url;
  url.pathname = '/'; // a proxy's path is not the gateway's
  url.hostname = known.includes(':') ? `[${known}]` : known;
  url.port = String(about.http);
  return url;
}

/** The address that opens the page at once. */
export function linkOf(address: URL, token: string): string {
  const url = new URL(address);
  url.searchParams.set('token', token);
  return url.href;
}
