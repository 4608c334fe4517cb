import { asError, StatusError, withQuery, type Carrier, type Request, type Sink, type Start } from './carrier.ts';
import { parseMessage } from './wire.ts';

/** Longest line that is kept while it is incomplete, in characters: a frame of the server is far below. */
const maxLine = 16 << 20;

/** Server-sent events, read through fetch so that the heartbeat comments are seen too. */
export const startSSE: Start = (request, sink) => {
  let data = '';
  return startStream(request, sink, 'text/event-stream', (line) => {
    if (line === '') {
      const text = data;
      data = '';
      return text;
    }
    if (line.startsWith('data:')) data += (data && '\n') + line.slice(line[5] === ' ' ? 6 : 5);
    return '';
  });
};

/** One JSON object a line; empty lines are heartbeats. */
export const startNDJSON: Start = (request, sink) => startStream(request, sink, 'application/x-ndjson', (line) => line);

/** Reads a response without end line by line. take returns a message's text, or '' when the line completes none. */
function startStream(request: Request, sink: Sink, accept: string, take: (line: string) => string): Carrier {
  const abort = new AbortController();
  const run = async (): Promise<void> => {
    const url = withQuery(request.url, { after: request.cursor() });
    const response = await request.env.fetch(url, {
      headers: { Accept: accept },
      cache: 'no-store',
      signal: abort.signal,
    });
    if (!response.ok) throw new StatusError(response.status, `${response.status} ${response.statusText}`);
    if (!response.headers.get('Content-Type')?.startsWith(accept) || !response.body) throw new Error('not a stream');
    sink.open();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (abort.signal.aborted) return;
      if (done) throw new Error('stream ended');
      sink.alive();
      const lines = (rest + value).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > maxLine) throw new Error('line too long');
      for (const line of lines) {
        const text = take(line.endsWith('\r') ? line.slice(0, -1) : line);
        const message = text === '' ? null : parseMessage(text);
        if (message) sink.message(message);
        if (abort.signal.aborted) return;
      }
    }
  };
  run().catch((reason: unknown) => {
    if (abort.signal.aborted) return;
    abort.abort();
    sink.end(asError(reason));
  });
  return { close: () => abort.abort() };
}
