/*
 * The hot half of the load generator: sends through a relay and checks what comes back, as fast as one core can.
 * `generator.ts` makes the allocations, compiles this, and hands over its sockets.
 *
 *   blaster DIRECTION SIZE BURST WINDOW RATE WARM_MS MS PIDS CORE
 *
 * DIRECTION: 0 to the peer, 1 to the clients. Descriptor 3 is the peer's socket, 4 and so on are the clients', connected to
 * the relay. Standard input: for each flow, 8 bytes in network order: channel, relayed port, relayed address (IPv4).
 * PIDS: whose CPU time is told, with commas between. CORE: which core's work by /proc/stat is told, or -1. Prints one line:
 * sent, received, bad, CPU ns, elapsed ns, idle ns, p50 ns, p99 ns, ns that the core worked, ns that were stolen from it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { FLOWS = 4096, BATCH = 64, RUN_BYTES = 32768, STALL_NS = 20000000, PEER = 3, SUB = 32, PROBE = 16 };

struct flow {
  struct sockaddr_in relayed;
  uint16_t channel;
  uint32_t sent, received;
  uint64_t progress;
  uint8_t *run; /* BURST packets one behind the other */
};

static struct flow flows[FLOWS];
static int flow_count, to_clients, size, burst, header, packet_size;
static uint32_t window;
static uint64_t sent, received, bad, idle, buckets[64 * SUB];
static int measuring;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int bucket_of(uint64_t ns) {
  if (ns < SUB) return ns;
  int octave = 63 - __builtin_clzll(ns);
  return (octave - 4) * SUB + ((ns >> (octave - 5)) & (SUB - 1));
}

static uint64_t quantile(double part) {
  uint64_t all = 0, seen = 0;
  for (int i = 0; i < 64 * SUB; i++) all += buckets[i];
  for (int i = 0; i < 64 * SUB && all; i++) {
    seen += buckets[i];
    if (seen < part * all) continue;
    if (i < SUB) return i;
    return (uint64_t)(SUB + i % SUB) << (i / SUB - 1);
  }
  return 0;
}

/* CPU time of a process, all threads together. */
static uint64_t cpu_of_one(int pid) {
  char path[288], text[128];
  uint64_t all = 0;
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *tasks = opendir(path);
  if (!tasks) fail(path);
  for (struct dirent *task; (task = readdir(tasks));) {
    if (task->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
    int fd = open(path, O_RDONLY);
    ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[length > 0 ? length : 0] = 0;
    all += strtoull(text, NULL, 10);
    if (fd >= 0) close(fd);
  }
  closedir(tasks);
  return all;
}

static uint64_t cpu_of(const char *pids) {
  uint64_t all = 0;
  for (char *rest = (char *)pids; *rest;) {
    all += cpu_of_one(strtol(rest, &rest, 10));
    if (*rest == ',') rest++;
    else if (*rest) fail("a list of processes");
  }
  return all;
}

struct core {
  uint64_t busy, steal;
};

/* What a core has done: user, nice, system, irq and softirq are work; idle and waiting for disks are none. */
static struct core core_of(int number) {
  struct core core = {0, 0};
  unsigned long long user, nice, system, irq, softirq, steal;
  char line[512], name[16];
  FILE *file = number < 0 ? NULL : fopen("/proc/stat", "r");
  if (!file) return core;
  snprintf(name, sizeof name, "cpu%d ", number);
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, name, strlen(name))) continue;
    if (sscanf(line + strlen(name), "%llu %llu %llu %*u %*u %llu %llu %llu", &user, &nice, &system, &irq, &softirq,
               &steal) != 6)
      continue;
    uint64_t tick = 1000000000u / sysconf(_SC_CLK_TCK);
    core = (struct core){(user + nice + system + irq + softirq) * tick, steal * tick};
  }
  fclose(file);
  return core;
}

