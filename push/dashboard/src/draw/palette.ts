/** Colours for canvases, read from the style sheet so that there is one place for them. */
export interface Palette {
  water: string;
  shallow: string;
  band: string;
  flame: string;
  ink: string;
  faint: string;
  line: string;
  card: string;
  /** For states, in the order in which they appear. */
  states: string[];
}

let current: Palette | null = null;
let changes = 0;

/** Counts changes of the colours, so that a painter knows that it must draw again. */
export function generation(): number {
  return changes;
}

export function palette(): Palette {
  current ??= read();
  return current;
}

/** Forgets the colours; the next painting reads them anew. */
export function repaint(): void {
  current = null;
  changes++;
}

function read(): Palette {
  const style = getComputedStyle(document.documentElement);
  const get = (name: string): string => style.getPropertyValue(name).trim();
  return {
    water: get('--water'),
    shallow: get('--shallow'),
    band: get('--band'),
    flame: get('--flame'),
    ink: get('--ink'),
    faint: get('--faint'),
    line: get('--line'),
    card: get('--card'),
    states: [1, 2, 3, 4, 5, 6].map((i) => get(`--state-${i}`)),
  };
}
