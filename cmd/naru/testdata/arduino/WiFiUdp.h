#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>

class WiFiUDP {
 public:
  void begin(uint16_t) { socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0); }
  void beginPacket(const char *host, uint16_t port) {
    to_.sin_family = AF_INET;
    to_.sin_port = htons(port);
    inet_pton(AF_INET, host, &to_.sin_addr);
    out_.clear();
  }
  size_t write(const uint8_t *b, size_t n) {
    out_.append(reinterpret_cast<const char *>(b), n);
    return n;
  }
  int endPacket() { return sendto(socket_, out_.data(), out_.size(), 0, reinterpret_cast<sockaddr *>(&to_), sizeof to_) >= 0; }
  int parsePacket() {
    char b[2048];
    ssize_t n = recv(socket_, b, sizeof b, 0);
    in_.assign(b, n > 0 ? n : 0);
    return int(in_.size());
  }
  int read(char *b, size_t n) {
    n = in_.copy(b, n);
    in_.erase(0, n);
    return int(n);
  }

 private:
  int socket_ = -1;
  sockaddr_in to_{};
  std::string out_, in_;
};
