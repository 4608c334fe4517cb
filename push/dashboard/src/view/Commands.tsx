import { useComputed, useSignal, type Signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { cancelCommand, commands, sendCommand, type Command } from '../api.ts';
import { announcement, everySecond, link } from '../app.ts';
import type { Device } from '../data/board.ts';
import { bodyOf, isOpen, merged, typed, valueText } from '../data/command.ts';
import { duration } from '../draw/format.ts';
import { past } from '../draw/when.ts';
import { s } from '../strings.ts';
import { Icon, type IconName } from './Icon.tsx';
import { useAsking, type Asking } from './useAsking.ts';
import { Problem, useDoing } from './useDoing.tsx';

/** How often the list is asked for while an outcome is to come, in milliseconds. */
const openEvery = 2000;

/** What stands in the fields. */
interface Draft {
  name: Signal<string>;
  value: Signal<string>;
}

/** What people tell a device, and what became of it. */
export function Commands({ id, device }: { id: string; device: Device | undefined }) {
  const draft: Draft = { name: useSignal(''), value: useSignal('') };
  const asking = useAsking(
    () => commands(id),
    (list) => (list.some(isOpen) ? openEvery : null),
    id,
  );
  const list = asking.value.value;
  useOutcomes(list);
  return (
    <section class="commands" aria-labelledby="commands-title">
      <h2 id="commands-title" class="visually-hidden">
        {s.commands.title}
      </h2>
      <Send id={id} device={device} draft={draft} asking={asking} />
      {asking.failed.value !== '' && <p class="note">{s.commands.unavailable(asking.failed.value)}</p>}
      {list?.length === 0 && <Teach id={id} />}
      {list && list.length > 0 && <List list={list} draft={draft} asking={asking} />}
    </section>
  );
}

/** Tells a screen reader what became of a command. */
function useOutcomes(list: readonly Command[] | undefined): void {
  const open = useRef(new Set<number>());
  useEffect(() => {
    for (const c of list ?? []) {
      if (isOpen(c)) open.current.add(c.id);
      else if (open.current.delete(c.id)) announcement.value = s.commands.arrived(c.name, s.commands.states[c.state]);
    }
  }, [list]);
}

interface SendProps {
  id: string;
  device: Device | undefined;
  draft: Draft;
  asking: Asking<Command[]>;
}

function Send({ id, device, draft, asking }: SendProps) {
  const doing = useDoing();
  const ttl = useSignal<string>('1h');
  const value = useComputed(() => typed(draft.value.value));
  const names = [...new Set((asking.value.value ?? []).map((c) => c.name))];
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    void doing.run(async () => {
      const c = await sendCommand(id, bodyOf(draft.name.value.trim(), value.value, ttl.value));
      asking.value.value = merged(asking.value.value ?? [], c);
      asking.again();
    });
  };
  const interval = device?.presence.value?.interval;
  return (
    <form class="panel send" onSubmit={submit}>
      <label class="send-name">
        <span>{s.commands.name}</span>
        <input
          value={draft.name}
          onInput={(e) => (draft.name.value = e.currentTarget.value)}
          placeholder={s.commands.namePlaceholder}
          list="command-names"
          required
          maxLength={64}
          pattern="\s*[A-Za-z0-9._:\-]+\s*"
          title={s.add.idHint}
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
        />
        <datalist id="command-names">
          {names.map((n) => (
            <option key={n} value={n} />
          ))}
        </datalist>
      </label>
      <label class="send-value">
        <span>{s.commands.value}</span>
        <input
          value={draft.value}
          onInput={(e) => (draft.value.value = e.currentTarget.value)}
          placeholder={s.commands.valuePlaceholder}
          aria-describedby="sent-as"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
        />
      </label>
      <label class="send-ttl">
        <span>{s.commands.ttl}</span>
        <select value={ttl} onChange={(e) => (ttl.value = e.currentTarget.value)}>
          {s.commands.ttls.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <button class="button primary" type="submit" aria-disabled={doing.busy}>
        {s.commands.send}
      </button>
      <p class="note send-note">
        <span id="sent-as">{draft.name.value || draft.value.value ? s.commands.sentAs[value.value.kind] : s.commands.lead}</span>
        {interval !== undefined && <span> {s.commands.rhythm(duration(interval))}</span>}
      </p>
      <Problem of={doing} />
    </form>
  );
}

/** What stands where no command was ever sent. */
function Teach({ id }: { id: string }) {
  return (
    <div class="teach">
      <p>{s.commands.none}</p>
      <pre tabIndex={0}>
        <code>{s.commands.sample(id)}</code>
      </pre>
    </div>
  );
}

function List({ list, draft, asking }: { list: readonly Command[]; draft: Draft; asking: Asking<Command[]> }) {
  const now = useSignal(Date.now());
  useEffect(() => everySecond(() => (now.value = Date.now())), []);
  return (
    <ul class="command-list">
      {list.map((c) => (
        <Row key={c.id} command={c} now={now.value + link.stats.clockOffset} draft={draft} asking={asking} />
      ))}
    </ul>
  );
}

const icons: Record<Command['state'], IconName> = {
  waiting: 'clock',
  sent: 'forth',
  done: 'check',
  failed: 'warning',
  expired: 'clock',
  cancelled: 'close',
};

interface RowProps {
  command: Command;
  /** By the clock of the server. */
  now: number;
  draft: Draft;
  asking: Asking<Command[]>;
}

function Row({ command: c, now, draft, asking }: RowProps) {
  const doing = useDoing();
  const cancel = (): Promise<void> =>
    doing.run(async () => {
      const answer = await cancelCommand(c.device, c.id);
      asking.value.value = merged(asking.value.value ?? [], answer);
      asking.again();
    });
  const again = (): void => {
    draft.name.value = c.name;
    draft.value.value = c.value === undefined ? '' : JSON.stringify(c.value);
    document.querySelector<HTMLInputElement>('.send-value input')?.focus();
  };
  const value = valueText(c.value);
  return (
    <li class={`command ${c.state}`} data-command={c.id}>
      <p class="command-state">
        <Icon name={icons[c.state]} />
        {s.commands.states[c.state]}
      </p>
      <p class="command-what">
        <code>{c.name}</code>
        {value !== '' && <code class="command-value">{value}</code>}
        {c.result && <span class="command-result">{c.result}</span>}
      </p>
      <p class="note">{tale(c, now)}</p>
      {isOpen(c) ? (
        <button class="button" type="button" aria-disabled={doing.busy} onClick={() => void cancel()}>
          {s.cancel}
          <span class="visually-hidden"> {c.name}</span>
        </button>
      ) : (
        <button class="button" type="button" onClick={again}>
          {s.commands.again}
          <span class="visually-hidden"> {c.name}</span>
        </button>
      )}
      <Problem of={doing} />
    </li>
  );
}

/** When, how often told, and how long it took or may still take. */
function tale(c: Command, now: number): string {
  const parts = [past(c.created, now)];
  if (c.tries > 0) parts.push(s.commands.tries(c.tries));
  else if (isOpen(c)) parts.push(s.commands.waitingFor);
  if (isOpen(c)) parts.push(s.commands.expires(duration(Math.max(0, c.expires - now))));
  else if (c.ended !== undefined) parts.push(s.commands.took(duration(c.ended - c.created)));
  return parts.join(' · ');
}
