import type { ComponentChildren } from 'preact';
import { link } from '../app.ts';
import { isStale, type Device, type DeviceState } from '../data/board.ts';
import { duration, number } from '../draw/format.ts';
import { past } from '../draw/when.ts';
import { s } from '../strings.ts';
import type { Gauge, Presence } from '../transport/wire.ts';
import { name } from './Card.tsx';

/** A clock that is off by less, in milliseconds, is right: the way of the message takes as long. */
const rightWithin = 1000;

/** What is known of a device beside its readings. What is usual has its place from the beginning, so that nothing moves when it comes. */
export function Facts({ device }: { device: Device }) {
  const p = device.presence.value;
  const interval = p?.interval ?? device.pace.usual;
  return (
    <dl class="device-facts" aria-label={s.facts.title}>
      <Since presence={p} state={device.state.value} />
      <Fact name={s.facts.rhythm}>{interval > 0 && s.every(duration(interval))}</Fact>
      <Fact name={s.facts.from} hint={p?.guarded && s.facts.guarded}>
        {p?.address && `${p.address} · ${s.transport(p.transport ?? '')}`}
      </Fact>
      <Fact name={s.facts.lost} hint={p && p.duplicates > 0 && s.facts.repeated(p.duplicates)} bad={(p?.loss ?? 0) >= 1}>
        {p?.loss !== undefined && s.facts.percent(number(p.loss))}
      </Fact>
      <Clock presence={p} />
      {p?.battery && <GaugeFact name={s.facts.battery} gauge={p.battery} unit={batteryUnit(p.battery)} />}
      {p?.rssi && <GaugeFact name={s.facts.signal} gauge={p.rssi} unit={p.rssi.value < 0 ? ' dBm' : ''} />}
      {p?.limited !== undefined && (
        <Fact name={s.facts.limited} hint={s.facts.limitedHint(p.limited)} bad>
          {number(p.limited)}
        </Fact>
      )}
    </dl>
  );
}

/** Since when it is what it is. */
function Since({ presence: p, state }: { presence: Presence | null; state: DeviceState }) {
  if (p?.state === 'unknown' || p?.since === undefined) {
    return (
      <Fact name={s.facts.state} hint={p?.state === 'unknown' && state !== 'silent' && s.facts.unheard}>
        {s.states[state]}
      </Fact>
    );
  }
  return (
    <Fact name={s.facts.since(s.states[state])} bad={isStale(state)}>
      {past(p.since, Date.now() + link.stats.clockOffset)}
    </Fact>
  );
}

/** Percent, unless the metric is one of the names by which firmware sends volts. */
function batteryUnit({ metric }: Gauge): string {
  return /(vbat|voltage|batt_v)$/i.test(metric) ? ' V' : ' %';
}

interface FactProps {
  name: string;
  children: ComponentChildren;
  hint?: ComponentChildren;
  /** Whether something should be done about it. */
  bad?: boolean;
}

function Fact({ name, children, hint, bad = false }: FactProps) {
  return (
    <div class={bad ? 'bad' : ''}>
      <dt>{name}</dt>
      <dd>
        {children || s.facts.unknown}
        {hint && <span class="fact-hint">{hint}</span>}
      </dd>
    </div>
  );
}

function Clock({ presence: p }: { presence: Presence | null }) {
  if (p?.clock === 'wrong') {
    return (
      <Fact name={s.facts.clock} hint={s.facts.clockWrongHint} bad>
        {s.facts.clockWrong}
      </Fact>
    );
  }
  const skew = p?.skew;
  if (skew === undefined) return <Fact name={s.facts.clock}>{null}</Fact>;
  const off = Math.abs(skew);
  const by = (skew > 0 ? s.facts.ahead : s.facts.behind)(duration(off));
  if (off < rightWithin) {
    return (
      <Fact name={s.facts.clock} hint={off >= 1 && by}>
        {s.facts.clockRight}
      </Fact>
    );
  }
  return (
    <Fact name={s.facts.clock} bad>
      {by}
    </Fact>
  );
}

function GaugeFact({ name: title, gauge, unit }: { name: string; gauge: Gauge; unit: string }) {
  return (
    <Fact name={title} hint={name(gauge.metric)}>
      {number(gauge.value)}
      {unit}
    </Fact>
  );
}
