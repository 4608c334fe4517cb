import { useSignal, type Signal } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { painter, view } from '../app.ts';
import type { Picture } from '../data/picture.ts';
import type { Kind, Series } from '../data/series.ts';
import { textOf, ValueCell, write } from '../draw/cells.ts';
import { ChartCell } from '../draw/chart.ts';
import { grain } from '../draw/format.ts';
import { TableCell, TimelineCell, type Sight } from '../draw/timeline.ts';
import type { Helm } from '../helm.ts';
import { s } from '../strings.ts';
import { name } from './Card.tsx';
import { Icon } from './Icon.tsx';
import { useCell } from './useCell.ts';

interface Props {
  helm: Helm;
  series: Series;
}

/** What stands in place of a picture that shows nothing. */
type Nothing = '' | 'loading' | 'none';

function nothing(picture: Picture, rows: number): Nothing {
  return rows > 0 ? '' : picture.whole ? 'none' : 'loading';
}

function closeness({ step, partial, times }: Picture, kind: Kind): string {
  if (times.length === 0) return '';
  if (partial) return s.range.partial;
  if (kind === 'state') return step === 0 ? s.range.changes : s.range.share(grain(step));
  return step === 0 ? s.range.every : s.range.each(grain(step));
}

/** One metric on its device's page: newest value and chart, or the same as a table. */
export function Panel({ helm, series }: Props) {
  const table = useSignal(false);
  const close = useSignal('');
  const empty = useSignal<Nothing>('');
  const value = useRef<HTMLSpanElement>(null);
  useCell(() => value.current && new ValueCell(value.current, series), series.cells, series);
  const figures = useRef<HTMLParagraphElement>(null);
  const props = { helm, series, close, empty, figures };
  return (
    <section class="panel" data-kind={series.kind} data-metric={series.metric}>
      <div class="panel-head">
        <h2>{name(series.metric)}</h2>
        <span class="value" ref={value} />
      </div>
      {table.value ? <Table {...props} /> : series.kind === 'number' ? <Chart {...props} /> : <Strip {...props} />}
      <div class="panel-foot">
        <div>
          <p class="figures" ref={figures} />
          <p class="grain">{close}</p>
        </div>
        <button class="tool small" type="button" onClick={() => (table.value = !table.value)}>
          <Icon name={table.value ? 'chart' : 'table'} />
          {table.value ? s.device.chart : s.device.table}
          <span class="visually-hidden"> {series.metric}</span>
        </button>
      </div>
    </section>
  );
}

interface Told extends Props {
  close: Signal<string>;
  empty: Signal<Nothing>;
  /** Where the figures of a chart stand. */
  figures: RefObject<HTMLParagraphElement | null>;
}

/** Says why there is nothing to see, and the way out. */
function Empty({ helm, empty }: Told) {
  if (empty.value === '') return null;
  const failed = helm.past.trouble.value !== '';
  return (
    <div class="nothing">
      <p>{empty.value === 'none' ? s.range.none : failed ? s.range.failed : s.range.loading}</p>
      {empty.value === 'none' && (
        <button class="button" type="button" onClick={() => helm.newest()}>
          {s.range.newest}
        </button>
      )}
    </div>
  );
}

function sightOf({ helm, series, close, empty }: Told): Sight {
  return {
    device: helm.device,
    series,
    past: helm.past,
    view: () => view.peek(),
    onPicture: (picture, rows) => {
      close.value = closeness(picture, series.kind);
      empty.value = nothing(picture, rows);
    },
  };
}

function Chart(props: Told) {
  const { helm, series, close, empty, figures } = props;
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!box.current || !figures.current) return;
    const text = textOf(figures.current);
    let all = '';
    const cell = new ChartCell(box.current, {
      device: helm.device,
      series,
      past: helm.past,
      view: () => view.peek(),
      moves: helm,
      onPoint: (at) => write(text, at || all),
      onFigures: (f, picture) => {
        const before = all;
        all = f ? `${s.device.min} ${f.min}   ${s.device.avg} ${f.avg}   ${s.device.max} ${f.max}` : '';
        if (text.data === before) write(text, all);
        close.value = closeness(picture, series.kind);
        empty.value = nothing(picture, f ? 1 : 0);
      },
    });
    series.cells.add(cell);
    painter.add(cell);
    return () => {
      series.cells.delete(cell);
      painter.remove(cell);
      cell.destroy();
      write(text, '');
    };
  }, [helm, series]);
  return (
    <div class="plot">
      <div class="chart" ref={box} role="img" aria-label={s.device.chartOf(series.metric)} />
      <Empty {...props} />
    </div>
  );
}

function Strip(props: Told) {
  const { series } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  useCell(() => canvas.current && new TimelineCell(canvas.current, sightOf(props)), series.cells, series);
  return (
    <div class="plot">
      <canvas class="strip" ref={canvas} role="img" aria-label={s.device.stripOf(series.metric)} />
      <Empty {...props} />
    </div>
  );
}

function Table(props: Told) {
  const { series } = props;
  const body = useRef<HTMLTableSectionElement>(null);
  useCell(() => body.current && new TableCell(body.current, sightOf(props)), series.cells, series);
  return (
    <div class="table" tabIndex={0} role="region" aria-label={`${series.metric}: ${s.device.newest}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">{s.device.time}</th>
            <th scope="col">{s.device.value}</th>
            <th scope="col">
              {s.device.min} – {s.device.max}
            </th>
          </tr>
        </thead>
        <tbody ref={body} />
      </table>
      <Empty {...props} />
    </div>
  );
}
