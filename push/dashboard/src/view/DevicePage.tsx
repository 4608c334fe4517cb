import { useComputed } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { board, helm as steered, link, place } from '../app.ts';
import { titleOf, type Device } from '../data/board.ts';
import type { Series } from '../data/series.ts';
import { Helm } from '../helm.ts';
import { waiting } from '../lobby.ts';
import { deviceHref, sections, type Section } from '../place.ts';
import { isAdmin, session } from '../session.ts';
import { s } from '../strings.ts';
import { Access } from './Access.tsx';
import { AdminsOnly } from './AdminsOnly.tsx';
import { StateLine } from './Card.tsx';
import { Commands } from './Commands.tsx';
import { Facts } from './Facts.tsx';
import { Icon } from './Icon.tsx';
import { Panel } from './Panel.tsx';
import { Ranges } from './Ranges.tsx';
import { WaitingDevice } from './Waiting.tsx';

export function DevicePage({ id }: { id: string }) {
  const device = board.devices.value.find((d) => d.id === id);
  const section = place.value.page === 'device' ? place.value.section : 'charts';
  const title = device ? titleOf(device) : id;
  useEffect(() => {
    document.title = `${title} · ${s.name}`;
    return () => {
      document.title = s.name;
    };
  }, [title]);
  return (
    <article class="device">
      <a class="back" href="#/">
        <Icon name="back" />
        {s.device.back}
      </a>
      <div class="device-head">
        <h1>{title}</h1>
        {title !== id && <code class="device-id">{id}</code>}
        {device && <StateLine device={device} />}
        {isAdmin.value && <Parts id={id} open={section} />}
      </div>
      {device && <Facts device={device} />}
      {section === 'charts' && <ChartsPart id={id} device={device} />}
      {section !== 'charts' && <AdminsPart id={id} device={device} section={section} />}
    </article>
  );
}

/** The parts that are for admins. */
function AdminsPart({ id, device, section }: { id: string; device: Device | undefined; section: Section }) {
  if (session.value === null) return <p class="connecting">{s.connecting}</p>;
  if (!isAdmin.value) return <AdminsOnly />;
  return section === 'commands' ? <Commands id={id} device={device} /> : <Access id={id} device={device} />;
}

/** The ways to the parts of the page. */
function Parts({ id, open }: { id: string; open: Section }) {
  return (
    <nav class="segments parts" aria-label={s.device.parts}>
      {sections.map((x) => (
        <a key={x} href={deviceHref(id, x)} aria-current={x === open ? 'page' : undefined}>
          {s.device.sections[x]}
        </a>
      ))}
    </nav>
  );
}

function ChartsPart({ id, device }: { id: string; device: Device | undefined }) {
  const waits = waiting.value.find((w) => w.id === id);
  if (device && device.series.value.length > 0) return <Charts device={device} />;
  if (waits) {
    return (
      <div class="waiting-list">
        <p>{s.device.waiting}</p>
        <WaitingDevice device={waits} />
      </div>
    );
  }
  return <p>{board.begun.value ? s.device.unknown(id) : s.connecting}</p>;
}

function Charts({ device }: { device: Device }) {
  const helm = useMemo(() => new Helm(device), [device]);
  useEffect(() => {
    steered.value = helm;
    return () => {
      steered.value = null;
      helm.close();
    };
  }, [helm]);
  return (
    <>
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
