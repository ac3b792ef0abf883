// Clients of an HTTP server on 127.0.0.1 and what they cost it. Most throw away what they get (MSG_TRUNC), some look at the
// times in it. Prints one line of JSON.
// load <port> <path> <clients> <blocked clients> <clients of half the rate> <warm-up s> <s> <bits/s expected> <pid>...
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLED = 10, MAX_LATENCIES = 1 << 22, TURN_US = 20000 };

typedef struct {
  int fd, closed;
  uint64_t bytes, before;
} Client;

typedef struct {
  int from, to;
} Range;

static int port;
static const char *path;
static double rate; // bits/s
static Client *clients;
static uint32_t *latencies; // µs
static size_t latency_count;
static volatile int is_over, is_measuring;

static uint64_t now(clockid_t clock) {
  struct timespec time;
  return clock_gettime(clock, &time) ? 0 : time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int open_client(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (void *)&address, sizeof address)) perror("connect"), exit(1);
  char request[512];
  int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\n\r\n", path);
  if (write(fd, request, length) != length) perror("write"), exit(1);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

static void look(unsigned char *bytes, size_t length, uint64_t at) {
  unsigned char *mark = bytes, *end = bytes + length;
  while ((mark = memmem(mark, end - mark, "STMPSTMP", 8)) && end - mark >= 16) {
    uint64_t due;
    memcpy(&due, mark + 8, 8);
    if (is_measuring && latency_count < MAX_LATENCIES) latencies[latency_count++] = at > due ? (at - due) / 1000 : 0;
    mark += 16;
  }
}

static void *receive(void *argument) {
  Range range = *(Range *)argument;
  int looks = range.from == 0, epoll = epoll_create1(0);
  for (int i = range.from; i < range.to; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event);
  }
  unsigned char *buffer = looks ? malloc(1 << 20) : 0;
  struct epoll_event events[1024];
  while (!is_over) {
    int ready = epoll_wait(epoll, events, 1024, 100);
    for (int i = 0; i < ready; i++) {
      Client *client = clients + events[i].data.u32;
      ssize_t got = recv(client->fd, buffer, looks ? 1 << 20 : 1 << 24, MSG_DONTWAIT | (looks ? 0 : MSG_TRUNC));
      if (got > 0) {
        client->bytes += got;
        if (looks) look(buffer, got, now(CLOCK_MONOTONIC));
      } else if (got == 0 || errno != EAGAIN) {
        client->closed = 1;
        epoll_ctl(epoll, EPOLL_CTL_DEL, client->fd, 0);
      }
    }
  }
  free(buffer);
  return 0;
}

// Reads half of what the source gives, little by little.
static void *receive_half(void *argument) {
  Range range = *(Range *)argument;
  uint64_t begun = now(CLOCK_MONOTONIC);
  while (!is_over) {
    usleep(TURN_US);
    double due = rate / 8 / 2 * (now(CLOCK_MONOTONIC) - begun) / 1e9;
    for (int i = range.from; i < range.to; i++) {
      Client *client = clients + i;
      if (client->closed || client->bytes >= due) continue;
      ssize_t got = recv(client->fd, 0, due - client->bytes, MSG_DONTWAIT | MSG_TRUNC);
      if (got > 0) client->bytes += got;
      else if (got == 0 || errno != EAGAIN) client->closed = 1;
    }
  }
  return 0;
}

static uint64_t cpu_of(int pid) {
  clockid_t clock;
  return clock_getcpuclockid(pid, &clock) ? 0 : now(clock);
}

// KiB of a field of /proc/<pid>/status
static long status_of(int pid, const char *field) {
  char name[64], line[256];
  long value = 0;
  snprintf(name, sizeof name, "/proc/%d/status", pid);
  FILE *file = fopen(name, "r");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, field, strlen(field))) value = atol(line + strlen(field));
  if (file) fclose(file);
  return value;
}

// KiB that the kernel holds for TCP
static long tcp_memory(void) {
  char line[256];
  long pages = 0;
  FILE *file = fopen("/proc/net/sockstat", "r");
  while (file && fgets(line, sizeof line, file)) {
    char *memory = strstr(line, "mem ");
    if (!strncmp(line, "TCP:", 4) && memory) pages = atol(memory + 4);
  }
  if (file) fclose(file);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

// Seconds that the processors were busy, and that they served interrupts
static void machine(double *busy, double *interrupts) {
  unsigned long user, nice, system, idle, wait, hard, soft;
  FILE *file = fopen("/proc/stat", "r");
  int read = file ? fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &wait, &hard, &soft) : 0;
  if (file) fclose(file);
  double tick = sysconf(_SC_CLK_TCK);
  *busy = read == 7 ? (user + nice + system + hard + soft) / tick : 0;
  *interrupts = read == 7 ? (hard + soft) / tick : 0;
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(uint32_t *)a, y = *(uint32_t *)b;
  return (x > y) - (x < y);
}

