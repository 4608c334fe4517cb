import type { Role } from './api.ts';
import { s } from './strings.ts';

/** Where a device sends to. */
export interface Target {
  address: string;
  udp: number;
  tcp: number;
}

export interface Snippet {
  id: string;
  label: string;
  code: string;
  note?: string;
}

const line = 'climate,device=my-sensor temp=21.5';
const json = '{"device":"my-sensor","temp":21.5}';

/** Ready-made senders for the most usual devices, with the server's real address. */
export function snippets(to: Target): Snippet[] {
  return [
    { id: 'udp', label: s.empty.tabUDP, code: `echo "${line}" | nc -u -w1 ${to.address} ${to.udp}` },
    { id: 'tcp', label: s.empty.tabTCP, code: `echo '${json}' | nc -w1 ${to.address} ${to.tcp}` },
    { id: 'python', label: 'Python', code: python(to) },
    { id: 'arduino', label: 'Arduino · ESP32', code: arduino(to) },
    { id: 'micropython', label: 'MicroPython', code: micropython(to) },
    { id: 'esphome', label: 'ESPHome', code: esphome(to), note: s.empty.esphomeNote },
  ];
}

function python(to: Target): string {
  return `import socket

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"${line}", ("${to.address}", ${to.udp}))`;
}

function arduino(to: Target): string {
  return `#include <WiFi.h>
#include <WiFiUdp.h>

WiFiUDP udp;

void setup() {
  WiFi.begin("network", "password");
  while (WiFi.status() != WL_CONNECTED) delay(100);
}

void loop() {
  udp.beginPacket("${to.address}", ${to.udp});
  udp.print("climate,device=my-sensor temp=");
  udp.print(21.5);
  udp.endPacket();
  delay(1000);
}`;
}

function micropython(to: Target): string {
  return `import socket, time

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
naru = socket.getaddrinfo("${to.address}", ${to.udp})[0][-1]
while True:
    s.sendto(b"${line}", naru)
    time.sleep(1)`;
}

function esphome(to: Target): string {
  return `udp:
  - id: naru
    port: ${to.udp}
    addresses: ["${to.address}"]

sensor:
  - platform: internal_temperature
    name: temp
    on_value:
      - udp.write:
          id: naru
          data: !lambda |-
            auto line = str_sprintf("climate,device=my-sensor temp=%.2f", x);
            return std::vector<uint8_t>(line.begin(), line.end());`;
}

/** Ways to use an access token at the gateway's address. */
export function accessSnippets(role: Role, address: URL, token: string): Snippet[] {
  const auth = `-H 'Authorization: Bearer ${token}'`;
  const base = address.href.replace(/\/$/, '');
  if (role !== 'writer') {
    return [
      { id: 'watch', label: s.given.watch, code: `naru watch --url ${base} --token ${token}` },
      { id: 'events', label: s.given.events, code: `curl -N ${auth} -H 'Accept: text/event-stream' '${base}/api/v1/live?last=1'` },
    ];
  }
  return [
    { id: 'write', label: s.given.write, code: `curl ${auth} --data-binary '${line}' ${base}/api/v1/write` },
    { id: 'telegraf', label: 'Telegraf', code: telegraf(base, token) },
  ];
}

function telegraf(base: string, token: string): string {
  return `[[outputs.influxdb_v2]]
  urls = ["${base}"]
  token = "${token}"
  organization = "home"
  bucket = "telegraf"`;
}
