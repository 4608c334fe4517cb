# Prints every reading as a line, each once, by Socket.IO.
#
#     apt install python3-socketio python3-requests python3-websocket
#     NARU_TOKEN=... python3 watch.py http://127.0.0.1:7780 'greenhouse*'
#
# The library calls each handler in a thread of its own: messages that come close
# together may change places. sse.py keeps the order.

import os
import sys
import threading

import socketio

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7780"
device = sys.argv[2] if len(sys.argv) > 2 else "*"
token = os.environ.get("NARU_TOKEN")

lock = threading.Lock()
at = {"last": 1}  # where to go on: first with the newest reading of each series
sio = socketio.Client()


def note(cursor):
    """Moves on to the cursor, if it is further in the same store or in another."""
    store, offset = cursor.rsplit("-", 1)
    before, furthest = at.get("after", "-0").rsplit("-", 1)
    if store != before or int(offset) > int(furthest):
        at["after"] = cursor


@sio.on("readings")
def readings(message, cursor):
    with lock:
        for r in message["readings"]:
            print(r["time"], r["device"], r["metric"], r["value"], flush=True)
        note(cursor)


@sio.on("gap")
@sio.on("reset")
def missing(message, cursor):
    with lock:
        print(message["type"] + ":", message["reason"], file=sys.stderr)
        note(cursor)


sio.connect(
    url,
    auth=lambda: dict(device=device, batch=1, **at),
    headers={"Authorization": "Bearer " + token} if token else {},
    wait_timeout=10,
)
sio.wait()