static double latency(double share) {
  return latency_count ? latencies[(size_t)((latency_count - 1) * share)] / 1000. : -1;
}

int main(int argc, char **argv) {
  if (argc < 10) return fprintf(stderr, "usage: load <port> <path> <clients> <blocked> <half> <warm-up s> <s> <bits/s> <pid>...\n"), 2;
  port = atoi(argv[1]), path = argv[2], rate = atof(argv[8]);
  int count = atoi(argv[3]), blocked = atoi(argv[4]), half = atoi(argv[5]), sampled = count < SAMPLED ? count : SAMPLED;
  double warm_up = atof(argv[6]), seconds = atof(argv[7]);
  int pids = argc - 9;
  struct rlimit descriptors = {20000, 20000};
  setrlimit(RLIMIT_NOFILE, &descriptors);
  clients = calloc(count + half + 1, sizeof *clients);
  latencies = malloc(MAX_LATENCIES * sizeof *latencies);
  int *stuck = calloc(blocked + 1, sizeof *stuck);
#define SUM(each) ({ double sum = 0; for (int i = 0; i < pids; i++) { int pid = atoi(argv[9 + i]); sum += (each); } sum; })
  double rss_before = SUM(status_of(pid, "VmRSS:"));
  for (int i = 0; i < blocked; i++) stuck[i] = open_client();
  for (int i = 0; i < count + half; i++) clients[i].fd = open_client();
  pthread_t looking, throwing, halving;
  Range first = {0, sampled}, others = {sampled, count}, last = {count, count + half};
  pthread_create(&halving, 0, receive_half, &last);
  pthread_create(&looking, 0, receive, &first);
  pthread_create(&throwing, 0, receive, &others);
  usleep(warm_up * 1e6);

  double busy[2], interrupts[2], cpu = SUM(cpu_of(pid)), own = now(CLOCK_PROCESS_CPUTIME_ID);
  machine(busy, interrupts);
  for (int i = 0; i < count; i++) clients[i].before = clients[i].bytes;
  uint64_t begun = now(CLOCK_MONOTONIC);
  is_measuring = 1;
  usleep(seconds * 1e6);
  is_measuring = 0;
  double elapsed = (now(CLOCK_MONOTONIC) - begun) / 1e9;
  cpu = SUM(cpu_of(pid)) - cpu, own = now(CLOCK_PROCESS_CPUTIME_ID) - own;
  machine(busy + 1, interrupts + 1);

  double total = 0, least = 1e18, expected = rate / 8 * elapsed;
  int closed = 0, dropped = 0;
  for (int i = 0; i < count; i++) {
    double got = clients[i].bytes - clients[i].before;
    total += got, closed += clients[i].closed;
    if (got < least) least = got;
  }
  for (int i = count; i < count + half; i++) dropped += clients[i].closed;
  double rss = SUM(status_of(pid, "VmRSS:")), memory = tcp_memory();
  for (int i = 0; i < blocked; i++) {
    struct pollfd end = {stuck[i], POLLRDHUP, 0};
    poll(&end, 1, 0);
    dropped += end.revents != 0;
  }
  is_over = 1;
  pthread_join(looking, 0);
  pthread_join(throwing, 0);
  pthread_join(halving, 0);
  qsort(latencies, latency_count, sizeof *latencies, ascending);
  double gib = total / (1 << 30);
  if (total > 0) printf("{\"cpuPerGiB\":%.4f,", cpu / 1e9 / gib);
  else printf("{\"cpuPerGiB\":null,"), gib = 1;
  printf("\"cpuShare\":%.4f,\"busyShare\":%.3f,\"interruptsPerGiB\":%.4f,\"loadShare\":%.3f,", cpu / 1e9 / elapsed, (busy[1] - busy[0]) / elapsed, (interrupts[1] - interrupts[0]) / gib, own / 1e9 / elapsed);
  printf("\"mbitPerClient\":%.3f,\"leastShare\":%.4f,\"closed\":%d,\"dropped\":%d,", total / count * 8 / elapsed / 1e6,
         least / expected, closed, dropped);
  printf("\"p50Ms\":%.2f,\"p99Ms\":%.2f,\"maxMs\":%.2f,\"rssBeforeMiB\":%.1f,\"rssMiB\":%.1f,\"tcpMiB\":%.1f}\n", latency(.5),
         latency(.99), latency(1), rss_before / 1024, rss / 1024, memory / 1024);
}
