# A device with MicroPython (ESP32, Pico W): a reading every ten seconds as JSON over UDP,
# sent again until the gateway has acknowledged it, and commands from its answers.
#
# naru device command greenhouse-1 relay true --wait     # switches RELAY_PIN
import json
import network
import socket
import time
from machine import Pin

WIFI = ("my-network", "my-password")
GATEWAY = ("192.168.1.20", 7700)
DEVICE = "greenhouse-1"
TOKEN = ""  # of: naru device add greenhouse-1 --token
INTERVAL = 10  # seconds
RELAY_PIN = 5

relay = Pin(RELAY_PIN, Pin.OUT)
last_id = 0  # of the last command: it is told again until its outcome has come
outcome = None
untold = False  # the gateway has not acknowledged the outcome


def measure():
    """Stands for your sensor."""
    return 20 + time.ticks_ms() // 1000 % 50 / 10


def connect():
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    if not wlan.isconnected():
        wlan.connect(*WIFI)
    while not wlan.isconnected():
        time.sleep_ms(200)


def obey(command):
    """Carries out a command, once, and has its outcome told."""
    global last_id, outcome, untold
    untold = True
    if command["id"] == last_id:
        return
    last_id = command["id"]
    if command["name"] == "relay":
        relay.value(1 if command.get("value") else 0)
        outcome = "%d %s" % (last_id, "on" if relay.value() else "off")
    else:
        outcome = "%d error: unknown command" % last_id


def answer_to(s, seq, wait):
    """Returns the answer to the message with this number, or None after so many seconds."""
    end = time.ticks_add(time.ticks_ms(), wait * 1000)
    while time.ticks_diff(end, time.ticks_ms()) > 0:
        s.settimeout(time.ticks_diff(end, time.ticks_ms()) / 1000 + 0.001)
        try:
            answer = json.loads(s.recv(1024))
        except (OSError, ValueError):  # nothing came, or nobody listens, or it is none
            time.sleep_ms(10)
            continue
        if seq in (answer.get("ack"), answer.get("seq")):
            return answer
    return None


def deliver(s, message):
    """Sends a message until it is answered, with longer and longer waits."""
    global untold
    wait = 1
    while wait <= 32:
        try:
            s.send(json.dumps(message).encode())
        except OSError:  # one that cannot leave is like one that is lost
            pass
        answer = answer_to(s, message["seq"], wait)
        wait *= 2
        if answer is None:
            continue
        if "ack" in answer:
            untold = False
        else:
            print("refused:", answer["error"])
        if "command" in answer:
            obey(answer["command"])
        return True
    return False


connect()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(socket.getaddrinfo(GATEWAY[0], GATEWAY[1])[0][-1])
seq = 0  # begins anew after a restart; the gateway knows that
while True:
    seq += 1
    message = {"device": DEVICE, "seq": seq, "ack": True, "temp": measure(), "relay": bool(relay.value())}
    if TOKEN:
        message["token"] = TOKEN
    if untold:
        message["outcome"] = outcome
    if not deliver(s, message):
        print("message", seq, "is not stored")
        connect()
    time.sleep_ms(int(INTERVAL * 1000))
