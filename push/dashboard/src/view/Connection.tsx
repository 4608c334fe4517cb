import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { board, dialog, everySecond, link, chooseTechnique } from '../app.ts';
import { textOf, write } from '../draw/cells.ts';
import { duration } from '../draw/format.ts';
import { lag, offered, ping, roundTrip } from '../lag.ts';
import { isLocked } from '../session.ts';
import { s } from '../strings.ts';
import { isTechnique, techniques } from '../transport/carrier.ts';
import type { LinkState } from '../transport/connect.ts';
import { Sheet } from './Dialog.tsx';

function words(state: LinkState, now: number): string {
  switch (state.phase) {
    case 'live':
      return state.technique ? s.link.live(state.technique) : s.live;
    case 'waiting': {
      const left = Math.ceil((state.retryAt - now) / 1000);
      return left > 0 ? s.link.waiting(left) : s.link.trying;
    }
    case 'connecting':
      return s.connecting;
    case 'unauthorized':
      return s.link.unauthorized;
    case 'closed':
      return s.link.closed;
  }
}

/** Says how the readings come; a click tells more. */
export function LinkButton() {
  const state = link.state.value;
  const now = useSignal(Date.now());
  useEffect(() => {
    if (state.phase !== 'waiting') return;
    now.value = Date.now();
    const timer = setInterval(() => (now.value = Date.now()), 250);
    return () => clearInterval(timer);
  }, [state.phase]);
  const text = isLocked.value ? s.link.unauthorized : words(state, state.phase === 'waiting' ? now.value : 0);
  return (
    <button class={`link ${isLocked.value ? 'unauthorized' : state.phase}`} type="button" aria-haspopup="dialog" onClick={() => (dialog.value = { kind: 'connection' })}>
      <span class="dot" aria-hidden="true" />
      <span class="link-words">{text}</span>
      <LinkLag />
    </button>
  );
}

/** The lag beside the technique, for who sees it change. */
function LinkLag() {
  const ref = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    const node = ref.current && textOf(ref.current);
    if (!node) return;
    return everySecond(() => write(node, figure(lag(), '')));
  }, []);
  return <span class="link-lag" ref={ref} aria-hidden="true" />;
}

function figure(ms: number | null, none = s.link.notYet): string {
  return ms === null ? none : duration(ms);
}

/** While the figures are looked at, this often, in milliseconds, the round trip is measured. */
const measureEvery = 2000;

export function ConnectionDialog() {
  const state = link.state.value;
  useEffect(() => {
    void ping();
    const timer = setInterval(() => void ping(), measureEvery);
    return () => clearInterval(timer);
  }, []);
  return (
    <Sheet title={s.link.title} kind="connection">
      <dl class="facts">
        <Fact name={s.link.technique} read={() => words(link.state.peek(), Date.now())} />
        <Fact name={s.link.roundTrip} read={() => figure(roundTrip())} />
        <Fact name={s.link.lag} read={() => figure(lag())} />
        <Fact name={s.link.cursor} read={() => link.stats.cursor ?? '–'} />
        <Fact name={s.link.readings} read={() => board.readings.toLocaleString()} />
        <Fact name={s.link.reconnects} read={() => String(link.stats.reconnects)} />
        {state.error && <Fact name={s.link.lastError} read={() => link.state.peek().error} />}
      </dl>
      <p class="note">{s.link.figures}</p>
      <Chooser />
      {state.phase === 'waiting' && (
        <button class="button" type="button" onClick={() => link.check()}>
          {s.link.retry}
        </button>
      )}
    </Sheet>
  );
}

function Fact({ name, read }: { name: string; read: () => string }) {
  const ref = useRef<HTMLElement>(null);
  useEffect(() => {
    const node = ref.current && textOf(ref.current);
    if (!node) return;
    write(node, read());
    return everySecond(() => write(node, read()));
  }, []);
  return (
    <div>
      <dt>{name}</dt>
      <dd ref={ref} />
    </div>
  );
}

function Chooser() {
  const chosen = link.forced.value ?? 'auto';
  const there = techniques.filter((t) => t === chosen || (offered.value?.includes(t) ?? true));
  return (
    <div class="choice">
      <label class="chooser">
        <span>{s.link.choose}</span>
        <select
          value={chosen}
          aria-describedby="choice-hint"
          onChange={(e) => {
            const { value } = e.currentTarget;
            chooseTechnique(isTechnique(value) ? value : null);
          }}
        >
          <option value="auto">{s.link.auto}</option>
          {there.map((t) => (
            <option key={t} value={t}>
              {s.link.techniques[t]}
            </option>
          ))}
        </select>
      </label>
      <p id="choice-hint" class="note">
        {chosen === 'auto' ? s.link.free : s.link.chosen}
      </p>
    </div>
  );
}
