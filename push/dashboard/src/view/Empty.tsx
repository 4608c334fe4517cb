import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { about, type About } from '../api.ts';
import { copy } from '../copy.ts';
import { snippets, type Snippet } from '../snippets.ts';
import { s } from '../strings.ts';
import { Mark } from './Mark.tsx';
import { RefusedList } from './Refused.tsx';

const defaultPort = 7700;

/** What stands here until there is something to see: how to send the first reading. */
export function Empty() {
  const known = useSignal<About | null>(null);
  const address = useSignal(location.hostname);
  const asked = useSignal(false);
  useEffect(() => {
    about().then(
      (a) => {
        known.value = a;
        const here = a.addresses.includes(location.hostname);
        address.value = here ? location.hostname : (a.addresses[0] ?? location.hostname);
        asked.value = true;
      },
      () => (asked.value = true), // No answer: the page's own host and the default ports are the best guess.
    );
  }, []);
  const to = { address: address.value, udp: known.value?.udp ?? defaultPort, tcp: known.value?.tcp ?? defaultPort };
  const addresses = known.value?.addresses ?? [];
  return (
    <section class="empty">
      <div class="empty-head">
        <Mark />
        <h1>
          {s.empty.title}
          <span class="waiting" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
        </h1>
        <p>{addresses.length > 0 && addresses.every(isLoopback) ? s.empty.leadHere : s.empty.lead}</p>
        {asked.value && (
          <ul class="endpoints">
            <li>
              <code>udp://{to.address}:{to.udp}</code>
            </li>
            <li>
              <code>tcp://{to.address}:{to.tcp}</code>
            </li>
          </ul>
        )}
        {addresses.length > 1 && (
          <label class="chooser">
            <span>{s.empty.address}</span>
            <select value={address} onChange={(e) => (address.value = e.currentTarget.value)}>
              {addresses.map((a) => (
                <option key={a}>{a}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      {asked.value && <Tabs list={snippets(to)} />}
      <RefusedList quiet />
    </section>
  );
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address === 'localhost';
}

function Tabs({ list }: { list: Snippet[] }) {
  const chosen = useSignal(0);
  const snippet = list[chosen.value] as Snippet;
  const move = (event: KeyboardEvent): void => {
    const by = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (by === 0) return;
    event.preventDefault();
    chosen.value = (chosen.value + by + list.length) % list.length;
    document.getElementById(`tab-${list[chosen.value]?.id}`)?.focus();
  };
  return (
    <div class="snippets">
      <div class="tabs" role="tablist" aria-label={s.empty.tabs} onKeyDown={move}>
        {list.map((x, i) => (
          <button
            key={x.id}
            id={`tab-${x.id}`}
            type="button"
            role="tab"
            aria-selected={i === chosen.value}
            aria-controls="snippet"
            tabIndex={i === chosen.value ? 0 : -1}
            onClick={() => (chosen.value = i)}
          >
            {x.label}
          </button>
        ))}
      </div>
      <div id="snippet" class="snippet" role="tabpanel" aria-labelledby={`tab-${snippet.id}`}>
        <pre tabIndex={0}>
          <code>{snippet.code}</code>
        </pre>
        <CopyButton text={snippet.code} />
        {snippet.note && <p class="note">{snippet.note}</p>}
      </div>
    </div>
  );
}

/** How long a button says what it has done, in milliseconds. */
const saidFor = 2000;

function CopyButton({ text }: { text: string }) {
  const said = useSignal(s.empty.copy);
  useEffect(() => {
    said.value = s.empty.copy;
  }, [text]);
  const press = async (): Promise<void> => {
    said.value = (await copy(text)) ? s.empty.copied : s.empty.copyFailed;
    setTimeout(() => (said.value = s.empty.copy), saidFor);
  };
  return (
    <button class="button copy" type="button" onClick={() => void press()}>
      {said}
    </button>
  );
}
