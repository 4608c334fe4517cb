#!/usr/bin/env python3
"""A device in Python, standard library only: line protocol over TCP, or over TLS with --ca.
A line counts as sent when it is acknowledged; after a broken connection it goes out again.

    python3 tcp.py 192.168.1.20 greenhouse-1 [--port 7700] [--token TOKEN] [--interval 10]
    curl -O http://192.168.1.20:7780/api/v1/ca.crt    # over a way that you trust
    python3 tcp.py 192.168.1.20 greenhouse-1 --ca ca.crt --token TOKEN
"""

import argparse
import collections
import json
import math
import socket
import ssl
import sys
import time

WINDOW = 64  # lines that wait; of more than that the oldest are given up


def measure():
    """Stands for your sensor."""
    return round(21.5 + math.sin(time.time() / 60), 2)


def connect(args):
    """Opens a connection and says who this is, once for all that follows."""
    sock = socket.create_connection((args.host, args.port), timeout=30)
    if args.ca:
        sock = ssl.create_default_context(cafile=args.ca).wrap_socket(sock, server_hostname=args.host)
    if args.token:
        sock.sendall(json.dumps({"device": args.device, "token": args.token}).encode() + b"\n")
    return sock


def run(args, waiting):
    """Sends and takes answers until the connection breaks. Waiting is what has no answer yet, by seq."""
    with connect(args) as sock, sock.makefile("rb") as answers:
        for line in waiting.values():  # from before
            sock.sendall(line)
        while True:
            seq = int(time.time() * 1000)  # grows over restarts
            line = f"climate,device={args.device},seq={seq},ack=1 temp={measure()} {time.time_ns()}\n".encode()
            waiting[seq] = line
            while len(waiting) > WINDOW:
                waiting.popitem(last=False)
            sock.sendall(line)
            while seq in waiting:
                text = answers.readline()
                if not text:
                    raise ConnectionError("the gateway has closed the connection")
                answer = json.loads(text)
                if "error" in answer:
                    print("refused:", answer["error"], file=sys.stderr)
                waiting.pop(answer.get("ack", answer.get("seq")), None)
            time.sleep(args.interval)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("host")
    p.add_argument("device")
    p.add_argument("--port", type=int, default=7700)
    p.add_argument("--token")
    p.add_argument("--ca", help="file with the certificate of the gateway's authority; makes it TLS")
    p.add_argument("--interval", type=float, default=10, help="seconds")
    args = p.parse_args()
    waiting = collections.OrderedDict()
    pause = 1
    while True:
        began = time.monotonic()
        try:
            run(args, waiting)
        except OSError as e:  # also what TLS refuses
            print(e, file=sys.stderr)
        pause = 1 if time.monotonic() - began > 60 else min(2 * pause, 60)
        time.sleep(pause)


if __name__ == "__main__":
    main()
