// What the sketch needs of an Arduino core, on POSIX: enough to run it against a
// gateway on this machine.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT 1
#define HIGH 1
#define LOW 0

inline uint32_t millis() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint32_t(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}
inline void delay(uint32_t ms) { usleep(ms * 1000); }
inline void pinMode(int, int) {}
inline void digitalWrite(int pin, int level) { printf("pin %d is %d\n", pin, level); }

struct SerialPort {
  void begin(int) { setvbuf(stdout, nullptr, _IOLBF, 0); }
  void println(const char *text) { puts(text); }
};
inline SerialPort Serial;
