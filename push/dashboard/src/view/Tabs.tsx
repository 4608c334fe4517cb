import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { copy } from '../copy.ts';
import type { Snippet } from '../snippets.ts';
import { s } from '../strings.ts';

interface Props {
  list: readonly Snippet[];
  label: string;
  /** Tells these tabs from others on the page. */
  of: string;
  onCopied?: () => void;
}

/** Snippets, of which one is shown. */
export function Tabs({ list, label, of, onCopied }: Props) {
  const chosen = useSignal(0);
  const snippet = list[chosen.value] as Snippet;
  const tab = (id: string): string => `${of}-tab-${id}`;
  const move = (event: KeyboardEvent): void => {
    const by = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (by === 0) return;
    event.preventDefault();
    chosen.value = (chosen.value + by + list.length) % list.length;
    document.getElementById(tab(list[chosen.value]?.id ?? ''))?.focus();
  };
  return (
    <div class="snippets">
      <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
        {list.map((x, i) => (
          <button
            key={x.id}
            id={tab(x.id)}
            type="button"
            role="tab"
            aria-selected={i === chosen.value}
            aria-controls={`${of}-snippet`}
            tabIndex={i === chosen.value ? 0 : -1}
            onClick={() => (chosen.value = i)}
          >
            {x.label}
          </button>
        ))}
      </div>
      <div id={`${of}-snippet`} class="snippet" role="tabpanel" aria-labelledby={tab(snippet.id)}>
        <pre tabIndex={0}>
          <code>{snippet.code}</code>
        </pre>
        <CopyButton text={snippet.code} what={snippet.label} onCopied={onCopied} />
        {snippet.note && <p class="note">{snippet.note}</p>}
      </div>
    </div>
  );
}

/** How long a button says what it has done, in milliseconds. */
const saidFor = 2000;

interface CopyProps {
  text: string;
  /** What it is, for those who do not see it. */
  what: string;
  onCopied?: (() => void) | undefined;
  autofocus?: boolean;
}

export function CopyButton({ text, what, onCopied, autofocus = false }: CopyProps) {
  const said = useSignal(s.copy);
  useEffect(() => {
    said.value = s.copy;
  }, [text]);
  const press = async (): Promise<void> => {
    const done = await copy(text);
    said.value = done ? s.copied : s.copyFailed;
    if (done) onCopied?.();
    setTimeout(() => (said.value = s.copy), saidFor);
  };
  return (
    <button class="button copy" type="button" autofocus={autofocus} onClick={() => void press()}>
      {said}
      <span class="visually-hidden"> {what}</span>
    </button>
  );
}
