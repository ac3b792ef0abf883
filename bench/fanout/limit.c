// What the kernel allows: stdin to every HTTP client, one send(2) per client and slice, from a ring that all share.
// limit <port> <slice ms>
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { RING = 1 << 24, MAX_LAG = RING / 4 * 3, MAX_CLIENTS = 20000, READ = 1 << 18 };
enum { LISTENER, TIMER, FIRST_CLIENT };

typedef struct {
  int fd;
  uint64_t cursor; // of all bytes that came
  int asked, blocked;
} Client;

static char ring[RING];
static uint64_t head;
static Client clients[MAX_CLIENTS];
static int count, epoll;
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n";

static void watch(int operation, int fd, uint64_t id, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u64 = id};
  epoll_ctl(epoll, operation, fd, &event);
}

static void reset(Client *client) {
  struct linger at_once = {1, 0};
  setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(client->fd);
  client->fd = -1;
}

static void push(Client *client) {
  while (client->cursor < head && !client->blocked) {
    if (head - client->cursor > MAX_LAG) return reset(client);
    size_t at = client->cursor % RING, length = head - client->cursor;
    if (length > RING - at) length = RING - at;
    ssize_t sent = send(client->fd, ring + at, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) client->cursor += sent;
    else if (errno == EAGAIN) {
      client->blocked = 1;
      watch(EPOLL_CTL_MOD, client->fd, FIRST_CLIENT + (client - clients), EPOLLOUT | EPOLLONESHOT);
    } else return reset(client);
  }
}

static void slice(int timer) {
  uint64_t expirations;
  if (read(timer, &expirations, sizeof expirations) < 0) return;
  for (;;) {
    size_t at = head % RING, room = RING - at < READ ? RING - at : READ;
    ssize_t got = read(0, ring + at, room);
    if (got == 0) exit(0);
    if (got < 0) break;
    head += got;
  }
  for (int i = 0; i < count; i++) {
    Client *client = clients + i;
    if (client->fd < 0 || !client->asked) continue;
    if (!client->blocked) push(client);
    else if (head - client->cursor > MAX_LAG) reset(client);
  }
}

static void accept_all(int listener) {
  int one = 1, fd;
  while (count < MAX_CLIENTS && (fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
    clients[count] = (Client){.fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(EPOLL_CTL_ADD, fd, FIRST_CLIENT + count++, EPOLLIN | EPOLLONESHOT);
  }
}

static void answer_or_continue(Client *client) {
  char request[4096];
  if (client->fd < 0) return;
  client->blocked = 0;
  if (client->asked) return push(client);
  if (read(client->fd, request, sizeof request) <= 0) return reset(client);
  if (write(client->fd, answer, sizeof answer - 1) < 0) return reset(client);
  client->asked = 1;
  client->cursor = head;
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: limit <port> <slice ms>\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  struct rlimit descriptors = {MAX_CLIENTS + 100, MAX_CLIENTS + 100};
  setrlimit(RLIMIT_NOFILE, &descriptors);
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) return perror("listen"), 1;
  fcntl(0, F_SETFL, O_NONBLOCK);
  fcntl(0, F_SETPIPE_SZ, 1 << 20);
  long ns = atol(argv[2]) * 1000000;
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  timerfd_settime(timer, 0, &(struct itimerspec){{0, ns}, {0, ns}}, 0);
  epoll = epoll_create1(0);
  watch(EPOLL_CTL_ADD, listener, LISTENER, EPOLLIN);
  watch(EPOLL_CTL_ADD, timer, TIMER, EPOLLIN);
  puts("ready");
  fflush(stdout);
  struct epoll_event events[1024];
  for (;;) {
    int ready = epoll_wait(epoll, events, 1024, -1);
    for (int i = 0; i < ready; i++) {
      uint64_t id = events[i].data.u64;
      if (id == LISTENER) accept_all(listener);
      else if (id == TIMER) slice(timer);
      else answer_or_continue(clients + id - FIRST_CLIENT);
    }
  }
}
