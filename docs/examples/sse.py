# Prints every reading as a line, each once and in order, by server-sent events.
#
#     apt install python3-requests
#     NARU_TOKEN=... python3 sse.py http://127.0.0.1:7780 'greenhouse*'

import json
import os
import sys
import time

import requests

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7780"
device = sys.argv[2] if len(sys.argv) > 2 else "*"
token = os.environ.get("NARU_TOKEN")

# The gateway breaks silence every 15 seconds: who hears nothing for longer is cut off.
CONNECT_WITHIN, SILENT_FOR, PAUSE = 5, 40, 1


def show(message):
    if message["type"] == "readings":
        for r in message["readings"]:
            print(r["time"], r["device"], r["metric"], r["value"], flush=True)
    elif message["type"] in ("gap", "reset"):
        print(message["type"] + ":", message["reason"], file=sys.stderr)


def watch(cursor):
    """Shows what comes until the stream ends, and yields each cursor behind it."""
    headers = {"Accept": "text/event-stream"}
    if token:
        headers["Authorization"] = "Bearer " + token
    if cursor:
        headers["Last-Event-ID"] = cursor
    answer = requests.get(
        url.rstrip("/") + "/api/v1/live",
        params={"device": device, "last": 1},
        headers=headers,
        stream=True,
        timeout=(CONNECT_WITHIN, SILENT_FOR),
    )
    with answer:
        if answer.status_code in (400, 401, 403):
            sys.exit(answer.text)
        answer.raise_for_status()
        data = here = ""
        for line in answer.iter_lines():
            name, _, value = line.decode().partition(": ")
            if name == "data":
                data += value
            elif name == "id":
                here = value
            elif not line:
                if data:
                    show(json.loads(data))
                    data = ""
                if here:
                    yield here


cursor = None
while True:
    try:
        for cursor in watch(cursor):
            pass
    except requests.RequestException as e:
        print(e, file=sys.stderr)
    time.sleep(PAUSE)
