// Prints every reading as a line, each once, and goes on where it was when it is
// started again.
//
//     curl -o naru.mjs http://127.0.0.1:7780/client/naru.js
//     node watch.mjs http://127.0.0.1:7780 'greenhouse*'
//
// The address may be an access link.

import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from './naru.mjs';

const [url = 'http://127.0.0.1:7780', device = '*'] = process.argv.slice(2);
const file = 'naru.cursor';

let cursor = read();
let kept = cursor;

const naru = connect(url);
naru.readings(
  { device, last: 1, after: cursor },
  (reading, info) => {
    console.log(new Date(reading.time).toISOString(), reading.device, reading.metric, reading.value);
    cursor = info.cursor;
  },
  {
    state: (s) => console.error(s.phase, s.technique ?? s.error),
    gap: (g) => console.error('missing:', g.reason),
    reset: (r) => console.error('another store:', r.reason),
  },
);

function read() {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined; // the first time: begin with the newest of each series
  }
}

function keep() {
  if (cursor !== kept) writeFileSync(file, cursor);
  kept = cursor;
}

const timer = setInterval(keep, 1000);
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    naru.close();
    clearInterval(timer);
    keep();
  });
}
