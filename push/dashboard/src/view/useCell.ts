import { useEffect } from 'preact/hooks';
import { painter } from '../app.ts';
import type { Cell } from '../draw/painter.ts';

/** Gives a cell to the painter while the component is on the page; make is called when `key` changes. */
export function useCell(make: () => Cell | null, owner: Set<object> | null, key: unknown): void {
  useEffect(() => {
    const cell = make();
    if (!cell) return;
    owner?.add(cell);
    painter.add(cell);
    return () => {
      owner?.delete(cell);
      painter.remove(cell);
    };
  }, [key, owner]);
}
