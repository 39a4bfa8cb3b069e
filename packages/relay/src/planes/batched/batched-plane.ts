import type { ChannelOutput } from "../../kernel/kernel-channels.ts";
import { AddressRegister, type TransportAddress } from "@turnpike/stun";
import { ClientSource } from "@turnpike/turn";
import { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";
import { describeErrno, type Libc, SystemCallError } from "../../libc/libc.ts";
import { readSocketAddress } from "../../libc/socket-address.ts";
import { SocketFactory } from "../../libc/sockets.ts";
import { PlaneCounter as Counter, PlaneCounters } from "../counters.ts";
import {
  type ForwardingPlane,
  MAX_PAYLOAD_IPV4,
  MAX_PAYLOAD_IPV6,
  type Opened,
  type PacketReceiver,
} from "../plane.ts";
import { openFailure } from "./open-failure.ts";
import { ReceiveRing } from "./receive-ring.ts";
import { SendQueue } from "./send-queue.ts";
import { SocketRole, SocketTable } from "./socket-table.ts";

/** What {@link BatchedPlane} is made with. */
export interface BatchedPlaneOptions {
  readonly libc: Libc;
  /** Counters that another thread reads. Default: fresh ones. */
  readonly counters?: PlaneCounters;
  /** Receive aggregates (UDP_GRO) where traffic comes in runs. Default true. */
  readonly receiveAggregates?: boolean;
  /** Send runs of one size to one address as aggregates (UDP_SEGMENT). Default true. */
  readonly sendAggregates?: boolean;
  /** Size of each socket's kernel buffers. Default 4 MiB. */
  readonly bufferBytes?: number;
  /** How many receive slots there are. Default 128: packets of several relay sockets leave in one call. */
  readonly slots?: number;
  /** Address of {@link BatchedPlane.arenaBytes} bytes, mapped and owned by the caller. Default: memory of its own. */
  readonly arena?: number;
  /** An eventfd that ends a turn's waiting, owned by the caller. Default: the plane makes one. */
  readonly wakeDescriptor?: number;
  /** Called in each turn after the waiting, before the first packet: to look at the clock. */
  readonly onAwake?: () => void;
  /** Called each time before what waits is sent: to show the state that clients will see. */
  readonly onRelayed?: () => void;
  /** DSCP and ECN of what comes in are set on what goes out (RFC 8656 §14). Default true. */
  readonly copyTrafficClass?: boolean;
  /** Takes what the engine says of channels, for a faster path beside this one. */
  readonly onChannel?: (output: ChannelOutput) => void;
}

/** Datagrams that one receive call takes at most. */
const BATCH = 64;
/** Calls in a row on one socket. */
const ROUNDS = 4;
/** Fewer free slots than this: what waits is sent, and the slots are used from the start again. */
const MIN_SLOTS = 32;
const DEFAULT_SLOTS = 128;
const EVENTS = 256;
/** After so many packets a turn ends: timers and control messages come first. */
const PACKETS_PER_TURN = 2048;
/** Entries of one socket's error queue that one turn reads. */
const ERRORS_PER_TURN = 16;
const WAKE = -1;
/** Sockets whose drops one look takes in: 16,000 in six seconds, at ten looks a second. */
const DROP_SAMPLES = 256;
/** Room for copies of packets that don't lie in a slot: the engine's own answers, and Data indications of aggregates. */
const SPILL = 512 * 1024;
/** A socket receives aggregates from the moment that half of so many packets could have been joined. */
const OBSERVE_PACKETS = 128;
/** Bytes around an aggregate's packet that a receiver may overwrite, kept and put back. */
const KEPT_BEFORE = 48;
const KEPT_BEHIND = 4;
const KEPT_WORDS = (KEPT_BEFORE + KEPT_BEHIND) / 4;
const CHANNEL_DATA_HEADER = 4;
/** RFC 792, RFC 1191 §4. */
const FRAGMENTATION_NEEDED = { type: 3, code: 4 } as const;
/** RFC 4443 §3.2. */
const PACKET_TOO_BIG = { type: 2, code: 0 } as const;

/**
 * The plane of batched system calls (Linux): `recvmmsg` and `sendmmsg` over one preallocated arena, aggregates where
 * traffic allows. It has no event loop: its owner calls {@link BatchedPlane.turn} again and again, on a thread that may
 * block. Packets are relayed where they lie; nothing is allocated for a packet.
 */
export class BatchedPlane implements ForwardingPlane {
  readonly counters: PlaneCounters;
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #sockets = new SocketTable();
  readonly #factory: SocketFactory;
  readonly #ring: ReceiveRing;
  readonly #queue: SendQueue;
  readonly #values: Float64Array;
  readonly #receiveAggregates: boolean;
  readonly #copyTrafficClass: boolean;
  readonly #onChannel: ((output: ChannelOutput) => void) | undefined;
  readonly #bufferBytes: number | undefined;
  readonly #epoll: number;
  readonly #wakeDescriptor: number;
  readonly #ownsWakeDescriptor: boolean;
  readonly #onAwake: () => void;
  readonly #onRelayed: () => void;
  readonly #events: number;
  readonly #scratch: number;
  readonly #spill: number;
  #spilled = 0;
  #receiver: PacketReceiver | undefined;
  readonly #source = new ClientSource(new AddressRegister());
  readonly #peer = new AddressRegister();
  /** Socket of each listener id. */
  readonly #listenerSockets: number[] = [];
  readonly #adopted = new Set<number>();
  readonly #kept = new Int32Array(KEPT_WORDS);

  /** The next free slot. */
  #slot = 0;
  #budget = 0;
  // Of the packet that the receiver looks at: where it lies, whether its neighbours are packets too, its class.
  #current = 0;
  #inAggregate = false;
  #trafficClass = -1;
  #inTurn = false;
  /** The socket whose drops were looked at last. */
  #sampled = 0;
  #stopped = false;

  /** @throws {SystemCallError} if epoll or eventfd descriptors can't be had. */
  constructor(options: BatchedPlaneOptions) {
    const { libc } = options;
    this.#libc = libc;
    this.counters = options.counters ?? new PlaneCounters();
    this.#values = this.counters.values;
    this.#receiveAggregates = options.receiveAggregates ?? true;
    this.#copyTrafficClass = options.copyTrafficClass ?? true;
    this.#onChannel = options.onChannel;
    this.#bufferBytes = options.bufferBytes;
    const slots = options.slots ?? DEFAULT_SLOTS;
    const arena = new Arena(libc, BatchedPlane.arenaBytes(slots), options.arena);
    this.#arena = arena;
    this.#factory = new SocketFactory(libc, arena);
    this.#events = arena.reserve(EVENTS * L.epollEvent.size);
    this.#scratch = arena.reserve(64);
    this.#queue = new SendQueue({
      libc,
      arena,
      sockets: this.#sockets,
      counters: this.#values,
      aggregate: options.sendAggregates ?? true,
    });
    this.#sockets.watchGrowth((capacity) => this.#queue.grow(capacity));
    this.#spill = arena.reserve(SPILL);
    // One more, for error queues.
    this.#ring = new ReceiveRing(libc, arena, slots + 1);
    this.#epoll = libc.epollCreate(L.EPOLL_CLOEXEC);
    if (this.#epoll < 0) throw new SystemCallError("epoll_create1", libc.errno(), "a plane");
    this.#onAwake = options.onAwake ?? nothing;
    this.#onRelayed = options.onRelayed ?? nothing;
    this.#ownsWakeDescriptor = options.wakeDescriptor === undefined;
    this.#wakeDescriptor = options.wakeDescriptor ?? libc.eventfd(0, L.EFD_NONBLOCK | L.EFD_CLOEXEC);
    if (this.#wakeDescriptor < 0) {
      const errno = libc.errno();
      libc.close(this.#epoll);
      throw new SystemCallError("eventfd", errno, "a plane");
    }
    this.#watch(this.#wakeDescriptor, WAKE);
  }

  /** Memory that a plane with so many receive slots takes. Pages that are never used cost nothing. */
  static arenaBytes(slots: number = DEFAULT_SLOTS): number {
    const fixed = SocketFactory.SCRATCH + EVENTS * L.epollEvent.size + SPILL + 8 * 64;
    return ReceiveRing.space(slots + 1) + SendQueue.SPACE + fixed;
  }

  /** An eventfd: eight bytes written to it, from any thread, end a {@link turn} that waits. */
  get wakeDescriptor(): number {
    return this.#wakeDescriptor;
  }

  start(receiver: PacketReceiver): void {
    this.#receiver = receiver;
  }

  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void {
    const socket = this.#open(local, SocketRole.listener, listener);
    if (typeof socket !== "number") return done(socket);
    this.#listenerSockets[listener] = socket;
    done({ kind: "opened", socket: listener, local: this.#factory.localAddress(this.#sockets.fds[socket] ?? -1) });
  }

  /** Listens on a descriptor that somebody else opened, and will close. */
  adoptListener(listener: number, fd: number): void {
    const ipv6 = this.#factory.localAddress(fd).family === 6;
    const socket = this.#sockets.add(fd, SocketRole.listener, ipv6, listener);
    // What was dropped before is somebody else's to count.
    this.#sockets.drops[socket] = this.#factory.drops(fd);
    this.#adopted.add(fd);
    this.#listenerSockets[listener] = socket;
    this.#prepare(fd, ipv6);
    this.#watch(fd, socket);
  }

  /** Receives what one client sends to a listener, from a socket connected to it. `closeRelaySocket` closes it. */
  adoptClient(listener: number, fd: number): number {
    const ipv6 = this.#factory.localAddress(fd).family === 6;
    const socket = this.#sockets.add(fd, SocketRole.listener, ipv6, listener);
    this.#prepare(fd, ipv6);
    this.#watch(fd, socket);
    return socket;
  }

  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void {
    const socket = this.#open(local, SocketRole.relay, 0);
    if (typeof socket !== "number") return done(socket);
    done({ kind: "opened", socket, local: this.#factory.localAddress(this.#sockets.fds[socket] ?? -1) });
  }

  handleChannel(output: ChannelOutput): void {
    this.#onChannel?.(output);
  }

  closeRelaySocket(socket: number, done: () => void): void {
    this.#queue.flushSocket(socket);
    this.#close(socket);
    done();
  }

  sendToClient(
    listener: number,
    _connection: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): void {
    const socket = this.#listenerSockets[listener] ?? -1;
    if (socket < 0) return this.#count(Counter.closedSocket, 1);
    if (!this.#carries(socket, destination, length)) return;
    this.#count(Counter.packetsToClients, 1);
    this.#count(Counter.bytesToClients, length);
    this.#send(socket, destination, buffer, offset, length, false);
  }

  sendToPeer(
    socket: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    dontFragment: boolean,
  ): void {
    if (this.#sockets.roles[socket] !== SocketRole.relay) return this.#count(Counter.closedSocket, 1);
    if (!this.#carries(socket, destination, length)) return;
    this.#count(Counter.packetsToPeers, 1);
    this.#count(Counter.bytesToPeers, length);
    this.#send(socket, destination, buffer, offset, length, dontFragment);
  }

  /**
   * Waits for packets, at most `timeoutMs` (−1: without end), relays what is there, and sends what waits. Returns how
   * many datagrams and aggregates came: 0 if it was woken or the time was up.
   */
  turn(timeoutMs: number): number {
    if (this.#stopped) return 0;
    const { words } = this.#arena;
    this.#count(Counter.systemCalls, 1);
    this.#count(Counter.turns, 1);
    const ready = this.#libc.epollWait(this.#epoll, this.#arena.address + this.#events, EVENTS, timeoutMs);
    this.#budget = PACKETS_PER_TURN;
    this.#inTurn = true;
    this.#onAwake();
    for (let i = 0; i < ready && this.#budget > 0; i++) {
      const at = (this.#events + i * L.epollEvent.size) >> 2;
      const socket = words[at + (L.epollEvent.data >> 2)] ?? WAKE;
      if (socket === WAKE) {
        this.#libc.read(this.#wakeDescriptor, this.#arena.address + this.#scratch, 8);
        continue;
      }
      const events = words[at] ?? 0;
      if ((events & L.EPOLLERR) !== 0) this.#readErrors(socket);
      if ((events & L.EPOLLIN) !== 0) this.#receive(socket);
    }
    this.#flush();
    this.#inTurn = false;
    return PACKETS_PER_TURN - this.#budget;
  }

  stop(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#flush();
    this.#stopped = true;
    for (let socket = 0; socket < this.#sockets.end; socket++) {
      if (this.#sockets.roles[socket] !== SocketRole.free) this.#close(socket);
    }
    this.#listenerSockets.length = 0;
    if (this.#ownsWakeDescriptor) this.#libc.close(this.#wakeDescriptor);
    this.#libc.close(this.#epoll);
    return Promise.resolve();
  }

  #open(local: TransportAddress, role: SocketRole, listener: number): number | Extract<Opened, { kind: "failed" }> {
    if (this.#stopped) return { kind: "failed", failure: "failed", code: "EBADF" };
    const ipv6 = local.family === 6;
    try {
      const bufferBytes = this.#bufferBytes;
      const { fd } = this.#factory.open(bufferBytes === undefined ? { local } : { local, bufferBytes });
      const socket = this.#sockets.add(fd, role, ipv6, listener);
      this.#prepare(fd, ipv6);
      this.#watch(fd, socket);
      return socket;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      return {
        kind: "failed",
        failure: openFailure(error.errno),
        code: describeErrno(error.errno).split(" ")[0] ?? "",
      };
    }
  }

  #prepare(fd: number, ipv6: boolean): void {
    if (!this.#copyTrafficClass) return;
    if (ipv6) this.#factory.set(fd, L.IPPROTO_IPV6, L.IPV6_RECVTCLASS, 1);
    else this.#factory.set(fd, L.IPPROTO_IP, L.IP_RECVTOS, 1);
  }

  /** Adds what the kernel dropped since the last look. */
  #readDrops(socket: number): void {
    const drops = this.#factory.drops(this.#sockets.fds[socket] ?? -1);
    this.#count(Counter.receiveOverflow, (drops - (this.#sockets.drops[socket] ?? 0)) >>> 0);
    this.#sockets.drops[socket] = drops;
  }

  /** Looks at the kernel's count of drops of 256 sockets, then of the next ones: to be called ten times a second. */
  sampleDrops(): void {
    const end = this.#sockets.end;
    for (let looked = Math.min(end, DROP_SAMPLES); looked > 0; looked--) {
      this.#sampled = (this.#sampled + 1) % end;
      if (this.#sockets.roles[this.#sampled] !== SocketRole.free) this.#readDrops(this.#sampled);
    }
  }

  #watch(fd: number, socket: number): void {
    const at = this.#scratch >> 2;
    this.#arena.words[at] = L.EPOLLIN;
    this.#arena.words[at + 1] = socket;
    this.#arena.words[at + 2] = 0;
    if (this.#libc.epollCtl(this.#epoll, L.EPOLL_CTL_ADD, fd, this.#arena.address + this.#scratch) < 0) {
      throw new SystemCallError("epoll_ctl", this.#libc.errno(), `socket ${fd}`);
    }
  }

  #close(socket: number): void {
    const fd = this.#sockets.fds[socket] ?? -1;
    if (fd < 0) return;
    this.#readDrops(socket);
    this.#sockets.remove(socket);
    if (this.#adopted.delete(fd)) this.#libc.epollCtl(this.#epoll, L.EPOLL_CTL_DEL, fd, 0);
    else this.#libc.close(fd);
  }

  #receive(socket: number): void {
    for (let round = 0; round < ROUNDS; round++) {
      if (this.#ring.slots - 1 - this.#slot < MIN_SLOTS) this.#flush();
      const fd = this.#sockets.fds[socket] ?? -1;
      if (fd < 0) return;
      const first = this.#slot;
      const room = Math.min(BATCH, this.#ring.slots - 1 - first);
      this.#count(Counter.systemCalls, 1);
      const received = this.#ring.receive(fd, first, room);
      if (received < 0) {
        const errno = this.#libc.errno();
        if (errno === L.EAGAIN) return;
        if (errno !== L.EINTR) {
          // An ICMP error of an earlier packet is told here once; the error queue has the details.
          this.#count(Counter.receiveErrors, 1);
          this.#readErrors(socket);
        }
        continue;
      }
      this.#slot = first + received;
      this.#budget -= received;
      const isListener = this.#sockets.roles[socket] === SocketRole.listener;
      if (isListener) this.#fromClients(socket, first, received);
      else this.#fromPeers(socket, first, received);
      if (received > 1 && this.#receiveAggregates && this.#sockets.aggregating[socket] === 0) {
        this.#observe(socket, first, received);
      }
      // What clients sent goes to many sockets: waiting for more gains no larger batches, only colder caches.
      if (isListener) this.#flush();
      if (received < room) return;
    }
  }

  #fromClients(socket: number, first: number, received: number): void {
    const ring = this.#ring;
    const source = this.#source;
    source.listener = this.#sockets.listeners[socket] ?? 0;
    for (let slot = first; slot < first + received; slot++) {
      const length = ring.length(slot);
      const segment = this.#control(slot);
      ring.rearm(slot);
      if (!readSocketAddress(this.#arena.words, ring.nameOffset(slot), source.remote)) continue;
      const offset = ring.payloadOffset(slot);
      if (segment === 0 || segment >= length) {
        this.#count(Counter.packetsFromClients, 1);
        this.#count(Counter.bytesFromClients, length);
        this.#current = offset;
        this.#receiver?.handleClientPacket(source, this.#arena.bytes, offset, length);
        if (this.#queue.room === 0) this.#queue.flush();
      } else {
        this.#aggregateFromClient(source, offset, length, segment);
      }
    }
    this.#trafficClass = -1;
  }

  #aggregateFromClient(source: ClientSource, offset: number, length: number, segment: number): void {
    this.#count(Counter.aggregatesReceived, 1);
    this.#inAggregate = true;
    for (let at = 0; at < length; at += segment) {
      const size = Math.min(segment, length - at);
      this.#count(Counter.packetsInAggregatesReceived, 1);
      this.#count(Counter.packetsFromClients, 1);
      this.#count(Counter.bytesFromClients, size);
      this.#current = offset + at;
      this.#receiver?.handleClientPacket(source, this.#arena.bytes, offset + at, size);
      if (this.#queue.room === 0) this.#queue.flush();
    }
    this.#inAggregate = false;
  }

  #fromPeers(socket: number, first: number, received: number): void {
    const ring = this.#ring;
    const peer = this.#peer;
    for (let slot = first; slot < first + received; slot++) {
      const length = ring.length(slot);
      const segment = this.#control(slot);
      ring.rearm(slot);
      if (!readSocketAddress(this.#arena.words, ring.nameOffset(slot), peer)) continue;
      const offset = ring.payloadOffset(slot);
      if (segment === 0 || segment >= length) {
        this.#count(Counter.packetsFromPeers, 1);
        this.#count(Counter.bytesFromPeers, length);
        this.#current = offset;
        this.#receiver?.handlePeerPacket(socket, peer, this.#arena.bytes, offset, length);
        if (this.#queue.room === 0) this.#queue.flush();
      } else {
        this.#aggregateFromPeer(socket, peer, offset, length, segment);
      }
    }
    this.#trafficClass = -1;
  }

  /** Packets of an aggregate have no headroom of their own: what the receiver overwrites is put back. */
  #aggregateFromPeer(socket: number, peer: TransportAddress, offset: number, length: number, segment: number): void {
    this.#count(Counter.aggregatesReceived, 1);
    this.#inAggregate = true;
    for (let at = 0; at < length; at += segment) {
      const size = Math.min(segment, length - at);
      this.#count(Counter.packetsInAggregatesReceived, 1);
      this.#count(Counter.packetsFromPeers, 1);
      this.#count(Counter.bytesFromPeers, size);
      this.#current = offset + at;
      this.#keep(offset + at, size);
      this.#receiver?.handlePeerPacket(socket, peer, this.#arena.bytes, offset + at, size);
      this.#putBack(offset + at, size);
      if (this.#queue.room === 0) this.#queue.flush();
    }
    this.#inAggregate = false;
  }

  #keep(offset: number, length: number): void {
    const { view } = this.#arena;
    const kept = this.#kept;
    for (let word = 0; word < KEPT_WORDS - 1; word++) kept[word] = view.getInt32(offset - KEPT_BEFORE + word * 4);
    kept[KEPT_WORDS - 1] = view.getInt32(offset + length);
  }

  #putBack(offset: number, length: number): void {
    const { view } = this.#arena;
    const kept = this.#kept;
    for (let word = 0; word < KEPT_WORDS - 1; word++) view.setInt32(offset - KEPT_BEFORE + word * 4, kept[word] ?? 0);
    view.setInt32(offset + length, kept[KEPT_WORDS - 1] ?? 0);
  }

  /** Reads a slot's control messages; the size of an aggregate's packets, or 0. */
  #control(slot: number): number {
    const ring = this.#ring;
    this.#trafficClass = -1;
    if (!ring.hasControl(slot)) return 0;
    ring.readControl(slot);
    this.#trafficClass = ring.trafficClass;
    return ring.segmentSize;
  }

  /** Runs of one size from one address are worth receiving as aggregates. */
  #observe(socket: number, first: number, received: number): void {
    const { words } = this.#arena;
    const ring = this.#ring;
    let joinable = 0;
    for (let slot = first + 1; slot < first + received; slot++) {
      const a = ring.nameOffset(slot) >> 2;
      const b = ring.nameOffset(slot - 1) >> 2;
      if (words[a] === words[b] && words[a + 1] === words[b + 1] && ring.length(slot) === ring.length(slot - 1)) {
        joinable++;
      }
    }
    const table = this.#sockets;
    const observed = (table.observed[socket] ?? 0) + received;
    joinable += table.joinable[socket] ?? 0;
    if (observed < OBSERVE_PACKETS) {
      table.observed[socket] = observed;
      table.joinable[socket] = joinable;
      return;
    }
    table.observed[socket] = 0;
    table.joinable[socket] = 0;
    if (joinable * 2 < observed) return;
    // It stays on: an aggregate that already waits could not be told from one large packet after turning it off.
    table.aggregating[socket] = 1;
    this.#factory.trySet(table.fds[socket] ?? -1, L.IPPROTO_UDP, L.UDP_GRO, 1);
  }

  #readErrors(socket: number): void {
    const ring = this.#ring;
    const slot = ring.slots - 1;
    const { words, bytes } = this.#arena;
    for (let i = 0; i < ERRORS_PER_TURN; i++) {
      this.#count(Counter.systemCalls, 1);
      const length = ring.receiveError(this.#sockets.fds[socket] ?? -1, slot);
      if (length < 0) {
        ring.rearm(slot);
        return;
      }
      const error = ring.extendedErrorOffset(slot);
      ring.rearm(slot);
      if (error < 0) continue;
      const origin = bytes[error + L.extendedError.origin] ?? 0;
      const tooLarge = origin === L.SO_EE_ORIGIN_LOCAL && words[error >> 2] === L.EMSGSIZE;
      if (!tooLarge && origin !== L.SO_EE_ORIGIN_ICMP && origin !== L.SO_EE_ORIGIN_ICMP6) continue;
      this.#count(Counter.icmpErrors, 1);
      if (this.#sockets.roles[socket] !== SocketRole.relay) continue;
      if (!readSocketAddress(words, ring.nameOffset(slot), this.#peer)) continue;
      const data = words[(error + L.extendedError.info) >> 2] ?? 0;
      // What our own machine finds too large is what the next hop would have said (RFC 8656 §14).
      const own = this.#peer.family === 4 ? FRAGMENTATION_NEEDED : PACKET_TOO_BIG;
      const { type, code } = tooLarge
        ? own
        : { type: bytes[error + L.extendedError.type] ?? 0, code: bytes[error + L.extendedError.code] ?? 0 };
      const carriesMtu = type === own.type && code === own.code;
      this.#receiver?.handlePeerIcmp(socket, this.#peer, { type, code, data: carriesMtu ? data : 0 });
    }
  }

  #carries(socket: number, destination: TransportAddress, length: number): boolean {
    const ipv6 = destination.family === 6;
    if (length > (ipv6 ? MAX_PAYLOAD_IPV6 : MAX_PAYLOAD_IPV4)) {
      this.#count(Counter.oversized, 1);
      return false;
    }
    if (destination.port === 0 || (this.#sockets.ipv6[socket] === 1) !== ipv6) {
      this.#count(Counter.sendErrors, 1);
      return false;
    }
    return true;
  }

  #send(
    socket: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    dontFragment: boolean,
  ): void {
    const queue = this.#queue;
    if (queue.room === 0) queue.flush();
    if (buffer === this.#arena.bytes && (!this.#inAggregate || offset >= this.#current)) {
      queue.add(socket, destination, offset, length, this.#trafficClass, dontFragment, false);
    } else if (buffer === this.#arena.bytes && offset === this.#current - CHANNEL_DATA_HEADER) {
      queue.add(socket, destination, offset, length, this.#trafficClass, dontFragment, true);
    } else {
      const at = this.#copy(buffer, offset, length);
      queue.add(socket, destination, at, length, this.#trafficClass, dontFragment, false);
    }
    // Outside a turn nobody else would send it soon.
    if (!this.#inTurn) this.#flush();
  }

  /** Copies a packet into the spill and returns its offset in the arena. */
  #copy(buffer: Uint8Array, offset: number, length: number): number {
    if (this.#spilled + length > SPILL) {
      this.#queue.flush();
      this.#spilled = 0;
    }
    const at = this.#spill + this.#spilled;
    this.#spilled += length;
    if (buffer === this.#arena.bytes) {
      buffer.copyWithin(at, offset, offset + length);
    } else if (offset === 0 && length === buffer.length) {
      this.#arena.bytes.set(buffer, at);
    } else {
      this.#arena.bytes.set(buffer.subarray(offset, offset + length), at);
    }
    return at;
  }

  #flush(): void {
    this.#onRelayed();
    this.#queue.flush();
    this.#slot = 0;
    this.#spilled = 0;
  }

  #count(counter: number, by: number): void {
    this.#values[counter] = (this.#values[counter] ?? 0) + by;
  }
}

function nothing(): void {}
