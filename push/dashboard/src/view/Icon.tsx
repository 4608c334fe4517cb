const paths = {
  search: 'M7 12.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM11 11l4 4',
  inbox: 'M2 9.5 4 2.5h8l2 7v4H2v-4Zm0 0h3.5l1 2h3l1-2H14',
  light: 'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1',
  dark: 'M13.5 9.5A6 6 0 0 1 6.5 2.5 6 6 0 1 0 13.5 9.5Z',
  auto: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 2v12M8 5h4.5M8 8h6M8 11h4.5',
  keys: 'M1.5 4h13v8.5h-13V4ZM4 6.5h.01M6.7 6.5h.01M9.3 6.5h.01M12 6.5h.01M5 9.7h6',
  close: 'M3 3l10 10M13 3 3 13',
  back: 'M10 3 5 8l5 5',
  forth: 'M6 3l5 5-5 5',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  warning: 'M8 2 1.5 13.5h13L8 2ZM8 6.5v3.5M8 12h.01',
  pause: 'M5.5 3v10M10.5 3v10',
  play: 'M5 3l8 5-8 5V3Z',
  table: 'M2 3h12v10H2V3ZM2 6.5h12M2 9.7h12M6 3v10',
  clock: 'M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM8 4.5V8l2.5 1.5',
  check: 'M2.5 8.5 6 12l7.5-8',
  lock: 'M3.5 7h9v7h-9V7ZM5.5 7V4.7a2.5 2.5 0 0 1 5 0V7',
  unlock: 'M3.5 7h9v7h-9V7ZM5.5 7V4.2a2.5 2.5 0 0 1 4.8-.9',
  barred: 'M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM3.5 3.5l9 9',
  key: 'M5 14a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM7.2 8.8 14 2M11 5l2 2',
  person: 'M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM2.5 14.5c.4-3 2.5-4.5 5.5-4.5s5.1 1.5 5.5 4.5',
  eye: 'M1.5 8c1.5-2.8 3.7-4.2 6.5-4.2s5 1.4 6.5 4.2c-1.5 2.8-3.7 4.2-6.5 4.2S3 10.8 1.5 8ZM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z',
  pen: 'M2.5 13.5l.8-3.3 7.7-7.7 2.5 2.5-7.7 7.7-3.3.8ZM9.3 4.2l2.5 2.5',
  chart: 'M2 2v12h12M4.5 10l3-4 2.5 2.5L14 4',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
