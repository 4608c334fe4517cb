import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { minutes, painter, paused } from '../app.ts';
import type { Device } from '../data/board.ts';
import type { Series } from '../data/series.ts';
import { textOf, ValueCell, write } from '../draw/cells.ts';
import { TableCell, TimelineCell } from '../draw/timeline.ts';
import { s } from '../strings.ts';
import { name } from './Card.tsx';
import { Icon } from './Icon.tsx';
import { useCell } from './useCell.ts';

const length = (): number => minutes.peek() * 60_000;
const isPaused = (): boolean => paused.peek();

interface Props {
  device: Device;
  series: Series;
}

/** One metric on its device's page: newest value and chart, or the same as a table. */
export function Panel({ device, series }: Props) {
  const table = useSignal(false);
  const value = useRef<HTMLSpanElement>(null);
  useCell(() => value.current && new ValueCell(value.current, series), series.cells, series);
  return (
    <section class="panel" data-kind={series.kind} data-metric={series.metric}>
      <div class="panel-head">
        <h2>{name(series.metric)}</h2>
        <span class="value" ref={value} />
      </div>
      {table.value ? <Table series={series} /> : series.kind === 'number' ? <Chart device={device} series={series} /> : <Strip device={device} series={series} />}
      <button class="tool small" type="button" onClick={() => (table.value = !table.value)}>
        <Icon name={table.value ? 'chart' : 'table'} />
        {table.value ? s.device.chart : s.device.table}
        <span class="visually-hidden"> {series.metric}</span>
      </button>
    </section>
  );
}

function Chart({ device, series }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const figures = useRef<HTMLParagraphElement>(null);
  const failed = useSignal(false);
  useEffect(() => {
    let over = false;
    let end = (): void => undefined;
    import('../draw/chart.ts').then(
      ({ ChartCell }) => {
        if (over || !box.current || !figures.current) return;
        const text = textOf(figures.current);
        let range = '';
        const cell = new ChartCell(box.current, {
          device,
          series,
          length,
          paused: isPaused,
          onPoint: (at) => write(text, at || range),
          onFigures: (f) => {
            const before = range;
            range = f ? `${s.device.min} ${f.min}   ${s.device.avg} ${f.avg}   ${s.device.max} ${f.max}` : '';
            if (text.data === before) write(text, range);
          },
        });
        series.cells.add(cell);
        painter.add(cell);
        end = () => {
          series.cells.delete(cell);
          painter.remove(cell);
          cell.destroy();
        };
      },
      () => (failed.value = true),
    );
    return () => {
      over = true;
      end();
    };
  }, [device, series]);
  if (failed.value) return <p class="note">{s.device.noChart}</p>;
  return (
    <>
      <div class="chart" ref={box} role="img" aria-label={s.device.chartOf(series.metric)} />
      <p class="figures" ref={figures} />
    </>
  );
}

function Strip({ device, series }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useCell(() => canvas.current && new TimelineCell(canvas.current, device, series, length, isPaused), series.cells, series);
  return (
    <>
      <canvas class="strip" ref={canvas} role="img" aria-label={s.device.stripOf(series.metric)} />
      <p class="strip-ends" aria-hidden="true">
        <span>{s.age.ago(s.age.minutes(minutes.value))}</span>
        <span>{s.age.now}</span>
      </p>
    </>
  );
}

function Table({ series }: { series: Series }) {
  const body = useRef<HTMLTableSectionElement>(null);
  useCell(() => body.current && new TableCell(body.current, series, isPaused), series.cells, series);
  return (
    <div class="table" tabIndex={0} role="region" aria-label={`${series.metric}: ${s.device.newest}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">{s.device.time}</th>
            <th scope="col">{s.device.value}</th>
          </tr>
        </thead>
        <tbody ref={body} />
      </table>
    </div>
  );
}
