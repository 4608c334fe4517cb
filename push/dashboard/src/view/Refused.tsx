import { useSignal, type Signal } from '@preact/signals';
import { limits, refusals, type Refusal } from '../api.ts';
import { caseOf, counted, fixOf, grouped, markBytes, markText } from '../data/refusal.ts';
import { number } from '../draw/format.ts';
import { clock } from '../draw/when.ts';
import { deviceHref } from '../place.ts';
import { isAdmin, session } from '../session.ts';
import { s } from '../strings.ts';
import { AdminsOnly } from './AdminsOnly.tsx';
import { Icon } from './Icon.tsx';
import { useAsking } from './useAsking.ts';

/** How often the list is asked for while it is on the page, in milliseconds. */
const every = 2000;

export function RefusedPage() {
  const reason = useSignal('');
  return (
    <article class="refused-page">
      <a class="back" href="#/">
        <Icon name="back" />
        {s.device.back}
      </a>
      <h1>{s.refused.title}</h1>
      <p class="lead">{s.refused.lead}</p>
      {isAdmin.value && <Counts chosen={reason} />}
      {isAdmin.value && <RefusedList reason={reason.value} />}
      {session.value !== null && !isAdmin.value && <AdminsOnly />}
    </article>
  );
}

/** How much was refused for each reason; choosing one shows only that. */
function Counts({ chosen }: { chosen: Signal<string> }) {
  const asking = useAsking(limits, () => every, '');
  const counts = counted(asking.value.value?.refused ?? {});
  const all = counts.reduce((sum, { count }) => sum + count, 0);
  const rows = [{ reason: '', count: all }, ...counts];
  return (
    <fieldset class="reasons">
      <legend class="visually-hidden">{s.refused.counts}</legend>
      {all > 0 &&
        rows.map(({ reason, count }) => (
          <label key={reason}>
            <input type="radio" name="reason" checked={chosen.value === reason} onClick={() => (chosen.value = reason)} />
            <span>
              {reason === '' ? s.refused.all : <code>{reason}</code>} <b>{number(count)}</b>
            </span>
          </label>
        ))}
    </fieldset>
  );
}

/** What arrived and was not taken, asked for as long as it is on the page. Quiet: nothing to say, nothing shown. */
export function RefusedList({ quiet = false, reason = '' }: { quiet?: boolean; reason?: string }) {
  const asking = useAsking(refusals, () => every, '');
  const all = asking.value.value;
  const list = (all ?? []).filter((r) => reason === '' || r.reason === reason);
  if (list.length === 0) {
    if (quiet) return null;
    if (!all) return <p class="note">{asking.failed.value || s.connecting}</p>;
    return reason === '' ? <NothingRefused /> : <p class="note">{s.refused.noneOf}</p>;
  }
  return (
    <div class="refused">
      {quiet && <h2>{s.refused.title}</h2>}
      {quiet && <p>{s.refused.lead}</p>}
      <ul>
        {grouped(list).map(({ refusal, times }) => (
          <Item key={`${refusal.time} ${refusal.error}`} refusal={refusal} times={times} />
        ))}
      </ul>
    </div>
  );
}

function NothingRefused() {
  return (
    <div class="no-match">
      <p>
        <strong>{s.refused.none}</strong>
      </p>
      <p>{s.refused.noneHint}</p>
    </div>
  );
}

function Item({ refusal: r, times }: { refusal: Refusal; times: number }) {
  const [what, todo] = s.verdicts[caseOf(r)];
  return (
    <li data-reason={r.reason}>
      <p class="refused-what">
        <strong>{what}</strong>
        <code class="reason">{r.reason}</code>
        {times > 1 && <span class="times">{s.refused.times(times)}</span>}
      </p>
      {r.error && <p class="refused-why">{r.error}</p>}
      <Payload refusal={r} />
      <p class="todo">
        {hintOf(r) || todo} <FixLink refusal={r} />
      </p>
      <p class="note">{source(r)}</p>
    </li>
  );
}

/** What helps with this payload more than the words for its reason; '' if nothing does. */
function hintOf(r: Refusal): string {
  if (r.reason !== 'syntax') return '';
  if (/=-?\d+,\d+(\s|$)/.test(r.payload ?? '')) return s.refused.comma;
  return r.format === 'line' ? s.refused.line : r.format === 'json' ? s.refused.json : '';
}

function Payload({ refusal: r }: { refusal: Refusal }) {
  if (!r.payload && !r.payload_base64) return null;
  const { before, bad, after } = r.payload ? markText(r.payload, r.at) : markBytes(r.payload_base64 ?? '', r.at);
  return (
    <pre tabIndex={0} aria-label={s.refused.payload} class={r.payload ? '' : 'dump'}>
      <code>
        {before}
        {bad && (
          <mark>
            <span class="visually-hidden">{s.refused.bad}</span>
            {bad}
          </mark>
        )}
        {after}
      </code>
    </pre>
  );
}

/** The way to where it can be put right. */
function FixLink({ refusal }: { refusal: Refusal }) {
  const fix = fixOf(refusal);
  if (!fix) return null;
  return fix.where === 'waiting' ? <a href="#/">{s.refused.toWaiting}</a> : <a href={deviceHref(fix.device, 'access')}>{s.refused.toDevice(fix.device)}</a>;
}

/** When, from where and how it came. */
function source(r: Refusal): string {
  const kept = r.payload_base64 ? Math.floor((r.payload_base64.replaceAll('=', '').length * 3) / 4) : new TextEncoder().encode(r.payload ?? '').length;
  const parts = [clock(r.time), s.refused.from(r.remote), s.transport(r.transport)];
  if (r.format) parts.push(r.format);
  parts.push(r.size > 0 ? s.refused.bytes(r.size) : s.refused.nothing);
  if (kept < r.size && kept > 0) parts.push(s.refused.cut(kept));
  return parts.join(' · ');
}
