import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { everySecond, view } from '../app.ts';
import { edgeOf, type Device } from '../data/board.ts';
import { rangeOf, type Preset } from '../data/view.ts';
import { textOf, write } from '../draw/cells.ts';
import { stretch } from '../draw/when.ts';
import type { Helm } from '../helm.ts';
import { s } from '../strings.ts';
import { Icon, type IconName } from './Icon.tsx';

const presets: readonly Preset[] = ['minutes', 'hour', 'day', 'week', 'month', 'year', 'all'];

/** Which stretch of time the charts show, and the ways to another one. */
export function Ranges({ helm }: { helm: Helm }) {
  const { preset, end } = view.value;
  return (
    <div class="ranges">
      <fieldset class="segments">
        <legend class="visually-hidden">{s.range.title}</legend>
        {presets.map((p) => (
          <label key={p}>
            <input type="radio" name="range" checked={preset === p && end === null} onClick={() => void helm.preset(p)} />
            <span>
              {s.range.presets[p].short}
              <span class="visually-hidden"> {s.range.presets[p].long}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <div class="turns">
        <Turn icon="back" name={s.range.earlier} keys="ArrowLeft" act={() => helm.turn(-0.5)} />
        <Turn icon="minus" name={s.range.out} keys="-" act={() => helm.step(2)} />
        <Turn icon="plus" name={s.range.in} keys="+" act={() => helm.step(0.5)} />
        <Turn icon="forth" name={s.range.later} keys="ArrowRight" disabled={end === null} act={() => helm.turn(0.5)} />
      </div>
      <Reach device={helm.device} />
      <LiveButton helm={helm} />
    </div>
  );
}

function Turn({ icon, name, keys, act, disabled = false }: { icon: IconName; name: string; keys: string; act: () => void; disabled?: boolean }) {
  return (
    <button class="tool" type="button" aria-label={name} title={name} aria-keyshortcuts={keys} disabled={disabled} onClick={act}>
      <Icon name={icon} />
    </button>
  );
}

/** From when to when. */
function Reach({ device }: { device: Device }) {
  const ref = useRef<HTMLParagraphElement>(null);
  const shown = view.value;
  useEffect(() => {
    const node = ref.current && textOf(ref.current);
    if (!node) return;
    const show = (): void => {
      const { from, to } = rangeOf(view.peek(), edgeOf(device, Date.now()));
      write(node, stretch(from, to));
    };
    show();
    return shown.end === null ? everySecond(show) : undefined;
  }, [device, shown]);
  return <p class="reach" ref={ref} />;
}

function LiveButton({ helm }: { helm: Helm }) {
  const isLive = view.value.end === null;
  return (
    <div class="go-live">
      {!isLive && <Missed device={helm.device} />}
      <button class={`button pause${isLive ? '' : ' primary'}`} type="button" aria-keyshortcuts={isLive ? 'Space' : '0'} onClick={() => helm.toggle()}>
        <Icon name={isLive ? 'pause' : 'play'} />
        {isLive ? s.range.pause : s.range.live}
      </button>
    </div>
  );
}

/** How many readings have come since the charts left now. */
function Missed({ device }: { device: Device }) {
  const count = useSignal(0);
  useEffect(() => {
    const before = device.readings;
    return everySecond(() => (count.value = device.readings - before));
  }, [device]);
  return <span class="missed">{count.value > 0 && s.range.missed(count.value)}</span>;
}
