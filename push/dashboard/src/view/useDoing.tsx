import { useSignal, type ReadonlySignal } from '@preact/signals';
import { said } from '../failure.ts';
import { Icon } from './Icon.tsx';

/** One thing at a time that somebody has asked for, and why it was not done. */
export interface Doing {
  readonly busy: ReadonlySignal<boolean>;
  /** For people; '' if all is well. */
  readonly problem: ReadonlySignal<string>;
  run(act: () => Promise<void>): Promise<void>;
}

export function useDoing(): Doing {
  const busy = useSignal(false);
  const problem = useSignal('');
  const run = async (act: () => Promise<void>): Promise<void> => {
    if (busy.peek()) return;
    busy.value = true;
    problem.value = '';
    try {
      await act();
    } catch (reason) {
      problem.value = said(reason);
    } finally {
      busy.value = false;
    }
  };
  return { busy, problem, run };
}

/** Says beside an action why it was not done. */
export function Problem({ of }: { of: Doing }) {
  return (
    <div role="alert">
      {of.problem.value !== '' && (
        <p class="problem">
          <Icon name="warning" />
          <span>{of.problem.value}</span>
        </p>
      )}
    </div>
  );
}
