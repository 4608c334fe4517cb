import { useComputed } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { board, helm as steered, link } from '../app.ts';
import type { Device } from '../data/board.ts';
import type { Series } from '../data/series.ts';
import { Helm } from '../helm.ts';
import { s } from '../strings.ts';
import { StateLine } from './Card.tsx';
import { Icon } from './Icon.tsx';
import { Panel } from './Panel.tsx';
import { Ranges } from './Ranges.tsx';

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
  const helm = useMemo(() => new Helm(device), [device]);
  useEffect(() => {
    steered.value = helm;
    document.title = `${device.id} · ${s.name}`;
    return () => {
      document.title = s.name;
      steered.value = null;
      helm.close();
    };
  }, [helm]);
  return (
    <>
      <div class="device-head">
        <h1>{device.id}</h1>
        <StateLine device={device} />
      </div>
      <Ranges helm={helm} />
      <Trouble helm={helm} />
      <div class="panels" aria-busy={helm.past.busy}>
        {inOrder(device.series.value).map((x) => (
          <Panel key={`${x.kind} ${x.metric}`} helm={helm} series={x} />
        ))}
      </div>
    </>
  );
}

/** Charts before the lower strips, so that the rows fill. */
function inOrder(series: readonly Series[]): Series[] {
  const isChart = (x: Series): boolean => x.kind === 'number';
  return [...series.filter(isChart), ...series.filter((x) => !isChart(x))];
}

/** Says that the past cannot be had, and tries again when the connection is back. */
function Trouble({ helm }: { helm: Helm }) {
  const isLive = useComputed(() => link.state.value.phase === 'live');
  useEffect(() => {
    if (isLive.value) helm.past.retry();
  }, [helm, isLive.value]);
  const why = helm.past.trouble.value;
  return (
    <div role="status">
      {why !== '' && (
        <p class="notice">
          <Icon name="warning" />
          {isLive.value ? (
            <span>
              {s.range.trouble} <span class="detail">{why}</span>
            </span>
          ) : (
            <span>{s.range.offline}</span>
          )}
        </p>
      )}
    </div>
  );
}
