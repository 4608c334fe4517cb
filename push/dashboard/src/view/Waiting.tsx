import { useRef } from 'preact/hooks';
import { registrar, type Waiting } from '../api.ts';
import { announcement, dialog, link } from '../app.ts';
import { age, valueOf } from '../draw/format.ts';
import { past } from '../draw/when.ts';
import { decided, waiting } from '../lobby.ts';
import { s } from '../strings.ts';
import { name } from './Card.tsx';
import { Problem, useDoing } from './useDoing.tsx';

/** Values of a device that are shown. */
const most = 6;

/** New devices that nobody has approved yet; nothing where none waits. */
export function WaitingList() {
  const list = waiting.value;
  const heading = useRef<HTMLHeadingElement>(null);
  if (list.length === 0) return null;
  return (
    <section class="waiting-list" aria-labelledby="waiting-title">
      <h2 id="waiting-title" ref={heading} tabIndex={-1}>
        {s.waiting.title} <span class="count">{list.length}</span>
      </h2>
      <p>{s.waiting.lead}</p>
      <ul>
        {list.map((d) => (
          <li key={d.id} data-waiting={d.id}>
            <WaitingDevice device={d} onGone={() => requestAnimationFrame(() => heading.current?.focus())} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** One of them, with what can be decided. */
export function WaitingDevice({ device: d, onGone }: { device: Waiting; onGone?: () => void }) {
  const doing = useDoing();
  const now = Date.now() + link.stats.clockOffset;
  const gone = (text: string): void => {
    decided(d.id);
    announcement.value = text;
    onGone?.();
  };
  const approve = (): Promise<void> =>
    doing.run(async () => {
      await registrar.approve(d.id);
      gone(s.waiting.approved(d.id));
    });
  const turnAway = (): void => {
    const run = async (): Promise<void> => {
      await registrar.revoke(d.id);
      gone(s.waiting.turnedAway(d.id));
    };
    dialog.value = { kind: 'ask', question: { title: s.waiting.question(d.id), text: s.waiting.questionText, act: s.waiting.turnAway.replace('…', ''), run } };
  };
  return (
    <div class="waiting-device">
      <div class="waiting-who">
        <h3>{d.id}</h3>
        <p class="note">
          {d.address} · {s.transport(d.transport)} · {s.waiting.since(past(d.first, now))}
          <br />
          {s.waiting.messages(d.messages)} · {s.waiting.heard(age(Math.max(0, now - d.last)))}
        </p>
      </div>
      <Values device={d} />
      <div class="waiting-acts">
        <button class="button primary" type="button" aria-disabled={doing.busy} onClick={() => void approve()}>
          {s.waiting.approve}
          <span class="visually-hidden">{s.waiting.of(d.id)}</span>
        </button>
        <button class="button" type="button" aria-haspopup="dialog" title={s.waiting.withSecretOf(d.id)} onClick={() => (dialog.value = { kind: 'admit', device: d })}>
          {s.waiting.withSecret}
          <span class="visually-hidden">{s.waiting.of(d.id)}</span>
        </button>
        <button class="button" type="button" aria-haspopup="dialog" onClick={turnAway}>
          {s.waiting.turnAway}
          <span class="visually-hidden">{s.waiting.of(d.id)}</span>
        </button>
      </div>
      <Problem of={doing} />
    </div>
  );
}

function Values({ device: d }: { device: Waiting }) {
  const rest = d.values.length - most;
  return (
    <dl class="waiting-values">
      {d.values.slice(0, most).map((v) => (
        <div key={v.metric}>
          <dt>{name(v.metric)}</dt>
          <dd>{valueOf(v.value)}</dd>
        </div>
      ))}
      {rest > 0 && (
        <div>
          <dt>{s.waiting.moreValues(rest)}</dt>
        </div>
      )}
    </dl>
  );
}
