import { useSignal, type Signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { said } from '../failure.ts';

/** After a failure it is asked again this much later, in milliseconds. */
const retry = 5000;

export interface Asking<T> {
  /** The newest answer; undefined before the first. */
  readonly value: Signal<T | undefined>;
  /** Why the last question had no answer, for people; '' if it had. */
  readonly failed: Signal<string>;
  /** Asks now; what an earlier question brings no longer counts. */
  again(): void;
}

/**
 * Asks while the component is on the page and somebody looks. pause says, by the newest answer, how many
 * milliseconds later to ask again, or null to wait for `again`. All begins anew when `key` changes.
 */
export function useAsking<T>(ask: () => Promise<T>, pause: (newest: T) => number | null, key: unknown): Asking<T> {
  const value = useSignal<T | undefined>(undefined);
  const failed = useSignal('');
  const now = useRef<() => void>(() => undefined);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let turn = 0;
    const go = async (): Promise<void> => {
      clearTimeout(timer);
      if (document.hidden) return;
      const mine = ++turn;
      let wait: number | null = retry;
      try {
        const answer = await ask();
        if (mine !== turn) return;
        value.value = answer;
        failed.value = '';
        wait = pause(answer);
      } catch (reason) {
        if (mine !== turn) return;
        failed.value = said(reason);
      }
      if (wait !== null) timer = setTimeout(() => void go(), wait);
    };
    const look = (): void => void go();
    now.current = look;
    value.value = undefined;
    document.addEventListener('visibilitychange', look);
    look();
    return () => {
      turn++;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', look);
    };
  }, [key]);
  return { value, failed, again: () => now.current() };
}
