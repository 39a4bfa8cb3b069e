import type { ChannelOutput } from "../../kernel/kernel-channels.ts";
import { AddressRegister, type TransportAddress } from "@turnpike/stun";
import { ClientSource } from "@turnpike/turn";
import { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";
import type { Libc } from "../../libc/libc.ts";
import { readSocketAddress } from "../../libc/socket-address.ts";
import { PlaneCounter as Counter, PlaneCounters } from "../counters.ts";
import type { ForwardingPlane, Opened, PacketReceiver } from "../plane.ts";
import { AggregateObserver, Surroundings } from "./aggregates.ts";
import type { BatchedPlaneOptions } from "./batched-plane-options.ts";
import type { ClassWatch } from "./class-watch.ts";
import { type ErrorQueueParts, readErrorQueue } from "./error-queue.ts";
import { Outbox } from "./outbox.ts";
import { ReceiveRing } from "./receive-ring.ts";
import { SocketRole, type SocketTable } from "./socket-table.ts";
import { WAKE, WatchedSockets } from "./watched-sockets.ts";

/** Datagrams that one receive call takes at most. */
const BATCH = 64;
/** Calls in a row on one socket. */
const ROUNDS = 4;
/** Fewer free slots than this: what waits is sent, and the slots are used from the start again. */
const MIN_SLOTS = 32;
const DEFAULT_SLOTS = 128;
/** After so many packets a turn ends: timers and control messages come first. */
const PACKETS_PER_TURN = 2048;

/**
 * The plane of batched system calls (Linux): `recvmmsg` and `sendmmsg` over one preallocated arena, aggregates where
 * traffic allows. It has no event loop: its owner calls {@link BatchedPlane.turn} again and again, on a thread that may
 * block. Packets are relayed where they lie; nothing is allocated for a packet.
 */
export class BatchedPlane implements ForwardingPlane {
  readonly counters: PlaneCounters;
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #watched: WatchedSockets;
  readonly #sockets: SocketTable;
  readonly #ring: ReceiveRing;
  readonly #outbox: Outbox;
  readonly #values: Float64Array;
  readonly #receiveAggregates: boolean;
  readonly #onChannel: ((output: ChannelOutput) => void) | undefined;
  readonly #onAwake: () => void;
  readonly #onRelayed: () => void;
  readonly #surroundings: Surroundings;
  readonly #observer: AggregateObserver;
  readonly #classes: ClassWatch | undefined;
  readonly #errors: ErrorQueueParts;
  #receiver: PacketReceiver | undefined;
  readonly #source = new ClientSource(new AddressRegister());
  readonly #peer = new AddressRegister();
  /** Socket of each listener id. */
  readonly #listenerSockets: number[] = [];

  /** The next free slot. */
  #slot = 0;
  #budget = 0;
  #inTurn = false;
  #stopped = false;

  /** @throws {SystemCallError} if epoll or eventfd descriptors can't be had. */
  constructor(options: BatchedPlaneOptions) {
    const { libc } = options;
    this.#libc = libc;
    this.counters = options.counters ?? new PlaneCounters();
    this.#values = this.counters.values;
    this.#receiveAggregates = options.receiveAggregates ?? true;
    this.#onChannel = options.onChannel;
    this.#onAwake = options.onAwake ?? nothing;
    this.#onRelayed = options.onRelayed ?? nothing;
    const slots = options.slots ?? DEFAULT_SLOTS;
    const arena = new Arena(libc, BatchedPlane.arenaBytes(slots), options.arena);
    this.#arena = arena;
    const counters = this.#values;
    this.#watched = new WatchedSockets({
      libc,
      arena,
      counters,
      bufferBytes: options.bufferBytes,
      tellTrafficClass: options.copyTrafficClass ?? true,
      wakeDescriptor: options.wakeDescriptor,
    });
    const sockets = this.#watched.table;
    this.#sockets = sockets;
    this.#classes = this.#watched.classes;
    this.#outbox = new Outbox({ libc, arena, sockets, counters, aggregate: options.sendAggregates ?? true });
    this.#surroundings = new Surroundings(arena);
    // One more, for error queues.
    this.#ring = new ReceiveRing(libc, arena, slots + 1);
    this.#observer = new AggregateObserver(arena, this.#ring, sockets);
    this.#errors = { arena, ring: this.#ring, sockets, counters, peer: this.#peer };
  }

  /** Memory that a plane with so many receive slots takes. Pages that are never used cost nothing. */
  static arenaBytes(slots: number = DEFAULT_SLOTS): number {
    return ReceiveRing.space(slots + 1) + Outbox.SPACE + WatchedSockets.SPACE;
  }

  /** An eventfd: eight bytes written to it, from any thread, end a {@link turn} that waits. */
  get wakeDescriptor(): number {
    return this.#watched.wakeDescriptor;
  }

  start(receiver: PacketReceiver): void {
    this.#receiver = receiver;
  }

  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void {
    const opened = this.#watched.open(local, SocketRole.listener, listener);
    if (opened.kind === "failed") return done(opened);
    this.#listenerSockets[listener] = opened.socket;
    done({ ...opened, socket: listener });
  }

  /** Listens on a descriptor that somebody else opened, and will close. */
  adoptListener(listener: number, fd: number): void {
    this.#listenerSockets[listener] = this.#watched.adopt(fd, listener);
  }

  /** Receives what one client sends to a listener, from a socket connected to it. `closeRelaySocket` closes it. */
  adoptClient(listener: number, fd: number): number {
    return this.#watched.take(fd, listener);
  }

  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void {
    done(this.#watched.open(local, SocketRole.relay, 0));
  }

  handleChannel(output: ChannelOutput): void {
    this.#onChannel?.(output);
  }

  closeRelaySocket(socket: number, done: () => void): void {
    this.#outbox.flushSocket(socket);
    this.#watched.close(socket);
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
    if (!this.#outbox.carries(socket, destination, length)) return;
    this.#count(Counter.packetsToClients, 1);
    this.#count(Counter.bytesToClients, length);
    this.#outbox.add(socket, destination, buffer, offset, length, false);
    // Outside a turn nobody else would send it soon.
    if (!this.#inTurn) this.#flush();
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
    if (!this.#outbox.carries(socket, destination, length)) return;
    this.#count(Counter.packetsToPeers, 1);
    this.#count(Counter.bytesToPeers, length);
    this.#outbox.add(socket, destination, buffer, offset, length, dontFragment);
    if (!this.#inTurn) this.#flush();
  }

  /**
   * Waits for packets, at most `timeoutMs` (−1: without end), relays what is there, and sends what waits. Returns how
   * many datagrams and aggregates came: 0 if it was woken or the time was up.
   */
  turn(timeoutMs: number): number {
    if (this.#stopped) return 0;
    const watched = this.#watched;
    this.#count(Counter.systemCalls, 1);
    this.#count(Counter.turns, 1);
    const ready = watched.wait(timeoutMs);
    this.#budget = PACKETS_PER_TURN;
    this.#inTurn = true;
    this.#onAwake();
    for (let i = 0; i < ready && this.#budget > 0; i++) {
      const socket = watched.socketOf(i);
      if (socket === WAKE) {
        watched.hush();
        continue;
      }
      const events = watched.eventsOf(i);
      if ((events & L.EPOLLERR) !== 0) readErrorQueue(this.#errors, socket, this.#receiver);
      if ((events & L.EPOLLIN) !== 0) this.#receive(socket);
    }
    this.#flush();
    this.#inTurn = false;
    return PACKETS_PER_TURN - this.#budget;
  }

  /** What `act` sends outside a turn leaves together, when it has returned. */
  together(act: () => void): void {
    this.#inTurn = true;
    try {
      act();
    } finally {
      this.#inTurn = false;
      if (!this.#stopped) this.#flush();
    }
  }

  stop(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#flush();
    this.#stopped = true;
    this.#watched.closeAll();
    this.#listenerSockets.length = 0;
    return Promise.resolve();
  }

  /** Looks at the kernel's count of drops of 256 sockets, then of the next ones: to be called ten times a second. */
  sampleDrops(): void {
    this.#watched.sampleDrops();
  }

  #receive(socket: number): void {
    const isListener = this.#sockets.roles[socket] === SocketRole.listener;
    const isSingle = !isListener && this.#sockets.isSingle(socket);
    this.#classes?.prepare(socket);
    for (let round = 0; round < ROUNDS; round++) {
      if (this.#ring.slots - 1 - this.#slot < MIN_SLOTS) this.#flush();
      const fd = this.#sockets.fds[socket] ?? -1;
      if (fd < 0) return;
      const first = this.#slot;
      const room = isSingle ? 1 : Math.min(BATCH, this.#ring.slots - 1 - first);
      this.#count(Counter.systemCalls, 1);
      const received = this.#ring.receive(fd, first, room);
      if (received < 0) {
        const errno = this.#libc.errno();
        if (errno === L.EAGAIN) return;
        if (errno !== L.EINTR) {
          // An ICMP error of an earlier packet is told here once; the error queue has the details.
          this.#count(Counter.receiveErrors, 1);
          readErrorQueue(this.#errors, socket, this.#receiver);
        }
        continue;
      }
      this.#slot = first + received;
      this.#budget -= received;
      if (isListener) {
        this.#fromClients(socket, first, received);
      } else {
        this.#fromPeers(socket, first, received);
        if (round === 0) this.#sockets.noteVisit(socket, received);
      }
      if (received > 1 && this.#receiveAggregates && this.#sockets.aggregating[socket] === 0) {
        if (this.#observer.observe(socket, first, received)) this.#startAggregates(socket);
      }
      // What clients sent goes to many sockets: waiting for more gains no larger batches, only colder caches.
      if (isListener) this.#flush();
      // Of a socket that has more all the same, epoll tells again.
      if (received < room || isSingle) return;
    }
  }

  #fromClients(socket: number, first: number, received: number): void {
    const ring = this.#ring;
    const source = this.#source;
    source.listener = this.#sockets.listeners[socket] ?? 0;
    let packets = 0;
    let bytes = 0;
    for (let slot = first; slot < first + received; slot++) {
      const length = ring.length(slot);
      const segment = this.#control(socket, slot);
      ring.rearm(slot);
      if (!readSocketAddress(this.#arena.words, ring.nameOffset(slot), source.remote)) continue;
      const offset = ring.payloadOffset(slot);
      if (segment === 0 || segment >= length) {
        packets++;
        bytes += length;
        this.#outbox.current = offset;
        this.#receiver?.handleClientPacket(source, this.#arena.bytes, offset, length);
        this.#outbox.makeRoom();
      } else {
        this.#aggregateFromClient(source, offset, length, segment);
      }
    }
    this.#count(Counter.packetsFromClients, packets);
    this.#count(Counter.bytesFromClients, bytes);
    this.#outbox.trafficClass = -1;
  }

  #aggregateFromClient(source: ClientSource, offset: number, length: number, segment: number): void {
    this.#count(Counter.aggregatesReceived, 1);
    this.#outbox.inAggregate = true;
    for (let at = 0; at < length; at += segment) {
      const size = Math.min(segment, length - at);
      this.#count(Counter.packetsInAggregatesReceived, 1);
      this.#count(Counter.packetsFromClients, 1);
      this.#count(Counter.bytesFromClients, size);
      this.#outbox.current = offset + at;
      this.#receiver?.handleClientPacket(source, this.#arena.bytes, offset + at, size);
      this.#outbox.makeRoom();
    }
    this.#outbox.inAggregate = false;
  }

  #fromPeers(socket: number, first: number, received: number): void {
    const ring = this.#ring;
    const peer = this.#peer;
    let packets = 0;
    let bytes = 0;
    for (let slot = first; slot < first + received; slot++) {
      const length = ring.length(slot);
      const segment = this.#control(socket, slot);
      ring.rearm(slot);
      if (!readSocketAddress(this.#arena.words, ring.nameOffset(slot), peer)) continue;
      const offset = ring.payloadOffset(slot);
      if (segment === 0 || segment >= length) {
        packets++;
        bytes += length;
        this.#outbox.current = offset;
        this.#receiver?.handlePeerPacket(socket, peer, this.#arena.bytes, offset, length);
        this.#outbox.makeRoom();
      } else {
        this.#aggregateFromPeer(socket, peer, offset, length, segment);
      }
    }
    this.#count(Counter.packetsFromPeers, packets);
    this.#count(Counter.bytesFromPeers, bytes);
    this.#outbox.trafficClass = -1;
  }

  /** Packets of an aggregate have no headroom of their own: what the receiver overwrites is put back. */
  #aggregateFromPeer(socket: number, peer: TransportAddress, offset: number, length: number, segment: number): void {
    this.#count(Counter.aggregatesReceived, 1);
    this.#outbox.inAggregate = true;
    for (let at = 0; at < length; at += segment) {
      const size = Math.min(segment, length - at);
      this.#count(Counter.packetsInAggregatesReceived, 1);
      this.#count(Counter.packetsFromPeers, 1);
      this.#count(Counter.bytesFromPeers, size);
      this.#outbox.current = offset + at;
      this.#surroundings.keep(offset + at, size);
      this.#receiver?.handlePeerPacket(socket, peer, this.#arena.bytes, offset + at, size);
      this.#surroundings.putBack(offset + at, size);
      this.#outbox.makeRoom();
    }
    this.#outbox.inAggregate = false;
  }

  /** Reads a slot's control messages; the size of an aggregate's packets, or 0. */
  #control(socket: number, slot: number): number {
    const ring = this.#ring;
    this.#outbox.trafficClass = -1;
    if (!ring.hasControl(slot)) return 0;
    ring.readControl(slot);
    this.#outbox.trafficClass = ring.trafficClass;
    if (ring.trafficClass > 0) this.#classes?.noteMarked(socket);
    return ring.segmentSize;
  }

  /** It stays on: an aggregate that already waits could not be told from one large packet after turning it off. */
  #startAggregates(socket: number): void {
    this.#sockets.aggregating[socket] = 1;
    this.#watched.factory.trySet(this.#sockets.fds[socket] ?? -1, L.IPPROTO_UDP, L.UDP_GRO, 1);
  }

  #flush(): void {
    this.#onRelayed();
    this.#outbox.flush();
    this.#slot = 0;
  }

  #count(counter: number, by: number): void {
    this.#values[counter] = (this.#values[counter] ?? 0) + by;
  }
}

function nothing(): void {}
