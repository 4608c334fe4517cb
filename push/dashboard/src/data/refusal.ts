import type { Refusal } from '../api.ts';

export interface Group {
  refusal: Refusal;
  times: number;
}

/** Reasons that lie in the payload itself. */
const ofPayload: readonly string[] = ['syntax', 'device', 'metric', 'value', 'empty', 'too_long', 'encrypted'];

/** What a device sends wrong it sends wrong again and again: such refusals are one. Where not the payload is to blame, it may be any. */
function sameness(r: Refusal): string {
  const host = r.remote.slice(0, r.remote.lastIndexOf(':'));
  const payload = ofPayload.includes(r.reason) ? (r.payload ?? r.payload_base64) : '';
  return [host, r.transport, r.reason, r.error, payload].join('\n');
}

/** Newest first, alike ones together with the newest of them. */
export function grouped(list: readonly Refusal[]): Group[] {
  const groups = new Map<string, Group>();
  for (const refusal of list) {
    const key = sameness(refusal);
    const group = groups.get(key);
    if (group) group.times++;
    else groups.set(key, { refusal, times: 1 });
  }
  return [...groups.values()];
}

/** What has been refused since the server's start, the most frequent reason first. */
export function counted(refused: Readonly<Record<string, number>>): { reason: string; count: number }[] {
  return Object.entries(refused)
    .map(([reason, count]) => ({ reason, count }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count || a.reason.localeCompare(b.reason));
}

/** What the reason and the words of the error say together. */
export type Case =
  | 'syntax' | 'device' | 'metric' | 'value' | 'empty' | 'too_long' | 'encrypted' | 'overload' | 'handshake' | 'wrong_key' | 'no_key'
  | 'forbidden' | 'impostor' | 'credential' | 'wrong_token' | 'revoked' | 'approval' | 'unknown'
  | 'rate' | 'rate_address' | 'rate_series' | 'devices_limit' | 'series_limit' | 'connections_limit' | 'other';

const cases: readonly string[] = [
  'syntax', 'device', 'metric', 'value', 'empty', 'too_long', 'encrypted', 'overload', 'handshake', 'forbidden', 'credential', 'approval',
  'unknown', 'rate', 'rate_address', 'rate_series', 'devices_limit', 'series_limit', 'connections_limit',
];

export function caseOf({ reason, error }: Refusal): Case {
  if (reason === 'forbidden' && error.includes('may not speak for')) return 'impostor';
  if (reason === 'credential' && error.endsWith('is revoked')) return 'revoked';
  if (reason === 'credential' && error.startsWith('the token is none of')) return 'wrong_token';
  if (reason === 'handshake' && error.startsWith('wrong key')) return 'wrong_key';
  if (reason === 'handshake' && error.startsWith('no key')) return 'no_key';
  return cases.includes(reason) ? (reason as Case) : 'other';
}

/** Where the matter can be put right: the access of a device, or the list of those that wait. */
export type Fix = { where: 'access'; device: string } | { where: 'waiting' } | null;

export function fixOf(r: Refusal): Fix {
  if (r.reason === 'approval') return { where: 'waiting' };
  const device = deviceOf(r);
  if (device === '' || !['credential', 'unknown', 'forbidden', 'handshake'].includes(r.reason)) return null;
  return { where: 'access', device };
}

/** The device that the error names, as a device's id is written there; '' if it names none. */
function deviceOf({ error }: Refusal): string {
  return /\bdevice "([\w.:-]{1,64})"/.exec(error)?.[1] ?? '';
}

/** A payload for reading, with what is to blame apart; bad is empty where that is not known. */
export interface Shown {
  before: string;
  bad: string;
  after: string;
}

const replacements: Record<string, string> = { '\t': '→', '\r': '\\r', ' ': '·' };

/** A space that stands for what is missing at the end. */
const missing = '\u00a0';

/** A text payload with the character marked that begins at byte `at`, from 1. */
export function markText(payload: string, at = 0): Shown {
  const none = { before: payload, bad: '', after: '' };
  if (at < 1) return none;
  let bytes = 1;
  let i = 0;
  for (const char of payload) {
    const size = sizeOf(char);
    if (at < bytes + size) {
      if (char === '\n') return { before: payload.slice(0, i), bad: '↵', after: payload.slice(i) };
      return { before: payload.slice(0, i), bad: replacements[char] ?? char, after: payload.slice(i + char.length) };
    }
    bytes += size;
    i += char.length;
  }
  return at === bytes ? { before: payload, bad: missing, after: '' } : none;
}

/** Bytes of a character in UTF-8. */
function sizeOf(char: string): number {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

/** Bytes in a row of a dump. */
const perRow = 16;

/** A binary payload as hexadecimal bytes with what is text in it beside them, and byte `at`, from 1, marked. */
export function markBytes(base64: string, at = 0): Shown {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const out = ['', '', ''];
  let part = 0;
  for (let row = 0; row < bytes.length; row += perRow) {
    const some = bytes.subarray(row, row + perRow);
    some.forEach((b, i) => {
      const hex = b.toString(16).padStart(2, '0');
      if (row + i === at - 1) {
        out[1] = hex;
        part = 2;
      } else {
        out[part] += hex;
      }
      out[part] += ' ';
    });
    out[part] += '   '.repeat(perRow - some.length) + ' ' + [...some].map((b) => (b > 0x20 && b < 0x7f ? String.fromCharCode(b) : '.')).join('');
    if (row + perRow < bytes.length) out[part] += '\n';
  }
  const [before = '', bad = '', after = ''] = out;
  return { before, bad, after };
}
