import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { registrar, registration, type Changed, type Registered } from '../api.ts';
import { dialog, link } from '../app.ts';
import type { Device } from '../data/board.ts';
import { past } from '../draw/when.ts';
import { admission, decided } from '../lobby.ts';
import { s } from '../strings.ts';
import { kinds } from './Add.tsx';
import { Icon, type IconName } from './Icon.tsx';
import { useAsking, type Asking } from './useAsking.ts';
import { Problem, useDoing } from './useDoing.tsx';

/** While a secret waits for its first use, this often, in milliseconds, it is looked whether it has been used. */
const unusedEvery = 5000;

type Kind = (typeof kinds)[number];

/** Who may speak for a device, and what can be changed about it. */
export function Access({ id, device }: { id: string; device: Device | undefined }) {
  const asking = useAsking(
    () => registration(id),
    (r) => (r?.credentials.some((c) => c.used === undefined) ? unusedEvery : null),
    id,
  );
  const told = device?.presence.value;
  const sign = `${told?.guarded} ${told?.name} ${told?.state === 'removed'}`; // somebody else may have changed it
  useEffect(() => asking.again(), [sign]);
  const r = asking.value.value;
  if (r === undefined) return <p class="connecting">{asking.failed.value || s.connecting}</p>;
  return (
    <section class="access" aria-labelledby="access-title">
      <h2 id="access-title" class="visually-hidden">
        {s.access.title}
      </h2>
      <Guard registered={r} isNew={device === undefined || device.state.value === 'silent'} />
      <Secrets id={id} registered={r} asking={asking} />
      <Name id={id} registered={r} asking={asking} />
      {r && <End id={id} revoked={r.revoked === true} asking={asking} />}
      {asking.failed.value !== '' && <p class="note">{asking.failed}</p>}
    </section>
  );
}

type Guarded = 'open' | 'guarded' | 'revoked' | 'approve' | 'known';

/** What becomes of messages in its name; isNew: nothing of the device is stored. */
function guardOf(r: Registered | null, isNew: boolean): Guarded {
  if (r) return r.revoked ? 'revoked' : r.credentials.length > 0 ? 'guarded' : 'open';
  return (isNew && admission.value) || 'open';
}

const locks: Record<Guarded, IconName> = { open: 'unlock', guarded: 'lock', revoked: 'barred', approve: 'clock', known: 'barred' };

/** In one line: whom the gateway believes. */
function Guard({ registered: r, isNew }: { registered: Registered | null; isNew: boolean }) {
  const state = guardOf(r, isNew);
  const [text, hint] = s.access.guards[state];
  return (
    <div class={`guard ${state}`}>
      <Icon name={locks[state]} />
      <p>
        <strong>{text}</strong> <span>{hint}</span> {r && <span>{s.access.registered(date(r.created))}</span>}
      </p>
    </div>
  );
}

function date(ms: number): string {
  return past(ms, Date.now() + link.stats.clockOffset);
}

interface Props {
  id: string;
  registered: Registered | null;
  asking: Asking<Registered | null>;
}

/** Makes a secret and shows it. */
function make({ id, registered, asking }: Props, kind: Kind): Promise<void> {
  const made: Promise<Changed> = registered ? registrar.rotate(id, { [kind]: true }) : registrar.register(id, { [kind]: true });
  return made.then((m) => {
    decided(id);
    asking.again();
    dialog.value = { kind: 'secret', made: m };
  });
}

function Secrets(props: Props) {
  const doing = useDoing();
  const list = props.registered?.credentials ?? [];
  const has = (kind: Kind): boolean => list.some((c) => c.kind === kind);
  return (
    <div class="panel access-secrets">
      <h3>{s.access.credentials}</h3>
      {list.length === 0 ? <p class="note">{s.access.none}</p> : <Credentials list={list} />}
      <div class="answers">
        {kinds.map((kind) => (
          <button key={kind} class="button" type="button" aria-disabled={doing.busy} onClick={() => void doing.run(() => make(props, kind))}>
            <Icon name="key" />
            {(has(kind) ? s.access.renew : s.access.make)[kind]}
          </button>
        ))}
      </div>
      <Problem of={doing} />
      <ul class="note kinds">
        {kinds.map((kind) => (
          <li key={kind}>
            <strong>{s.kinds[kind].name}</strong> {s.kinds[kind].what}
          </li>
        ))}
      </ul>
      {list.length > 0 && <p class="note">{s.access.renewHint}</p>}
    </div>
  );
}

function Credentials({ list }: { list: Registered['credentials'] }) {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{s.access.kind}</th>
          <th scope="col">{s.access.created}</th>
          <th scope="col">{s.access.used}</th>
        </tr>
      </thead>
      <tbody>
        {list.map((c, i) => (
          <tr key={`${c.kind} ${c.created}`}>
            <th scope="row">
              {s.kinds[c.kind].name}
              {list.slice(0, i).some((o) => o.kind === c.kind) && <span class="note"> {s.access.next}</span>}
            </th>
            <td>{date(c.created)}</td>
            <td>{c.used === undefined ? s.access.never : date(c.used)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Name({ id, registered, asking }: Props) {
  const doing = useDoing();
  const draft = useSignal<string | null>(null); // null: as it is registered
  const saved = useSignal(false);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const name = (draft.value ?? registered?.name ?? '').trim();
    void doing.run(async () => {
      const now = await (registered ? registrar.rename(id, name) : registrar.approve(id, { name }));
      decided(id);
      asking.value.value = now;
      draft.value = null;
      saved.value = true;
    });
  };
  return (
    <form class="panel fields" onSubmit={submit}>
      <h3>{s.access.name}</h3>
      <label>
        <span class="visually-hidden">{s.access.name}</span>
        <input
          value={draft.value ?? registered?.name ?? ''}
          onInput={(e) => {
            draft.value = e.currentTarget.value;
            saved.value = false;
          }}
          placeholder={id}
          maxLength={64}
          autocomplete="off"
          aria-describedby="name-hint"
        />
      </label>
      <p id="name-hint" class="note">
        {s.access.nameHint}
      </p>
      <div class="answers">
        <button class="button" type="submit" aria-disabled={doing.busy}>
          {s.access.rename}
        </button>
        <span class="saved" role="status">
          {saved.value && s.access.renamed}
        </span>
      </div>
      <Problem of={doing} />
    </form>
  );
}

function End({ id, revoked, asking }: { id: string; revoked: boolean; asking: Props['asking'] }) {
  const ask = (title: string, text: string, act: string, change: () => Promise<unknown>): void => {
    const run = async (): Promise<void> => {
      await change();
      asking.again();
    };
    dialog.value = { kind: 'ask', question: { title, text, act, run } };
  };
  return (
    <div class="panel">
      <h3>{s.access.end}</h3>
      <div class="answers">
        {!revoked && (
          <button class="button" type="button" aria-haspopup="dialog" onClick={() => ask(s.access.revokeQuestion(id), s.access.revokeText, s.access.revokeAct, () => registrar.revoke(id))}>
            {s.access.revoke}
          </button>
        )}
        <button class="button" type="button" aria-haspopup="dialog" onClick={() => ask(s.access.removeQuestion(id), s.access.removeText, s.access.removeAct, () => registrar.remove(id))}>
          {s.access.remove}
        </button>
      </div>
    </div>
  );
}
