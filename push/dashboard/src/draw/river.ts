import { surface } from './canvas.ts';
import { palette } from './palette.ts';

/** Seconds that the river shows. */
const shown = 120;

/** River is the stream of all readings as water: how many came in each of the last two minutes' seconds. */
export class River {
  readonly #rates = new Float64Array(shown);
  #at = 0;

  /** Takes the readings of one more second. */
  flow(rate: number): void {
    this.#rates[this.#at] = rate;
    this.#at = (this.#at + 1) % shown;
  }

  paint(canvas: HTMLCanvasElement): void {
    const area = surface(canvas);
    if (!area) return;
    const { context: c, width, height } = area;
    let most = 1;
    for (const r of this.#rates) if (r > most) most = r;
    const x = (i: number): number => (i / (shown - 1)) * width;
    const rate = (i: number): number => this.#rates[(this.#at + Math.min(shown - 1, Math.max(0, i))) % shown] as number;
    const y = (i: number): number => {
      const calm = (rate(i - 1) + 2 * rate(i) + rate(i + 1)) / 4;
      return height - 2 - (calm / most) * (height - 6);
    };
    c.beginPath();
    c.moveTo(0, y(0));
    for (let i = 1; i < shown; i++) {
      const middle = (x(i - 1) + x(i)) / 2;
      c.bezierCurveTo(middle, y(i - 1), middle, y(i), x(i), y(i));
    }
    c.strokeStyle = palette().water;
    c.lineWidth = 1.25;
    c.stroke();
    c.lineTo(width, height);
    c.lineTo(0, height);
    c.closePath();
    c.fillStyle = palette().shallow;
    c.fill();
  }
}
