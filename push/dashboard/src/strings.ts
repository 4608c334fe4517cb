import type { Technique } from './transport/carrier.ts';

const techniques: Record<Technique, string> = {
  websocket: 'WebSocket',
  sse: 'Server-sent events',
  stream: 'HTTP streaming',
  longpoll: 'Long polling',
  poll: 'Polling',
};

/** Everything the page says, in one place, so that another language is another object of this type. */
export const en = {
  name: 'Naru',
  devices: (n: number) => (n === 1 ? '1 device' : `${n} devices`),
  perSecond: 'readings/s',
  search: 'Search devices and metrics',
  noMatch: (query: string) => `Nothing matches “${query}”.`,
  clearSearch: 'Clear search',
  more: (n: number) => `Show ${n} more`,
  moreMetrics: (n: number) => (n === 1 ? '1 more metric' : `${n} more metrics`),
  connecting: 'Connecting…',

  live: 'Live',
  stale: 'Stale',
  isNew: 'new',
  every: (interval: string) => `every ${interval}`,
  nowStale: (id: string) => `${id} is stale: no reading for longer than usual`,
  nowLive: (id: string) => `${id} is live again`,
  manyStale: (n: number) => `${n} devices are stale`,
  manyLive: (n: number) => `${n} devices are live again`,

  age: {
    now: 'now',
    ago: (t: string) => `${t} ago`,
    seconds: (n: number) => `${n} s`,
    minutes: (n: number) => `${n} min`,
    hours: (n: number) => `${n} h`,
    days: (n: number) => `${n} d`,
    milliseconds: (n: number) => `${n} ms`,
  },

  link: {
    techniques,
    live: (t: Technique) => (t === 'longpoll' || t === 'poll' ? techniques[t] : `Live · ${techniques[t]}`),
    waiting: (seconds: number) => `Reconnecting in ${seconds} s`,
    trying: 'Reconnecting…',
    unauthorized: 'No access',
    closed: 'Closed',
    title: 'Connection',
    technique: 'Technique',
    cursor: 'Cursor',
    reconnects: 'Reconnects',
    readings: 'Readings received',
    lastError: 'Last interruption',
    choose: 'Use',
    auto: 'Whatever works best',
    retry: 'Try now',
  },

  token: {
    title: 'This page needs the access token',
    text: 'Naru answers other computers only with its token. Open the link that the server printed when it started, or paste the token here.',
    label: 'Access token',
    open: 'Open',
  },

  device: {
    back: 'All devices',
    table: 'Table',
    chart: 'Chart',
    min: 'min',
    avg: 'avg',
    max: 'max',
    time: 'Time',
    value: 'Value',
    chartOf: (metric: string) => `Chart of ${metric}; the button “Table” shows the same as text`,
    stripOf: (metric: string) => `Timeline of ${metric}; the button “Table” shows the same as text`,
    unknown: (id: string) => `No reading of ${id} yet. It appears here with its first one.`,
    noCharts: 'The charts could not be loaded. Reload the page to try again.',
    newest: 'Newest readings first',
  },

  range: {
    title: 'Stretch of time',
    presets: {
      minutes: { short: '5 min', long: 'last 5 minutes' },
      hour: { short: '1 h', long: 'last hour' },
      day: { short: '1 d', long: 'last day' },
      week: { short: '1 w', long: 'last week' },
      month: { short: '30 d', long: 'last 30 days' },
      year: { short: '1 y', long: 'last year' },
      all: { short: 'all', long: 'readings' },
    },
    earlier: 'Earlier',
    later: 'Later',
    in: 'Zoom in',
    out: 'Zoom out',
    pause: 'Pause',
    live: 'Live',
    missed: (n: number) => `${n} new`,
    each: (step: string) => `${step} each: min · avg · max`,
    every: 'every reading',
    changes: 'every change',
    share: (step: string) => `${step} each: how long it was on`,
    on: (percent: string) => `on ${percent} %`,
    partial: 'only the newest: there are too many to load',
    none: 'No readings in this range',
    newest: 'Jump to the newest',
    loading: 'Loading…',
    failed: 'Not loaded yet',
    trouble: 'The past could not be loaded. It is tried again.',
    offline: 'No connection: what you see may not be all. It is loaded as soon as the server answers.',
  },

  storage: {
    full: 'The disk is full: readings are shown but not kept.',
    failing: 'The disk takes nothing: readings are shown but may not be kept.',
  },

  empty: {
    title: 'Waiting for your first reading',
    lead: 'Send one from any machine in this network. It appears here the moment it lands.',
    address: 'Address',
    leadHere: 'Send one from this machine, the only one that this server listens to. It appears here the moment it lands.',
    copy: 'Copy',
    copied: 'Copied',
    copyFailed: 'Select and copy by hand',
    tabs: 'Ways to send a reading',
    tabUDP: 'nc · UDP',
    tabTCP: 'nc · TCP, JSON',
    esphomeNote: 'Goes under any sensor; the address must be IPv4.',
  },

  refused: {
    title: 'Refused',
    lead: 'What arrived but could not be taken, newest first.',
    none: 'Nothing was refused.',
    unavailable: 'The server does not tell.',
    times: (n: number) => `${n} times`,
    bytes: (n: number) => (n === 1 ? '1 byte' : `${n} bytes`),
    from: (remote: string) => `from ${remote}`,
    binary: 'binary, base64',
    comma: 'Is this a decimal comma? Numbers take a point: 21.5',
  },

  theme: { auto: 'Theme: like the system', light: 'Theme: light', dark: 'Theme: dark' },
  close: 'Close',
  help: {
    title: 'Keyboard',
    keys: [
      ['/', 'Search'],
      ['j k', 'Next, previous device'],
      ['Enter', 'Open the device'],
      ['← →', 'Earlier, later'],
      ['+ −', 'Zoom in, out'],
      ['0', 'Back to live'],
      ['Space', 'Pause the charts, or go on'],
      ['Esc', 'Back, or clear the search'],
      ['?', 'This help'],
    ] as const,
  },
};

export type Strings = typeof en;

export const s: Strings = en;
