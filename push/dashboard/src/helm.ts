import { stored } from './api.ts';
import { painter, view } from './app.ts';
import { edgeOf, type Device } from './data/board.ts';
import { Past } from './data/past.ts';
import { cardCapacity } from './data/series.ts';
import { frozen, lengths, live, panned, Trail, viewOf, zoomed, type Preset, type Range, type View } from './data/view.ts';
import type { Moves } from './draw/gestures.ts';

/** Room that the newest reading has behind it when one jumps to it, as a part of the length. */
const behind = 0.05;

/** Helm steers what the charts of a device show, and has its past. */
export class Helm implements Moves {
  readonly device: Device;
  readonly past: Past;
  readonly #trail = new Trail();

  constructor(device: Device) {
    this.device = device;
    this.past = new Past(device, stored, () => painter.refreshAll());
  }

  /** Gives the room back; the next device begins live. */
  close(): void {
    this.past.close();
    for (const s of this.device.byMetric.values()) s.ring.resize(cardCapacity);
    view.value = live(view.peek());
  }

  begin(): void {
    this.#trail.leave(view.peek());
  }

  to(range: Range): void {
    this.#set(viewOf(range, this.#edge));
  }

  zoom(factor: number, at: number): void {
    this.#set(zoomed(view.peek(), this.#edge, factor, at));
  }

  pan(by: number): void {
    this.#set(panned(view.peek(), this.#edge, by));
  }

  back(): void {
    this.#set(this.#trail.back());
  }

  /** Zooms in steps: around now while it is live, else around the middle. */
  step(factor: number): void {
    this.begin();
    this.zoom(factor, view.peek().end === null ? 1 : 0.5);
  }

  turn(by: number): void {
    this.begin();
    this.pan(by);
  }

  /** The last hour, day and so on, up to now. */
  async preset(preset: Preset): Promise<void> {
    this.begin();
    if (preset !== 'all') {
      this.#set({ length: lengths[preset], end: null, preset });
      return;
    }
    const oldest = await this.past.oldest();
    if (Number.isNaN(oldest)) return;
    this.#set({ ...viewOf({ from: oldest, to: this.#edge }, this.#edge), preset });
  }

  live(): void {
    this.#trail.clear();
    this.#set(live(view.peek()));
  }

  /** Stops the charts where they are, or lets them go on with now. */
  toggle(): void {
    if (view.peek().end === null) this.#set(frozen(view.peek(), this.#edge));
    else this.live();
  }

  /** To the newest reading, however long ago that was. */
  newest(): void {
    this.begin();
    const { length } = view.peek();
    const to = this.device.lastTime + behind * length;
    this.to({ from: to - length, to });
  }

  get #edge(): number {
    return edgeOf(this.device, Date.now());
  }

  #set(v: View): void {
    view.value = v;
    this.past.moved();
    painter.hurry();
  }
}
