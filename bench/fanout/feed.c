// A source of MPEG-TS to a pace: writes of a size on an absolute schedule, each begins with a null packet (PID 0x1FFF) that
// carries the time it was due. To stdout, or to a server of 127.0.0.1 as the body of a request.
// feed <bits/s> <bytes a write> [<port> <head of the request>]
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PACKET = 188, PACKETS = 5000, SYNC = 0x47 };

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void sleep_until(uint64_t at) {
  struct timespec time = {at / 1000000000, at % 1000000000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, 0);
}

static int request(int port, const char *head) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (void *)&address, sizeof address)) return perror("connect"), -1;
  if (write(fd, head, strlen(head)) < 0) return perror("write"), -1;
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 5) return fprintf(stderr, "usage: feed <bits/s> <bytes a write> [<port> <head>]\n"), 2;
  double rate = atof(argv[1]);
  size_t length = atol(argv[2]) / PACKET * PACKET;
  if (!(rate > 0) || length < PACKET) return fprintf(stderr, "feed: above 0 bits/s, from 188 bytes a write\n"), 2;
  int fd = argc == 5 ? request(atoi(argv[3]), argv[4]) : 1;
  if (fd < 0) return 1;
  static unsigned char picture[PACKET * PACKETS];
  for (size_t i = 0; i < sizeof picture; i++) picture[i] = rand();
  for (size_t i = 0; i < sizeof picture; i += PACKET) memcpy(picture + i, (unsigned char[]){SYNC, 1, 0, 0x10}, 4);
  unsigned char *chunk = malloc(length);
  memset(chunk, 0xff, PACKET);
  memcpy(chunk, (unsigned char[]){SYNC, 0x1f, 0xff, 0x10}, 4);
  memcpy(chunk + 4, "STMPSTMP", 8);
  double every = length * 8 / rate * 1e9;
  uint64_t begun = now();
  size_t at = 0;
  for (uint64_t n = 0;; n++) {
    uint64_t due = begun + (uint64_t)(n * every);
    sleep_until(due);
    memcpy(chunk + 12, &due, sizeof due);
    for (size_t filled = PACKET; filled < length; filled += PACKET, at = (at + PACKET) % sizeof picture)
      memcpy(chunk + filled, picture + at, PACKET);
    for (size_t written = 0; written < length;) {
      ssize_t put = write(fd, chunk + written, length - written);
      if (put <= 0) return 0;
      written += put;
    }
  }
}
