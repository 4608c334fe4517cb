"""Runs a program for MicroPython: what CPython lacks of its modules stands here."""

import runpy
import sys
import time
import types


class WLAN:
    def __init__(self, _interface):
        self.up = False

    def active(self, _on):
        pass

    def connect(self, _name, _password):
        self.up = True

    def isconnected(self):
        return self.up


class Pin:
    OUT = 1

    def __init__(self, number, _mode):
        self.number, self.level = number, 0

    def value(self, level=None):
        if level is not None:
            self.level = level
            print("pin", self.number, "is", level, flush=True)
        return self.level


sys.modules["network"] = types.SimpleNamespace(STA_IF=0, WLAN=WLAN)
sys.modules["machine"] = types.SimpleNamespace(Pin=Pin)
time.ticks_ms = lambda: time.monotonic_ns() // 1_000_000 & 0x3FFFFFFF
time.ticks_add = lambda t, d: t + d & 0x3FFFFFFF
time.ticks_diff = lambda a, b: (a - b + 0x20000000 & 0x3FFFFFFF) - 0x20000000
time.sleep_ms = lambda ms: time.sleep(ms / 1000)
runpy.run_path(sys.argv[1], run_name="__main__")
