#!/usr/bin/env python3
"""A device in Python, standard library only: a reading every few seconds as JSON over UDP,
sent again until the gateway has acknowledged it, and commands from its answers.

    python3 udp.py 192.168.1.20 greenhouse-1 [--token TOKEN] [--port 7700] [--interval 10]
    naru device command greenhouse-1 relay true --wait
"""

import argparse
import json
import math
import socket
import sys
import time


def measure():
    """Stands for your sensor."""
    return round(21.5 + math.sin(time.time() / 60), 2)


class Device:
    def __init__(self, sock, name, token):
        self.sock, self.name, self.token = sock, name, token
        self.seq = int(time.time() * 1000)  # grows over restarts
        self.relay = False
        self.last_id = 0  # of the last command: it is told again until its outcome has come
        self.outcome = None
        self.untold = False  # the gateway has not acknowledged the outcome

    def obey(self, command):
        """Carries out a command, once, and has its outcome told."""
        self.untold = True
        if command["id"] == self.last_id:
            return
        self.last_id = command["id"]
        if command["name"] == "relay":
            self.relay = bool(command.get("value"))
            self.outcome = f"{self.last_id} {'on' if self.relay else 'off'}"
        else:
            self.outcome = f"{self.last_id} error: unknown command"

    def answer(self, seq, wait):
        """Returns the answer to the message with this number, or None when the wait is over."""
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                answer = json.loads(self.sock.recv(4096))
            except (OSError, ValueError):  # nothing came, or nobody listens, or it is none
                time.sleep(0.01)
                continue
            if seq in (answer.get("ack"), answer.get("seq")):
                return answer
        return None

    def send(self, readings):
        """Sends readings until they are stored or refused; False when no answer came."""
        self.seq += 1
        message = {"device": self.name, "seq": self.seq, "ack": True, **readings}
        if self.token:
            message["token"] = self.token
        if self.untold:
            message["outcome"] = self.outcome
        payload = json.dumps(message).encode()
        for wait in 1, 2, 4, 8, 16, 32:
            try:
                self.sock.send(payload)
            except OSError:  # one that cannot leave is like one that is lost
                pass
            answer = self.answer(self.seq, wait)
            if answer is None:
                continue
            if "ack" in answer:
                self.untold = False
            else:
                print("refused:", answer["error"], file=sys.stderr)
            if "command" in answer:
                self.obey(answer["command"])
            return True
        return False


def main():
    p = argparse.ArgumentParser()
    p.add_argument("host")
    p.add_argument("device")
    p.add_argument("--port", type=int, default=7700)
    p.add_argument("--token")
    p.add_argument("--interval", type=float, default=10, help="seconds")
    args = p.parse_args()
    family, kind, _, _, address = socket.getaddrinfo(args.host, args.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as sock:
        sock.connect(address)
        device = Device(sock, args.device, args.token)
        while True:
            if not device.send({"temp": measure(), "relay": device.relay}):
                print("no answer", file=sys.stderr)
            time.sleep(args.interval)


if __name__ == "__main__":
    main()
