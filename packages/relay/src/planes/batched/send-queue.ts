import type { TransportAddress } from "@turnpike/stun";
import type { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";
import type { Libc } from "../../libc/libc.ts";
import { PlaneCounter as Counter } from "../counters.ts";
import { ControlMessages } from "./control-messages.ts";
import { DETACHED_HEADER, Entry, NONE, SendEntries } from "./send-entries.ts";
import { count, countFailure, isSegmentationError, isSoftError } from "./send-errors.ts";

/** Packets that may wait between two flushes. */
const PACKETS = 8192;
/** Messages in one call; Linux takes 1024 at most. */
const MESSAGES = 512;
/** Vectors over all messages of one call. */
const VECTORS = 4096;
/** The kernel takes 64 segments everywhere, 128 since 6.9; an aggregate must also fit one IP datagram. */
const MAX_SEGMENTS = 64;
const MAX_AGGREGATE = 65_000;
/**
 * A shorter run is sent as packets of their own, unless it is all that its socket sends: then its aggregate spares a look
 * at each message in the kernel, and else it costs more than it spares, at the receiver most of all.
 */
const MIN_SEGMENTS = 4;
/** How often a message is tried again after an error that an earlier packet caused. */
const RETRIES = 3;
/** Sockets by index: what the queue must know of each to send from it. */
export interface SendSockets {
  /** Descriptor of each socket, −1 where there is none. */
  readonly fds: Int32Array;
  /** 1: IPv6. */
  readonly ipv6: Uint8Array;
  /** Aggregates with segments larger than this are not tried on the socket. */
  readonly segmentLimits: Int32Array;
}

/**
 * Packets that wait to be sent, by socket and in order, in one set of arrays; `flush` sends them with as few calls as
 * the kernel allows. Runs of equal size to one destination go out as one aggregate (UDP_SEGMENT).
 */
export class SendQueue {
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #words: Int32Array;
  readonly #sockets: SendSockets;
  readonly #counters: Float64Array;
  readonly #aggregate: boolean;

  // One entry for each packet that waits.
  #count = 0;
  readonly #entries: SendEntries;

  // One list for each socket that has packets waiting.
  #first: Int32Array;
  #last: Int32Array;
  readonly #touched: Int32Array = new Int32Array(PACKETS);
  #touchedCount = 0;

  readonly #headers: number;
  readonly #vectors: number;
  readonly #controls: ControlMessages;
  readonly #option: number;
  /** Segments of each message that was built, to count and to take apart. */
  readonly #segments = new Int32Array(MESSAGES);

  constructor(options: {
    readonly libc: Libc;
    readonly arena: Arena;
    readonly sockets: SendSockets;
    readonly counters: Float64Array;
    readonly aggregate: boolean;
  }) {
    const { arena } = options;
    this.#libc = options.libc;
    this.#arena = arena;
    this.#words = arena.words;
    this.#sockets = options.sockets;
    this.#counters = options.counters;
    this.#aggregate = options.aggregate;
    this.#first = new Int32Array(options.sockets.fds.length).fill(NONE);
    this.#last = new Int32Array(options.sockets.fds.length).fill(NONE);
    this.#entries = new SendEntries(arena, PACKETS);
    this.#headers = arena.reserve(MESSAGES * L.mmsghdr.size);
    this.#vectors = arena.reserve(VECTORS * L.iovec.size);
    this.#controls = new ControlMessages(arena, MESSAGES);
    this.#option = arena.reserve(8);
    for (let message = 0; message < MESSAGES; message++) {
      arena.setLength(this.#headers + message * L.mmsghdr.size + L.msghdr.iovLength, 1);
    }
  }

  /** Bytes of arena that a queue takes. */
  static readonly SPACE: number =
    SendEntries.space(PACKETS) +
    MESSAGES * L.mmsghdr.size +
    ControlMessages.space(MESSAGES) +
    VECTORS * L.iovec.size +
    6 * 64;

  /** Packets that may still be added before a flush. */
  get room(): number {
    return PACKETS - this.#count;
  }

  /**
   * Adds a packet that lies in the arena and stays there until the flush. There must be room. `trafficClass` −1: the
   * socket's own. With `detach`, the first four bytes are copied apart: the place that they were
   * written to belongs to another packet.
   */
  add(
    socket: number,
    destination: TransportAddress,
    offset: number,
    length: number,
    trafficClass: number,
    dontFragment: boolean,
    detach: boolean,
  ): void {
    const packet = this.#count++;
    this.#entries.write(packet, destination, offset, length, trafficClass, dontFragment, detach);
    const last = this.#last[socket] ?? NONE;
    if (last === NONE) {
      this.#first[socket] = packet;
      this.#touched[this.#touchedCount++] = socket;
    } else {
      this.#entries.set(last, Entry.next, packet);
    }
    this.#last[socket] = packet;
  }

  /** Sends everything. What can't be sent is counted and gone. */
  flush(): void {
    for (let i = 0; i < this.#touchedCount; i++) this.flushSocket(this.#touched[i] ?? 0);
    this.#touchedCount = 0;
    this.#count = 0;
  }

  /** Sends what waits for one socket: before it is closed. */
  flushSocket(socket: number): void {
    let packet = this.#first[socket] ?? NONE;
    if (packet === NONE) return;
    const last = this.#last[socket];
    this.#first[socket] = NONE;
    this.#last[socket] = NONE;
    if (packet === last && this.#entries.get(packet, Entry.plain) === 1 && this.#sendOne(socket, packet)) return;
    while (packet !== NONE) {
      if (this.#entries.get(packet, Entry.dontFragment) === 1) {
        this.#setDontFragment(socket, true);
        const next = this.#entries.get(packet, Entry.next);
        this.#entries.set(packet, Entry.next, NONE);
        this.#sendFrom(socket, packet);
        packet = next;
        this.#setDontFragment(socket, false);
      } else {
        packet = this.#sendFrom(socket, packet);
      }
    }
  }

  /** The tables of sockets have grown. */
  grow(capacity: number): void {
    const first = new Int32Array(capacity).fill(NONE);
    const last = new Int32Array(capacity).fill(NONE);
    first.set(this.#first);
    last.set(this.#last);
    this.#first = first;
    this.#last = last;
  }

  /** The shortest way for a packet that is alone. False: it failed, and the long way knows what to do. */
  #sendOne(socket: number, packet: number): boolean {
    count(this.#counters, Counter.systemCalls, 1);
    const { address } = this.#arena;
    return (
      this.#libc.sendto(
        this.#sockets.fds[socket] ?? -1,
        address + this.#entries.get(packet, Entry.offset),
        this.#entries.get(packet, Entry.length),
        L.MSG_DONTWAIT,
        address + this.#entries.destination(packet),
        this.#sockets.ipv6[socket] === 1 ? L.sockaddr.in6.size : L.sockaddr.in.size,
      ) >= 0
    );
  }

  /** Builds messages from `packet` on as long as they fit one call, sends them, and returns the first packet that is left. */
  #sendFrom(socket: number, start: number): number {
    const words = this.#words;
    const limit = this.#aggregate ? (this.#sockets.segmentLimits[socket] ?? 0) : 0;
    const nameLength = this.#sockets.ipv6[socket] === 1 ? L.sockaddr.in6.size : L.sockaddr.in.size;
    let packet = start;
    let message = 0;
    let vector = 0;
    while (packet !== NONE && message < MESSAGES && vector + 2 <= VECTORS) {
      if (packet !== start && this.#entries.get(packet, Entry.dontFragment) === 1) break;
      const first = packet;
      const firstVector = vector;
      const size = this.#entries.get(first, Entry.length);
      const segments = size <= limit && size > 0 ? this.#countRun(first, first === start, VECTORS - vector) : 1;
      for (let segment = 0; segment < segments; segment++) {
        vector = this.#addVectors(vector, packet);
        packet = this.#entries.get(packet, Entry.next);
      }
      const header = this.#headers + message * L.mmsghdr.size;
      this.#arena.setPointer(header + L.msghdr.name, this.#entries.destination(first));
      words[(header + L.msghdr.nameLength) >> 2] = nameLength;
      this.#arena.setPointer(header + L.msghdr.iov, this.#vectors + firstVector * L.iovec.size);
      words[(header + L.msghdr.iovLength) >> 2] = vector - firstVector;
      this.#segments[message] = segments;
      this.#controls.write(
        message,
        header,
        this.#sockets.ipv6[socket] === 1,
        segments > 1 ? size : 0,
        this.#entries.get(first, Entry.traffic),
      );
      message++;
    }
    this.#send(socket, message);
    return packet;
  }

  /** How many packets from `first` on go out as one aggregate, if `isAll` because they are all; 1: it goes alone. */
  #countRun(first: number, isAll: boolean, vectors: number): number {
    const entries = this.#entries;
    const size = entries.get(first, Entry.length);
    const most = Math.min(MAX_SEGMENTS, vectors >> 1);
    let segments = 1;
    let total = size;
    let length = size;
    let packet = entries.get(first, Entry.next);
    while (packet !== NONE && length === size && segments < most) {
      length = entries.get(packet, Entry.length);
      if (length > size || length === 0 || total + length > MAX_AGGREGATE || !entries.joins(packet, first)) break;
      total += length;
      segments++;
      packet = entries.get(packet, Entry.next);
    }
    return segments >= MIN_SEGMENTS || (isAll && packet === NONE) ? segments : 1;
  }

  #addVectors(vector: number, packet: number): number {
    const arena = this.#arena;
    const offset = this.#entries.get(packet, Entry.offset);
    const length = this.#entries.get(packet, Entry.length);
    const header = this.#entries.get(packet, Entry.header);
    let at = this.#vectors + vector * L.iovec.size;
    if (header === NONE) {
      arena.setPointer(at, offset);
      arena.words[(at + L.iovec.length) >> 2] = length;
      return vector + 1;
    }
    arena.setPointer(at, header);
    arena.words[(at + L.iovec.length) >> 2] = DETACHED_HEADER;
    at += L.iovec.size;
    arena.setPointer(at, offset + DETACHED_HEADER);
    arena.words[(at + L.iovec.length) >> 2] = length - DETACHED_HEADER;
    return vector + 2;
  }

  #send(socket: number, messages: number): void {
    const fd = this.#sockets.fds[socket] ?? -1;
    const counters = this.#counters;
    let sent = 0;
    let retries = 0;
    while (sent < messages) {
      const header = this.#headers + sent * L.mmsghdr.size;
      count(counters, Counter.systemCalls, 1);
      const result =
        messages - sent === 1
          ? this.#libc.sendmsg(fd, this.#arena.address + header, L.MSG_DONTWAIT) < 0
            ? -1
            : 1
          : this.#libc.sendmmsg(fd, this.#arena.address + header, messages - sent, L.MSG_DONTWAIT);
      if (result > 0) {
        for (let i = sent; i < sent + result; i++) {
          const segments = this.#segments[i] ?? 0;
          if (segments > 1) {
            count(counters, Counter.aggregatesSent, 1);
            count(counters, Counter.packetsInAggregatesSent, segments);
          }
        }
        sent += result;
        retries = 0;
        continue;
      }
      const errno = this.#libc.errno();
      if (errno === L.EINTR) continue;
      if (isSoftError(errno) && retries < RETRIES) {
        retries++;
        count(counters, Counter.sendRetries, 1);
        continue;
      }
      retries = 0;
      if (errno === L.EAGAIN) {
        for (let i = sent; i < messages; i++) countFailure(counters, errno, this.#segments[i] ?? 0);
        return;
      }
      if ((this.#segments[sent] ?? 0) > 1 && isSegmentationError(errno)) {
        this.#sendApart(socket, sent, errno);
      } else {
        countFailure(counters, errno, this.#segments[sent] ?? 0);
      }
      sent++;
    }
  }

  /** The kernel refused an aggregate (its segments exceed the MTU, or the route can't): its packets go one by one. */
  #sendApart(socket: number, message: number, errno: number): void {
    count(this.#counters, Counter.aggregatesRefused, 1);
    const words = this.#words;
    const header = this.#headers + message * L.mmsghdr.size;
    const size = this.#controls.dropSegmentSize(message, header);
    // EIO: no aggregate will ever pass on this route; else smaller ones may.
    this.#sockets.segmentLimits[socket] = errno === L.EIO ? 0 : size - 1;
    const vectors = words[(header + L.msghdr.iovLength) >> 2] ?? 0;
    const perPacket = vectors / (this.#segments[message] ?? 1);
    const fd = this.#sockets.fds[socket] ?? -1;
    let vector = this.#firstVector(header);
    words[(header + L.msghdr.iovLength) >> 2] = perPacket;
    for (let i = 0; i < vectors; i += perPacket) {
      this.#arena.setPointer(header + L.msghdr.iov, vector);
      vector += perPacket * L.iovec.size;
      count(this.#counters, Counter.systemCalls, 1);
      if (this.#libc.sendmsg(fd, this.#arena.address + header, L.MSG_DONTWAIT) < 0) {
        countFailure(this.#counters, this.#libc.errno(), 1);
      }
    }
  }

  #firstVector(header: number): number {
    const index = (header + L.msghdr.iov) >> 2;
    const words = this.#words;
    return (words[index + 1] ?? 0) * 0x1_0000_0000 + ((words[index] ?? 0) >>> 0) - this.#arena.address;
  }

  #setDontFragment(socket: number, on: boolean): void {
    const ipv6 = this.#sockets.ipv6[socket] === 1;
    this.#words[this.#option >> 2] = on ? L.PMTUDISC_DO : L.PMTUDISC_DONT;
    count(this.#counters, Counter.systemCalls, 1);
    this.#libc.setsockopt(
      this.#sockets.fds[socket] ?? -1,
      ipv6 ? L.IPPROTO_IPV6 : L.IPPROTO_IP,
      ipv6 ? L.IPV6_MTU_DISCOVER : L.IP_MTU_DISCOVER,
      this.#arena.address + this.#option,
      4,
    );
  }
}
