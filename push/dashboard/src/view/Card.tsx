import { useRef } from 'preact/hooks';
import { titleOf, type Device } from '../data/board.ts';
import type { Series } from '../data/series.ts';
import { AgeCell, MetricCell } from '../draw/cells.ts';
import { deviceHref } from '../place.ts';
import { s } from '../strings.ts';
import { useCell } from './useCell.ts';

/** Metrics that a card shows; the device's own page has all of them. */
const most = 6;

export function Card({ device }: { device: Device }) {
  const all = device.series.value;
  const shown = all.length > most ? all.slice(0, most - 1) : all;
  const rest = all.length - shown.length;
  return (
    <li class={`card ${device.state.value}`} data-device={device.id}>
      <div class="card-head">
        <h2>
          <a class="card-link" href={deviceHref(device.id)}>
            {titleOf(device)}
          </a>
          {device.name.value && <span class="card-id">{device.id}</span>}
          {device.isNew.value && <span class="new">{s.isNew}</span>}
        </h2>
        <StateLine device={device} />
      </div>
      <ul class="metrics">
        {shown.map((x) => (
          <Metric key={`${x.kind} ${x.metric}`} device={device} series={x} />
        ))}
      </ul>
      {all.length === 0 && <p class="rest">{s.device.silent}</p>}
      {rest > 0 && <p class="rest">{s.moreMetrics(rest)}</p>}
    </li>
  );
}

/** State as a shape, a word and an age. */
export function StateLine({ device }: { device: Device }) {
  const ref = useRef<HTMLSpanElement>(null);
  useCell(() => ref.current && new AgeCell(ref.current, device), device.cells, device);
  return (
    <p class={`state ${device.state.value}`}>
      <span class="dot" aria-hidden="true" />
      <span class="state-word">{s.states[device.state.value]}</span>
      <span class="age" ref={ref} />
    </p>
  );
}

function Metric({ device, series }: { device: Device; series: Series }) {
  const row = useRef<HTMLLIElement>(null);
  const value = useRef<HTMLSpanElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  useCell(
    () =>
      row.current && value.current && canvas.current
        ? new MetricCell(row.current, value.current, canvas.current, device, series)
        : null,
    series.cells,
    series,
  );
  return (
    <li class="metric" data-kind={series.kind} ref={row} data-metric={series.metric}>
      <span class="metric-name">{name(series.metric)}</span>
      <canvas class="spark" ref={canvas} aria-hidden="true" />
      <span class="value" ref={value} />
    </li>
  );
}

/** The metric with room to break after a dot, and its tags apart. */
export function name(metric: string) {
  const brace = metric.indexOf('{');
  const plain = brace < 0 ? metric : metric.slice(0, brace);
  const dot = plain.lastIndexOf('.') + 1;
  return (
    <>
      {dot > 0 && <span class="prefix">{plain.slice(0, dot)}</span>}
      <wbr />
      {plain.slice(dot)}
      {brace >= 0 && <span class="tags"> {metric.slice(brace + 1, -1)}</span>}
    </>
  );
}
