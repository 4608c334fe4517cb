import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { refusals, type Refusal } from '../api.ts';
import { clock } from '../draw/when.ts';
import { s } from '../strings.ts';
import { Sheet } from './Dialog.tsx';

/** How often the list is asked for while it is on the page, in milliseconds. */
const every = 2000;

export function RefusedDialog() {
  return (
    <Sheet title={s.refused.title} kind="refused-sheet">
      <p>{s.refused.lead}</p>
      <RefusedList />
    </Sheet>
  );
}

/** What arrived and was not taken, asked for as long as it is on the page. Quiet: nothing to say, nothing shown. */
export function RefusedList({ quiet = false }: { quiet?: boolean }) {
  const list = useSignal<Refusal[] | null>(null);
  const failed = useSignal(false);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    let over = false;
    const ask = async (): Promise<void> => {
      try {
        if (!document.hidden) list.value = await refusals();
        failed.value = false;
      } catch {
        failed.value = true;
      }
      if (!over) timer = setTimeout(() => void ask(), every);
    };
    void ask();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, []);
  const refused = list.value ?? [];
  if (refused.length === 0) {
    if (quiet) return null;
    return <p class="note">{failed.value ? s.refused.unavailable : list.value ? s.refused.none : s.connecting}</p>;
  }
  return (
    <div class="refused">
      {quiet && <h2>{s.refused.title}</h2>}
      {quiet && <p>{s.refused.lead}</p>}
      <ul>
        {grouped(refused).map(({ refusal, times }) => (
          <Item key={`${refusal.time} ${sameness(refusal)}`} refusal={refusal} times={times} />
        ))}
      </ul>
    </div>
  );
}

/** What a device sends wrong it sends wrong again and again: such refusals are one. */
function sameness(r: Refusal): string {
  const host = r.remote.slice(0, r.remote.lastIndexOf(':'));
  return [host, r.transport, r.reason, r.error, r.payload ?? r.payload_base64].join('\n');
}

/** Newest first, alike ones together with the newest of them. */
function grouped(list: readonly Refusal[]): { refusal: Refusal; times: number }[] {
  const groups = new Map<string, { refusal: Refusal; times: number }>();
  for (const refusal of list) {
    const key = sameness(refusal);
    const group = groups.get(key);
    if (group) group.times++;
    else groups.set(key, { refusal, times: 1 });
  }
  return [...groups.values()];
}

function Item({ refusal: r, times }: { refusal: Refusal; times: number }) {
  const payload = r.payload ?? r.payload_base64 ?? '';
  const size = r.payload === undefined ? Math.floor((payload.length * 3) / 4) : new TextEncoder().encode(payload).length;
  return (
    <li>
      <p class="refused-what">
        <strong>{r.reason}</strong> {r.error}
        {times > 1 && <span class="times">{s.refused.times(times)}</span>}
      </p>
      <pre tabIndex={0}>
        <code>{payload}</code>
      </pre>
      {/=-?\d+,\d+(\s|$)/.test(payload) && <p class="hint">{s.refused.comma}</p>}
      <p class="note">
        <time dateTime={new Date(r.time).toISOString()}>{clock(r.time)}</time> · {s.refused.bytes(size)} {s.refused.from(r.remote)} ·{' '}
        {r.transport} · {r.format}
        {r.payload === undefined && ` · ${s.refused.binary}`}
      </p>
    </li>
  );
}
