'use strict';
const state = document.getElementById('state');
const body = document.getElementById('rows');
const rows = new Map();
const order = new Intl.Collator(undefined, { numeric: true });
const maxRows = 2000; // a browser stays quick up to here
let last = -1;

function add(reading) {
  const key = reading.device + '\n' + reading.metric;
  let row = rows.get(key);
  if (!row) {
    if (rows.size >= maxRows) return;
    row = { key, tr: document.createElement('tr') };
    for (const text of [reading.device, reading.metric, '', '']) row.tr.insertCell().textContent = text;
    rows.set(key, row);
    const next = [...body.rows].find((tr) => order.compare(tr.dataset.key, key) > 0);
    row.tr.dataset.key = key;
    body.insertBefore(row.tr, next ?? null);
  }
  row.time = reading.time;
  row.tr.cells[2].textContent = String(reading.value);
}

function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + ' s';
  return s < 3600 ? Math.floor(s / 60) + ' min' : Math.floor(s / 3600) + ' h';
}

function clear() {
  rows.clear();
  body.replaceChildren();
  last = -1;
}

const url = new URL('api/v1/live?last=1', document.baseURI);
const token = new URLSearchParams(location.search).get('token');
if (token) url.searchParams.set('token', token);
const live = new EventSource(url);
live.onopen = () => { state.textContent = 'Live · waiting for readings'; };
live.onerror = () => {
  state.textContent = live.readyState === EventSource.CLOSED ? 'The server refused; reload to try again' : 'Reconnecting…';
};
live.onmessage = (event) => {
  const message = JSON.parse(event.data);
  if (message.type === 'reset') clear();
  for (const reading of message.readings ?? []) {
    if (reading.offset <= last) continue;
    last = reading.offset;
    add(reading);
  }
  state.textContent = rows.size ? 'Live · ' + rows.size + ' series' : 'Live · waiting for readings';
};
setInterval(() => {
  const now = Date.now();
  for (const row of rows.values()) row.tr.cells[3].textContent = age(now - row.time);
}, 1000);
