import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { dialog } from '../app.ts';
import { s } from '../strings.ts';
import { Sheet } from './Dialog.tsx';
import { Icon } from './Icon.tsx';

interface Props {
  title: string;
  /** Draws what is shown; onCopied is to be called when some of it was copied. */
  children: (onCopied: () => void) => ComponentChildren;
}

/** What is shown this once: before something was copied it does not close without asking. */
export function Once({ title, children }: Props) {
  const copied = useSignal(false);
  const warned = useSignal(false);
  const onCopied = (): void => {
    copied.value = true;
    warned.value = false;
  };
  const mayClose = (): boolean => {
    if (copied.value || warned.value) return true;
    warned.value = true;
    return false;
  };
  return (
    <Sheet title={title} kind="secret" mayClose={mayClose}>
      <p class="notice">
        <Icon name="warning" />
        <strong>{s.secret.once}</strong>
      </p>
      {children(onCopied)}
      {!isSecureContext && <p class="note">{s.secret.plain}</p>}
      <div class="answers">
        <p class="unsaved" role="alert">
          {warned.value && s.secret.unsaved}
        </p>
        <button
          class={`button ${warned.value ? 'danger' : 'primary'}`}
          type="button"
          onClick={() => {
            if (mayClose()) dialog.value = null;
          }}
        >
          {warned.value ? s.secret.anyway : s.secret.done}
        </button>
      </div>
    </Sheet>
  );
}

/** Light modules that belong around a QR code. */
const quiet = 4;

export function QR({ rows, label, hint }: { rows: readonly string[]; label: string; hint: string }) {
  const size = rows.length + 2 * quiet;
  const path = rows
    .flatMap((row, y) => [...row.matchAll(/#+/g)].map((run) => `M${run.index + quiet} ${y + quiet}h${run[0].length}v1h-${run[0].length}z`))
    .join('');
  return (
    <figure>
      <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges">
        <path d={path} />
      </svg>
      <figcaption class="note">{hint}</figcaption>
    </figure>
  );
}
