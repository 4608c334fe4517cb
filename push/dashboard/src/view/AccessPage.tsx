import '../style/access.css';
import { grants, isStranger, logout, type Grant, type Session } from '../api.ts';
import { announcement, dialog, link } from '../app.ts';
import { age } from '../draw/format.ts';
import { moment, past } from '../draw/when.ts';
import { session } from '../session.ts';
import { s } from '../strings.ts';
import { GiveDialog } from './Give.tsx';
import { Icon, type IconName } from './Icon.tsx';
import { useAsking, type Asking } from './useAsking.ts';
import { Problem, useDoing } from './useDoing.tsx';

/** How often the list is asked for while it is on the page, in milliseconds. */
const every = 10_000;

/** Who may what from other machines, and who we are ourselves. */
export function AccessPage() {
  const me = session.value;
  return (
    <article class="access-page">
      <a class="back" href="#/">
        <Icon name="back" />
        {s.device.back}
      </a>
      <h1>{s.grants.title}</h1>
      {me?.role === 'admin' && <p class="lead">{s.grants.lead}</p>}
      {me === null ? <p class="connecting">{s.connecting}</p> : <You me={me} />}
      {me?.role === 'admin' && <Grants me={me} />}
    </article>
  );
}

function now(): number {
  return Date.now() + link.stats.clockOffset;
}

/** A moment to come, or one that is over: its date only where it is not plain. */
function moments(ms: number): string {
  return moment(ms, Math.max(60_000, Math.abs(ms - now())));
}

function You({ me }: { me: Session }) {
  const doing = useDoing();
  const leave = (): Promise<void> =>
    doing.run(async () => {
      await logout();
      isStranger.value = true;
    });
  const limited = me.role === 'viewer' && me.devices.length > 0;
  return (
    <div class="guard guarded you">
      <Icon name="person" />
      <div>
        <p>
          <strong>{s.grants.you(me.name)}</strong> <span>{limited ? s.grants.yoursOf(me.devices.join(', ')) : s.grants.yours[me.role]}</span>{' '}
          {me.expires !== undefined && <span>{s.grants.ends(moments(me.expires))}</span>}
        </p>
        <p class="note">
          {me.role === 'admin' ? '' : `${s.grants.viewerHint} `}
          {me.token ? s.grants.logoutHint : s.grants.noToken}
        </p>
        <Problem of={doing} />
      </div>
      {me.token && (
        <button class="button" type="button" aria-disabled={doing.busy} onClick={() => void leave()}>
          {s.grants.logout}
        </button>
      )}
    </div>
  );
}

function Grants({ me }: { me: Session }) {
  const asking = useAsking(grants.all, () => every, '');
  const list = asking.value.value;
  const give = (): void => {
    dialog.value = { kind: 'later', View: () => <GiveDialog done={asking.again} />, once: false };
  };
  return (
    <>
      {list === undefined && asking.failed.value === '' && <p class="connecting">{s.connecting}</p>}
      {asking.failed.value !== '' && <p class="note">{s.grants.unavailable(asking.failed.value)}</p>}
      {list && (
        <div class="answers">
          <button class="button primary" type="button" aria-haspopup="dialog" onClick={give}>
            <Icon name="plus" />
            {s.grants.add}
          </button>
        </div>
      )}
      {list?.length === 0 && <Nobody />}
      {list && list.length > 0 && (
        <ul class="grants">
          {list.toReversed().map((g) => (
            <Row key={g.id} grant={g} me={me} asking={asking} />
          ))}
        </ul>
      )}
      {list && <p class="note first-token">{s.grants.first}</p>}
    </>
  );
}

/** What stands where nobody has been given access. */
function Nobody() {
  return (
    <div class="nobody">
      <p>
        <strong>{s.grants.none}</strong>
      </p>
      <p>{s.grants.noneHint}</p>
    </div>
  );
}

const icons: Record<Grant['role'], IconName> = { viewer: 'eye', writer: 'pen', admin: 'key' };

interface RowProps {
  grant: Grant;
  me: Session;
  asking: Asking<Grant[]>;
}

function Row({ grant: g, me, asking }: RowProps) {
  const isMe = me.token && me.name === g.name && me.role === g.role;
  const name = g.name || `${g.id}`; // a damaged one has none
  const revoke = (): void => {
    const run = async (): Promise<void> => {
      await grants.revoke(g.id);
      announcement.value = s.grants.revoked(name);
      if (isMe) isStranger.value = true;
      else asking.again();
    };
    const text = isMe ? `${s.grants.revokeText} ${s.grants.revokeSelf}` : s.grants.revokeText;
    dialog.value = { kind: 'ask', question: { title: s.grants.revokeQuestion(name), text, act: s.grants.revokeAct, run } };
  };
  return (
    <li class={`grant ${g.state}`} data-grant={g.name}>
      <p class="grant-role">
        <Icon name={icons[g.role] ?? 'warning'} />
        {g.state === 'damaged' ? s.grants.states.damaged : s.grants.roles[g.role]}
      </p>
      <p class="grant-who">
        <strong>{name}</strong>
        {isMe && <span class="new">{s.grants.thisOne}</span>}
        {g.state === 'expired' && <span class="ended">{s.grants.states.expired}</span>}
        {g.state !== 'damaged' && g.role !== 'admin' && <span class="grant-devices">{g.devices.length > 0 ? g.devices.join(', ') : s.grants.all}</span>}
      </p>
      <p class="note">{tale(g)}</p>
      <button class="button" type="button" aria-haspopup="dialog" onClick={revoke}>
        {s.grants.revoke}
        <span class="visually-hidden"> {name}</span>
      </button>
    </li>
  );
}

/** When it was made, ends and was used. */
function tale(g: Grant): string {
  if (g.state === 'damaged') return s.grants.damagedHint;
  const parts = [s.grants.made(past(g.created, now()))];
  if (g.expires === undefined) parts.push(s.grants.endless);
  else parts.push((g.state === 'expired' ? s.grants.endedAt : s.grants.endsAt)(moments(g.expires)));
  parts.push(g.used === undefined ? s.grants.unused : s.grants.used(age(Math.max(0, now() - g.used))));
  return parts.join(' · ');
}
