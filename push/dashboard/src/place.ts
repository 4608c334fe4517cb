// Where the page is, as the part of its address that stays in the browser.

/** The parts of a device's page. */
export const sections = ['charts', 'commands', 'access'] as const;
export type Section = (typeof sections)[number];

export type Place =
  | { page: 'list' }
  | { page: 'refused' | 'access' }
  | { page: 'device'; id: string; section: Section };

/** Reads what stands behind #; the list if it is nothing known. */
export function placeOf(hash: string): Place {
  if (hash === '#/refused') return { page: 'refused' };
  if (hash === '#/access') return { page: 'access' };
  const [, device, part] = /^#\/device\/([^/]+)(?:\/([a-z]+))?$/.exec(hash) ?? [];
  if (device === undefined) return { page: 'list' };
  const section = part === undefined ? 'charts' : sections.find((s) => s === part);
  try {
    return section ? { page: 'device', id: decodeURIComponent(device), section } : { page: 'list' };
  } catch {
    return { page: 'list' };
  }
}

export function deviceHref(id: string, section: Section = 'charts'): string {
  return `#/device/${encodeURIComponent(id)}${section === 'charts' ? '' : `/${section}`}`;
}
