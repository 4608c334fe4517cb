/** A canvas in CSS pixels, as sharp as the screen. */
export interface Surface {
  context: CanvasRenderingContext2D;
  width: number;
  height: number;
}

const sizes = new WeakMap<HTMLCanvasElement, { width: number; height: number }>();

/** Tells the size of a canvas on the page, in CSS pixels, so that painting need not ask the layout for it. */
export function resized(canvas: HTMLCanvasElement, width: number, height: number): void {
  sizes.set(canvas, { width, height });
}

export function widthOf(canvas: HTMLCanvasElement): number {
  return sizes.get(canvas)?.width ?? 0;
}

/** Makes the canvas fit its place on the page and clears it; null while it has no size. */
export function surface(canvas: HTMLCanvasElement): Surface | null {
  const context = canvas.getContext('2d');
  const { width, height } = sizes.get(canvas) ?? { width: canvas.clientWidth, height: canvas.clientHeight };
  if (!context || width === 0 || height === 0) return null;
  const ratio = devicePixelRatio || 1;
  const w = Math.round(width * ratio);
  const h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}