/* Puts the number and the time into the packets of a flow's next run. */
static void stamp(struct flow *flow, uint64_t at) {
  for (int i = 0; i < burst; i++) {
    uint8_t *payload = flow->run + i * packet_size + header;
    uint32_t number = flow->sent + i;
    memcpy(payload + 4, &number, 4);
    memcpy(payload + 8, &at, 8);
  }
}

static int send_runs(const int *chosen, int count) {
  static struct mmsghdr messages[BATCH];
  static struct iovec vectors[BATCH];
  int done = 0;
  if (!to_clients) {
    for (; done < count; done++)
      if (send(PEER + 1 + chosen[done], flows[chosen[done]].run, burst * packet_size, MSG_DONTWAIT) < 0) break;
  } else {
    for (int i = 0; i < count; i++) {
      struct flow *flow = &flows[chosen[i]];
      vectors[i] = (struct iovec){flow->run, burst * packet_size};
      messages[i].msg_hdr = (struct msghdr){&flow->relayed, sizeof flow->relayed, &vectors[i], 1, NULL, 0, 0};
    }
    done = sendmmsg(PEER, messages, count, MSG_DONTWAIT);
    if (done < 0) done = 0;
  }
  for (int i = 0; i < done; i++) flows[chosen[i]].sent += burst;
  sent += (uint64_t)done * burst;
  return done;
}

/* Sends a run of each flow whose window allows it, each flow once. */
static int pump(uint64_t at, double *tokens) {
  static int cursor;
  int chosen[BATCH], count = 0, runs = 0;
  for (int tried = flow_count < 256 ? flow_count : 256; tried > 0; tried--) {
    struct flow *flow = &flows[cursor];
    if (tokens) {
      if (*tokens < burst) break;
      *tokens -= burst;
    } else if (flow->sent - flow->received + burst > window) {
      if (at - flow->progress > STALL_NS) {
        flow->received = flow->sent;
        flow->progress = at;
      }
      cursor = (cursor + 1) % flow_count;
      continue;
    }
    stamp(flow, at);
    chosen[count++] = cursor;
    cursor = (cursor + 1) % flow_count;
    if (count == BATCH) {
      runs += send_runs(chosen, count);
      count = 0;
    }
  }
  if (count) runs += send_runs(chosen, count);
  return runs;
}

static void check(const uint8_t *packet, int length, int socket, const struct sockaddr_in *from, uint64_t at) {
  uint32_t index, number;
  uint64_t then;
  int lead = to_clients ? 4 : 0;
  if (length != size + lead) {
    bad++;
    return;
  }
  memcpy(&index, packet + lead, 4);
  memcpy(&number, packet + lead + 4, 4);
  memcpy(&then, packet + lead + 8, 8);
  struct flow *flow = index < (uint32_t)flow_count ? &flows[index] : NULL;
  int right = flow && (to_clients ? socket == PEER + 1 + (int)index && (packet[0] << 8 | packet[1]) == flow->channel &&
                                        (packet[2] << 8 | packet[3]) == size
                                  : from->sin_port == flow->relayed.sin_port);
  if (!right || (size > PROBE && packet[lead + size - 1] != (uint8_t)(size - 1))) {
    bad++;
    return;
  }
  received++;
  if ((int32_t)(number + 1 - flow->received) > 0) flow->received = number + 1;
  flow->progress = at;
  if (measuring) buckets[bucket_of(at - then)]++;
}

static int drain(int socket) {
  static struct mmsghdr messages[BATCH];
  static struct iovec vectors[BATCH];
  static struct sockaddr_in from[BATCH];
  static uint8_t bytes[BATCH][2048];
  if (!vectors[0].iov_base)
    for (int i = 0; i < BATCH; i++) {
      vectors[i] = (struct iovec){bytes[i], sizeof bytes[i]};
      messages[i].msg_hdr = (struct msghdr){&from[i], sizeof from[i], &vectors[i], 1, NULL, 0, 0};
    }
  int all = 0, count;
  do {
    count = recvmmsg(socket, messages, BATCH, MSG_DONTWAIT, NULL);
    uint64_t at = now();
    for (int i = 0; i < count; i++) check(bytes[i], messages[i].msg_len, socket, &from[i], at);
    if (count > 0) all += count;
  } while (count == BATCH && all < 4 * BATCH);
  return all;
}

