/*
 * The least that a program over sockets must do to relay: a yardstick, no TURN server. Channels are wired by a
 * registration message, never expire, and nobody is asked for a password. IPv4 only.
 *
 *   cc -O2 -o yardstick yardstick.c && ./yardstick 127.0.0.1 3478
 *
 * Registration: 0xC1, 0, channel (2 bytes), peer port (2), peer address (4), network order.
 * Answer: the same with the relay socket's port and address in place of the peer's.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { BATCH = 64, SLOTS = 256, SLOT_BYTES = 2048, ROOM = 8, FLOWS = 4096, TABLE = 16384, ROUNDS = 4 };

struct flow {
  int fd;
  uint16_t channel;
  struct sockaddr_in client, peer;
  int first, last; /* packets that wait to be sent to the peer, by slot */
};

static struct flow flows[FLOWS];
static int flow_count;
static int table[TABLE]; /* flow + 1 by client address */
static int listener, epoll;
static struct in_addr own;

static uint8_t bytes[SLOTS][SLOT_BYTES];
static struct mmsghdr in[SLOTS], out[SLOTS];
static struct iovec in_vector[SLOTS], out_vector[SLOTS];
static struct sockaddr_in from[SLOTS];
static int next_slot[SLOTS], length_of[SLOTS];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int open_socket(int port) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 4 << 20, never = IP_PMTUDISC_DONT;
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = own};
  if (fd < 0) fail("socket");
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &never, sizeof never);
  if (bind(fd, (struct sockaddr *)&local, sizeof local) < 0) fail("bind");
  return fd;
}

static void watch(int fd, int id) {
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = id};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

/* Place of a client in the table: its flow, or the free place where it belongs. */
static int place_of(const struct sockaddr_in *client) {
  uint64_t key = (uint64_t)client->sin_addr.s_addr << 16 | client->sin_port;
  uint32_t place = (key * 0x9E3779B97F4A7C15ull) >> 50;
  for (;; place = (place + 1) & (TABLE - 1)) {
    struct flow *flow = table[place] ? &flows[table[place] - 1] : NULL;
    if (!flow) return place;
    if (flow->client.sin_addr.s_addr == client->sin_addr.s_addr && flow->client.sin_port == client->sin_port)
      return place;
  }
}

static void wire(const uint8_t *message, const struct sockaddr_in *client) {
  int place = place_of(client);
  if (!table[place]) {
    if (flow_count == FLOWS) return;
    struct flow *flow = &flows[flow_count++];
    table[place] = flow_count;
    flow->fd = open_socket(0);
    flow->client = *client;
    flow->first = -1;
    flow->peer.sin_family = AF_INET;
    watch(flow->fd, flow_count);
  }
  struct flow *wired = &flows[table[place] - 1];
  wired->channel = message[2] << 8 | message[3];
  memcpy(&wired->peer.sin_port, message + 4, 2);
  memcpy(&wired->peer.sin_addr, message + 6, 4);
  struct sockaddr_in local;
  socklen_t size = sizeof local;
  uint8_t answer[10];
  getsockname(wired->fd, (struct sockaddr *)&local, &size);
  memcpy(answer, message, 4);
  memcpy(answer + 4, &local.sin_port, 2);
  memcpy(answer + 6, &local.sin_addr, 4);
  sendto(listener, answer, sizeof answer, 0, (const struct sockaddr *)client, sizeof *client);
}

static void send_all(int fd, int count) {
  if (count == 1) {
    sendto(fd, out_vector[0].iov_base, out_vector[0].iov_len, 0, out[0].msg_hdr.msg_name, sizeof(struct sockaddr_in));
    return;
  }
  for (int sent = 0; sent < count;) {
    int result = sendmmsg(fd, out + sent, count - sent, 0);
    if (result <= 0) return;
    sent += result;
  }
}

static void from_clients(void) {
  static int touched[SLOTS];
  for (int round = 0; round < ROUNDS; round++) {
    int received = recvmmsg(listener, in, BATCH, MSG_DONTWAIT, NULL), count = 0;
    for (int slot = 0; slot < received; slot++) {
      uint8_t *packet = bytes[slot] + ROOM;
      int size = in[slot].msg_len;
      if (size < 4) continue;
      if (packet[0] == 0xC1 && size == 10) {
        wire(packet, &from[slot]);
        continue;
      }
      int found = table[place_of(&from[slot])], payload = packet[2] << 8 | packet[3];
      if (!found || payload + 4 > size) continue;
      struct flow *flow = &flows[found - 1];
      if (flow->channel != (packet[0] << 8 | packet[1])) continue;
      length_of[slot] = payload;
      next_slot[slot] = -1;
      if (flow->first < 0) {
        touched[count++] = found - 1;
        flow->first = slot;
      } else {
        next_slot[flow->last] = slot;
      }
      flow->last = slot;
    }
    for (int i = 0; i < count; i++) {
      struct flow *flow = &flows[touched[i]];
      int messages = 0;
      for (int slot = flow->first; slot >= 0; slot = next_slot[slot], messages++) {
        out_vector[messages] = (struct iovec){bytes[slot] + ROOM + 4, length_of[slot]};
        out[messages].msg_hdr.msg_name = &flow->peer;
      }
      flow->first = -1;
      send_all(flow->fd, messages);
    }
    if (received < BATCH) return;
  }
}

static void from_peers(const struct epoll_event *events, int ready) {
  int waiting = 0, used = 0;
  for (int i = 0; i < ready; i++) {
    if (events[i].data.u32 == 0) continue;
    struct flow *flow = &flows[events[i].data.u32 - 1];
    if (SLOTS - used < BATCH) {
      send_all(listener, waiting);
      waiting = used = 0;
    }
    int received = recvmmsg(flow->fd, in + used, BATCH, MSG_DONTWAIT, NULL);
    for (int slot = used; slot < used + (received > 0 ? received : 0); slot++) {
      if (from[slot].sin_port != flow->peer.sin_port || from[slot].sin_addr.s_addr != flow->peer.sin_addr.s_addr)
        continue;
      uint8_t *header = bytes[slot] + ROOM - 4;
      int size = in[slot].msg_len;
      header[0] = flow->channel >> 8;
      header[1] = flow->channel;
      header[2] = size >> 8;
      header[3] = size;
      out_vector[waiting] = (struct iovec){header, size + 4};
      out[waiting++].msg_hdr.msg_name = &flow->client;
    }
    if (received > 0) used += received;
  }
  if (waiting) send_all(listener, waiting);
}

int main(int count, char **arguments) {
  struct rlimit limit = {65536, 65536};
  struct epoll_event events[256];
  if (count != 3 || inet_pton(AF_INET, arguments[1], &own) != 1) {
    fprintf(stderr, "use: yardstick IPV4 PORT\n");
    return 2;
  }
  setrlimit(RLIMIT_NOFILE, &limit);
  for (int slot = 0; slot < SLOTS; slot++) {
    in_vector[slot] = (struct iovec){bytes[slot] + ROOM, SLOT_BYTES - ROOM};
    in[slot].msg_hdr = (struct msghdr){&from[slot], sizeof from[slot], &in_vector[slot], 1, NULL, 0, 0};
    out[slot].msg_hdr = (struct msghdr){NULL, sizeof from[slot], &out_vector[slot], 1, NULL, 0, 0};
  }
  epoll = epoll_create1(0);
  listener = open_socket(atoi(arguments[2]));
  watch(listener, 0);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    int ready = epoll_wait(epoll, events, 256, -1);
    from_peers(events, ready);
    for (int i = 0; i < ready; i++)
      if (events[i].data.u32 == 0) from_clients();
  }
}
