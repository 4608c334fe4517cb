// Does with socket.io what the gateway does in the benchmarks: it takes readings in line
// protocol over UDP, and sends each as an event to the room of its device.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const receiveBuffer = 4 << 20; // what the kernel may keep of datagrams that are not read yet

const http = createServer();
const io = new Server(http);
io.on('connection', (socket) => {
  socket.on('join', (device, done) => {
    socket.join(device);
    done();
  });
});

let offset = 0;
const udp = createSocket({ type: 'udp4', recvBufferSize: receiveBuffer });
udp.on('message', (datagram) => {
  const reading = /^(\w+),device=(\w+) (\w+)=(\d+)i$/.exec(datagram.toString('latin1'));
  if (!reading) throw new Error(`not a reading: ${datagram}`);
  const [, measurement, device, field, value] = reading;
  offset++;
  io.to(device).emit('reading', { offset, device, metric: `${measurement}.${field}`, time: Date.now(), value: Number(value) });
});

http.listen(0, '127.0.0.1');
udp.bind(0, '127.0.0.1');
await Promise.all([once(http, 'listening'), once(udp, 'listening')]);
writeFileSync(process.argv[2], JSON.stringify({ http: `127.0.0.1:${http.address().port}`, udp: `127.0.0.1:${udp.address().port}` }));
