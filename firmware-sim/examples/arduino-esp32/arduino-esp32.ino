/*
 * A device on an ESP32 or ESP8266 with Arduino: a reading every ten seconds as JSON over
 * UDP, sent again until the gateway has acknowledged it, and commands from its answers.
 * It needs no library beyond the core. For a key instead of a token see ../c-mbedtls.
 *
 * naru device command greenhouse-1 relay true --wait     # switches RELAY_PIN
 */
#ifdef ESP8266
#include <ESP8266WiFi.h>
#else
#include <WiFi.h>
#endif
#include <WiFiUdp.h>

const char *WIFI_NAME = "my-network";
const char *WIFI_PASSWORD = "my-password";
const char *GATEWAY = "192.168.1.20";
const uint16_t PORT = 7700;
const char *DEVICE = "greenhouse-1";
const char *TOKEN = "";  // of: naru device add greenhouse-1 --token
const uint32_t INTERVAL = 10000;  // ms
const int RELAY_PIN = 5;

WiFiUDP udp;
uint32_t seq = 0;          // begins anew after a restart; the gateway knows that
uint32_t nextAt = 0;       // of the next message, in millis()
bool relayOn = false;
bool untold = false;       // the gateway has not acknowledged the outcome
uint32_t lastId = 0;       // of the last command: it is told again until its outcome has come
char outcome[64] = "";

// measure stands for your sensor.
float measure() { return 20.0 + (millis() / 1000) % 50 / 10.0; }

// obey carries out the command in an answer, once, and has its outcome told.
void obey(const char *answer) {
  unsigned long id;
  char name[65] = "";
  const char *c = strstr(answer, "\"command\":");
  if (c == NULL || sscanf(c, "\"command\":{\"id\":%lu,\"device\":\"%*[^\"]\",\"name\":\"%64[^\"]\"", &id, name) != 2) return;
  untold = true;
  if (id == lastId) return;
  lastId = id;
  if (strcmp(name, "relay") == 0) {
    relayOn = strstr(c, "\"value\":true") != NULL;
    digitalWrite(RELAY_PIN, relayOn ? HIGH : LOW);
    snprintf(outcome, sizeof outcome, "%lu %s", id, relayOn ? "on" : "off");
  } else {
    snprintf(outcome, sizeof outcome, "%lu error: unknown command", id);
  }
}

// answered reports whether the gateway has answered the message with this number.
bool answered() {
  char answer[1024], ack[32], refusal[32];
  snprintf(ack, sizeof ack, "{\"ack\":%lu", (unsigned long)seq);
  snprintf(refusal, sizeof refusal, "\"seq\":%lu", (unsigned long)seq);
  while (udp.parsePacket() > 0) {
    int n = udp.read(answer, sizeof answer - 1);
    if (n <= 0) continue;
    answer[n] = 0;
    bool stored = strncmp(answer, ack, strlen(ack)) == 0;
    if (!stored && strstr(answer, refusal) == NULL) continue;  // to an earlier message
    if (stored) untold = false;
    else Serial.println(answer);
    obey(answer);
    return true;
  }
  return false;
}

// deliver sends a message until it is answered, with longer and longer waits.
bool deliver(const char *message) {
  for (uint32_t wait = 1000; wait <= 32000; wait *= 2) {
    udp.beginPacket(GATEWAY, PORT);
    udp.write((const uint8_t *)message, strlen(message));
    udp.endPacket();
    for (uint32_t start = millis(); millis() - start < wait; delay(10)) {
      if (answered()) return true;
    }
  }
  return false;
}

void setup() {
  Serial.begin(115200);
  pinMode(RELAY_PIN, OUTPUT);
  WiFi.begin(WIFI_NAME, WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) delay(200);
  udp.begin(PORT);
}

void loop() {
  if ((int32_t)(millis() - nextAt) < 0) return;
  nextAt = millis() + INTERVAL;
  char message[512], told[96] = "", proof[96] = "";
  if (untold) snprintf(told, sizeof told, ",\"outcome\":\"%s\"", outcome);
  if (TOKEN[0] != 0) snprintf(proof, sizeof proof, ",\"token\":\"%s\"", TOKEN);
  snprintf(message, sizeof message, "{\"device\":\"%s\",\"seq\":%lu,\"ack\":true,\"temp\":%.2f,\"relay\":%s,\"rssi\":%d%s%s}", DEVICE,
           (unsigned long)++seq, measure(), relayOn ? "true" : "false", (int)WiFi.RSSI(), told, proof);
  if (!deliver(message)) Serial.println("not stored");
}
