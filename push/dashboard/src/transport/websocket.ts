import { asError, withQuery, type Carrier, type Request, type Sink } from './carrier.ts';
import { parseMessage } from './wire.ts';

/** One WebSocket, from the cursor on. The server's pings are answered by the browser and not seen here. */
export function startWebSocket(request: Request, sink: Sink): Carrier {
  const url = withQuery(request.url, { after: request.cursor() });
  url.protocol = url.protocol.replace('http', 'ws');
  const socket = new request.env.WebSocket(url);
  let done = false;

  const stop = (reason?: Error): void => {
    if (done) return;
    done = true;
    socket.close();
    if (reason) sink.end(reason);
  };
  socket.onopen = () => {
    if (!done) sink.open();
  };
  socket.onmessage = (event: MessageEvent<unknown>) => {
    if (done) return;
    sink.alive();
    try {
      const message = parseMessage(String(event.data));
      if (message) sink.message(message);
    } catch (reason) {
      stop(asError(reason));
    }
  };
  socket.onerror = () => stop(new Error('WebSocket failed'));
  socket.onclose = (event) => stop(new Error(`WebSocket closed (${event.code})`));
  return { close: () => stop() };
}