int main(int count, char **arguments) {
  uint8_t wired[8];
  if (count != 10) return 2;
  to_clients = atoi(arguments[1]);
  size = atoi(arguments[2]);
  burst = atoi(arguments[3]);
  window = atoi(arguments[4]);
  double rate = atof(arguments[5]), tokens = 0;
  uint64_t warm = atoll(arguments[6]) * 1000000ull, span = atoll(arguments[7]) * 1000000ull;
  const char *pids = arguments[8];
  int number = atoi(arguments[9]), epoll = epoll_create1(0), big = 16 << 20;
  struct core core = {0, 0};
  header = to_clients ? 0 : 4;
  packet_size = header + size;
  if (burst * packet_size > RUN_BYTES || size > 2000) return 2;
  while (flow_count < FLOWS && fread(wired, sizeof wired, 1, stdin) == 1) {
    struct flow *flow = &flows[flow_count];
    flow->channel = wired[0] << 8 | wired[1];
    flow->relayed.sin_family = AF_INET;
    memcpy(&flow->relayed.sin_port, wired + 2, 2);
    memcpy(&flow->relayed.sin_addr, wired + 4, 4);
    flow->run = calloc(burst, packet_size);
    for (int i = 0; i < burst; i++) {
      uint8_t *packet = flow->run + i * packet_size;
      if (header) {
        packet[0] = flow->channel >> 8;
        packet[1] = flow->channel;
        packet[2] = size >> 8;
        packet[3] = size;
      }
      uint32_t index = flow_count;
      for (int at = PROBE; at < size; at++) packet[header + at] = at;
      memcpy(packet + header, &index, 4);
    }
    flow_count++;
  }
  for (int fd = PEER; fd <= PEER + flow_count; fd++) {
    int sends = (fd == PEER) == to_clients;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
    if (sends && burst > 1 && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &packet_size, sizeof packet_size) < 0)
      fail("UDP_SEGMENT");
    if (!sends && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
  }
  uint64_t begun = now(), filled = begun, cpu = 0, sent0 = 0, received0 = 0, idle0 = 0, started = begun + warm;
  for (;;) {
    uint64_t at = now();
    if (!measuring && at >= started) {
      measuring = 1;
      started = at;
      cpu = cpu_of(pids);
      core = core_of(number);
      sent0 = sent;
      received0 = received;
      idle0 = idle;
    }
    if (measuring && at >= started + span) break;
    int worked;
    if (rate > 0) {
      tokens += (at - filled) * 1e-9 * rate;
      if (tokens > 256) tokens = 256;
      filled = at;
      worked = pump(at, &tokens);
    } else {
      worked = pump(at, NULL);
    }
    struct epoll_event events[256];
    /* At a fixed rate it must not oversleep; else it sleeps when there is nothing to do, and leaves the core to others. */
    int wait = worked || rate > 0 ? 0 : 1, ready;
    uint64_t before = wait ? now() : 0;
    ready = epoll_wait(epoll, events, 256, wait);
    if (wait) idle += now() - before;
    for (int i = 0; i < ready; i++) drain(events[i].data.fd);
  }
  uint64_t elapsed = now() - started;
  struct core after = core_of(number);
  uint64_t told[] = {sent - sent0, received - received0, bad,           cpu_of(pids) - cpu,
                     elapsed,      idle - idle0,         quantile(0.5), quantile(0.99),
                     after.busy - core.busy, after.steal - core.steal};
  for (unsigned i = 0; i < sizeof told / sizeof *told; i++) printf("%s%llu", i ? " " : "", (unsigned long long)told[i]);
  puts("");
  return 0;
}
