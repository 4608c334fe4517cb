#pragma once
#define WL_CONNECTED 3

struct WiFiClass {
  void begin(const char *, const char *) {}
  int status() { return WL_CONNECTED; }
  int RSSI() { return -61; }
};
inline WiFiClass WiFi;
