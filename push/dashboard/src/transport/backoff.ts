/** Waiting times that double from first to most, in milliseconds, half of each by chance. */
export interface Backoff {
  first: number;
  most: number;
}

/** Between tries to reach the gateway. */
export const reconnect: Backoff = { first: 500, most: 15_000 };

/** How long to wait before trying again after `failures` failures in a row (from 1). */
export function delay(b: Backoff, failures: number, random: () => number): number {
  const whole = Math.min(b.most, b.first * 2 ** Math.max(0, failures - 1));
  return whole / 2 + (random() * whole) / 2;
}
