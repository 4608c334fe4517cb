import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { dialog } from '../app.ts';
import { s } from '../strings.ts';
import { Icon } from './Icon.tsx';

interface Props {
  title: string;
  kind: string;
  children: ComponentChildren;
  /** Asked before it is closed by hand; false keeps it open. A click beside it then does nothing. */
  mayClose?: () => boolean;
}

/** A modal sheet: the browser keeps the focus in it, Esc and a click beside it close it. */
export function Sheet({ title, kind, children, mayClose }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    ref.current?.showModal();
    return () => {
      // What leaves the page with the focus gives it to nobody.
      if (document.activeElement === document.body && before instanceof HTMLElement) before.focus();
    };
  }, []);
  const close = (): void => {
    if (mayClose?.() ?? true) ref.current?.close();
  };
  return (
    <dialog
      ref={ref}
      class={`sheet ${kind}`}
      aria-labelledby="sheet-title"
      onClose={() => (dialog.value = null)}
      onCancel={(e) => {
        if (mayClose && !mayClose()) e.preventDefault();
      }}
      onClick={(e) => {
        if (e.target === ref.current && !mayClose) close();
      }}
    >
      <div class="sheet-body">
        <div class="sheet-head">
          <h2 id="sheet-title">{title}</h2>
          <button class="tool" type="button" aria-label={s.close} onClick={close}>
            <Icon name="close" />
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}
