import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** A network between client and program: it can be off, and refuse or swallow WebSockets. */
export class Network {
  #server = createServer((socket) => this.#open(socket));
  #naru;
  #pairs = new Set();
  #on = true;
  webSockets = 'pass';
  /** What the program is told as Host; '' leaves it. A name makes the client one from elsewhere, who needs a token. */
  host = '';

  static async start(naru) {
    const network = new Network();
    network.#naru = naru;
    network.#server.listen(0, '127.0.0.1');
    await once(network.#server, 'listening');
    return network;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  #open(socket) {
    socket.on('error', () => undefined);
    if (!this.#on) {
      socket.destroy();
      return;
    }
    const [host, port] = this.#naru.ports.http.split(':');
    let up = null;
    const pair = { end: () => [socket, up].forEach((s) => s?.destroy()) };
    this.#pairs.add(pair);
    socket.on('close', () => (this.#pairs.delete(pair), up?.destroy()));
    socket.on('data', (b) => {
      const upgrade = /transport=websocket.*\r\n/.test(b.toString('latin1'));
      if (upgrade && this.webSockets === 'hang') return;
      if (upgrade && this.webSockets === 'refuse') {
        socket.end('HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
        return;
      }
      if (!up) {
        up = connect(Number(port), host);
        up.on('error', () => socket.destroy());
        up.on('close', () => socket.destroy());
        up.pipe(socket);
      }
      up.write(this.host === '' ? b : named(b, this.host));
    });
  }

  off() {
    this.#on = false;
    for (const pair of this.#pairs) pair.end();
  }

  on() {
    this.#on = true;
  }

  close() {
    this.off();
    this.#server.close();
  }
}

/** What a client sends, with another Host in the requests. */
function named(b, host) {
  return Buffer.from(b.toString('latin1').replace(/\r\nHost: [^\r]*/i, `\r\nHost: ${host}`), 'latin1');
}
