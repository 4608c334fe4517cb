import type { Command } from '../api.ts';

/** How a value that was typed is sent. */
export type Kind = 'none' | 'number' | 'boolean' | 'null' | 'object' | 'array' | 'text';

export interface Typed {
  kind: Kind;
  /** As JSON, exactly as it was written; '' for none. */
  json: string;
}

/** What is JSON is sent as that, everything else as a text. */
export function typed(text: string): Typed {
  const trimmed = text.trim();
  if (trimmed === '') return { kind: 'none', json: '' };
  try {
    return { kind: kindOf(JSON.parse(trimmed)), json: trimmed };
  } catch {
    return { kind: 'text', json: JSON.stringify(trimmed) };
  }
}

function kindOf(value: unknown): Kind {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  const type = typeof value;
  return type === 'number' || type === 'boolean' || type === 'object' ? type : 'text';
}

/** The body that asks for a command. The value is not rewritten, so that a long integer keeps its digits. */
export function bodyOf(name: string, value: Typed, ttl: string): string {
  const members = [`"name":${JSON.stringify(name)}`];
  if (value.kind !== 'none') members.push(`"value":${value.json}`);
  members.push(`"ttl":${JSON.stringify(ttl)}`);
  return `{${members.join(',')}}`;
}

/** Whether the outcome is still to come. */
export function isOpen(c: Command): boolean {
  return c.state === 'waiting' || c.state === 'sent';
}

/** A value as people read it: texts as they are, the rest as JSON. */
export function valueText(value: unknown): string {
  return value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
}

/** Merges a command that has just been answered into a list that was asked for before. */
export function merged(list: readonly Command[], c: Command): Command[] {
  const at = list.findIndex((o) => o.id === c.id);
  return at < 0 ? [c, ...list] : list.map((o, i) => (i === at ? c : o));
}
