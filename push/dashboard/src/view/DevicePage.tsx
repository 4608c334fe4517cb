import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { board, everySecond, minutes, painter, paused } from '../app.ts';
import { backfill, shrink } from '../data/backfill.ts';
import { edgeOf, type Device } from '../data/board.ts';
import { s } from '../strings.ts';
import { StateLine } from './Card.tsx';
import { Icon } from './Icon.tsx';
import { Panel } from './Panel.tsx';

const longest = 15 * 60_000;

export function DevicePage({ id }: { id: string }) {
  const known = board.devices.value.some((d) => d.id === id);
  const device = board.device(id);
  return (
    <article class="device">
      <a class="back" href="#/">
        <Icon name="back" />
        {s.device.back}
      </a>
      {known && device ? <Charts device={device} /> : <Unknown id={id} />}
    </article>
  );
}

function Unknown({ id }: { id: string }) {
  return (
    <>
      <h1>{id}</h1>
      <p>{board.begun.value ? s.device.unknown(id) : s.connecting}</p>
    </>
  );
}

function Charts({ device }: { device: Device }) {
  const series = device.series.value;
  useEffect(() => {
    const since = edgeOf(device, Date.now()) - longest;
    backfill(device, since).then(
      () => painter.markAll(),
      () => undefined, // The charts begin with what has been seen.
    );
  }, [device, series.length]);
  useEffect(() => {
    document.title = `${device.id} · ${s.name}`;
    return () => {
      document.title = s.name;
      shrink(device);
      paused.value = false;
    };
  }, [device]);
  return (
    <>
      <div class="device-head">
        <h1>{device.id}</h1>
        <StateLine device={device} />
        <Controls device={device} />
      </div>
      <div class="panels">
        {series.map((x) => (
          <Panel key={`${x.kind} ${x.metric}`} device={device} series={x} />
        ))}
      </div>
    </>
  );
}

function Controls({ device }: { device: Device }) {
  return (
    <div class="controls">
      <fieldset class="segments">
        <legend class="visually-hidden">{s.device.window}</legend>
        {([1, 5, 15] as const).map((n) => (
          <label key={n}>
            <input
              type="radio"
              name="window"
              checked={minutes.value === n}
              onChange={() => {
                minutes.value = n;
                painter.markAll();
              }}
            />
            <span>{s.device.minutes(n)}</span>
          </label>
        ))}
      </fieldset>
      <button class="button pause" type="button" aria-keyshortcuts="Space" aria-pressed={paused.value} onClick={() => (paused.value = !paused.value)}>
        <Icon name={paused.value ? 'play' : 'pause'} />
        {paused.value ? s.device.resume : s.device.pause}
      </button>
      {paused.value && <Missed device={device} />}
    </div>
  );
}

/** How many readings have come since the charts were paused. */
function Missed({ device }: { device: Device }) {
  const count = useSignal(0);
  useEffect(() => {
    const before = device.readings;
    return everySecond(() => (count.value = device.readings - before));
  }, [device]);
  return <span class="missed">{s.device.paused(count.value)}</span>;
}
