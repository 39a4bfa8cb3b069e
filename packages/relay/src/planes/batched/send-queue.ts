import type { TransportAddress } from "@turnpike/stun";
import type { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";
import type { Libc } from "../../libc/libc.ts";
import { SOCKADDR_SPACE, writeSocketAddress } from "../../libc/socket-address.ts";
import { PlaneCounter as Counter } from "../counters.ts";
import { ControlMessages } from "./control-messages.ts";
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
/** A ChannelData header that stands apart from its payload. */
const DETACHED_HEADER = 4;
/** How often a message is tried again after an error that an earlier packet caused. */
const RETRIES = 3;
/** Words of a destination: the socket address without flow and scope. */
const DESTINATION_WORDS = 6;
const NONE = -1;

/** A packet that waits: its destination as a socket address, then these words. One line of the cache for each. */
const ENTRY_SPACE = 64;
const NEXT = SOCKADDR_SPACE / 4;
const OFFSET = NEXT + 1;
const LENGTH = NEXT + 2;
/** Where the first four bytes lie if they stand apart, or −1. */
const HEADER = NEXT + 3;
/** TOS or traffic class byte; 0 or −1: the socket's own. */
const TRAFFIC = NEXT + 4;
/** 1: DF. */
const DONT_FRAGMENT = NEXT + 5;
/** 1: there is nothing of the three before. */
const PLAIN = NEXT + 6;

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
  readonly #entries: number;

  // One list for each socket that has packets waiting.
  #first: Int32Array;
  #last: Int32Array;
  readonly #touched: Int32Array = new Int32Array(PACKETS);
  #touchedCount = 0;

  readonly #headers: number;
  readonly #vectors: number;
  readonly #controls: ControlMessages;
  readonly #detached: number;
  readonly #option: number;
  /** Segments of each message that was built, to count and to take apart. */
  readonly #segments = new Int32Array(MESSAGES);
  readonly #payload = new Int32Array(MESSAGES);

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
    this.#entries = arena.reserve(PACKETS * ENTRY_SPACE);
    this.#headers = arena.reserve(MESSAGES * L.mmsghdr.size);
    this.#vectors = arena.reserve(VECTORS * L.iovec.size);
    this.#controls = new ControlMessages(arena, MESSAGES);
    this.#detached = arena.reserve(PACKETS * DETACHED_HEADER);
    this.#option = arena.reserve(8);
    for (let message = 0; message < MESSAGES; message++) {
      arena.setLength(this.#headers + message * L.mmsghdr.size + L.msghdr.iovLength, 1);
    }
  }

  /** Bytes of arena that a queue takes. */
  static readonly SPACE: number =
    PACKETS * (ENTRY_SPACE + DETACHED_HEADER) +
    MESSAGES * L.mmsghdr.size +
    ControlMessages.space(MESSAGES) +
    VECTORS * L.iovec.size +
    8 * 64;

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
    const words = this.#words;
    const packet = this.#count++;
    const entry = this.#entries + packet * ENTRY_SPACE;
    const at = entry >> 2;
    writeSocketAddress(words, entry, destination);
    words[at + NEXT] = NONE;
    words[at + OFFSET] = offset;
    words[at + LENGTH] = length;
    words[at + TRAFFIC] = trafficClass;
    words[at + DONT_FRAGMENT] = dontFragment ? 1 : 0;
    words[at + PLAIN] = detach || dontFragment || trafficClass > 0 ? 0 : 1;
    words[at + HEADER] = detach ? this.#detach(packet, offset) : NONE;
    const last = this.#last[socket] ?? NONE;
    if (last === NONE) {
      this.#first[socket] = packet;
      this.#touched[this.#touchedCount++] = socket;
    } else {
      this.#set(last, NEXT, packet);
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
    if (packet === last && this.#get(packet, PLAIN) === 1 && this.#sendOne(socket, packet)) return;
    while (packet !== NONE) {
      if (this.#get(packet, DONT_FRAGMENT) === 1) {
        this.#setDontFragment(socket, true);
        const next = this.#get(packet, NEXT);
        this.#set(packet, NEXT, NONE);
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

  #get(packet: number, word: number): number {
    return this.#words[((this.#entries + packet * ENTRY_SPACE) >> 2) + word] ?? NONE;
  }

  #set(packet: number, word: number, value: number): void {
    this.#words[((this.#entries + packet * ENTRY_SPACE) >> 2) + word] = value;
  }

  /** Copies the first four bytes of a packet apart; where they lie then. */
  #detach(packet: number, offset: number): number {
    const header = this.#detached + packet * DETACHED_HEADER;
    this.#arena.view.setInt32(header, this.#arena.view.getInt32(offset));
    return header;
  }

  /** The shortest way for a packet that is alone. False: it failed, and the long way knows what to do. */
  #sendOne(socket: number, packet: number): boolean {
    count(this.#counters, Counter.systemCalls, 1);
    const { address } = this.#arena;
    return (
      this.#libc.sendto(
        this.#sockets.fds[socket] ?? -1,
        address + this.#get(packet, OFFSET),
        this.#get(packet, LENGTH),
        L.MSG_DONTWAIT,
        address + this.#entries + packet * ENTRY_SPACE,
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
      if (packet !== start && this.#get(packet, DONT_FRAGMENT) === 1) break;
      const first = packet;
      const firstVector = vector;
      const size = this.#get(first, LENGTH);
      let total = size;
      let segments = 1;
      vector = this.#addVectors(vector, first);
      packet = this.#get(packet, NEXT);
      if (size <= limit && size > 0) {
        let length = size;
        while (packet !== NONE && length === size && segments < MAX_SEGMENTS && vector + 2 <= VECTORS) {
          length = this.#get(packet, LENGTH);
          if (length > size || length === 0 || total + length > MAX_AGGREGATE || !this.#joins(packet, first)) break;
          vector = this.#addVectors(vector, packet);
          total += length;
          segments++;
          packet = this.#get(packet, NEXT);
        }
      }
      const header = this.#headers + message * L.mmsghdr.size;
      this.#arena.setPointer(header + L.msghdr.name, this.#entries + first * ENTRY_SPACE);
      words[(header + L.msghdr.nameLength) >> 2] = nameLength;
      this.#arena.setPointer(header + L.msghdr.iov, this.#vectors + firstVector * L.iovec.size);
      words[(header + L.msghdr.iovLength) >> 2] = vector - firstVector;
      this.#segments[message] = segments;
      this.#payload[message] = total;
      this.#controls.write(
        message,
        header,
        this.#sockets.ipv6[socket] === 1,
        segments > 1 ? size : 0,
        this.#get(first, TRAFFIC),
      );
      message++;
    }
    this.#send(socket, message);
    return packet;
  }

  #addVectors(vector: number, packet: number): number {
    const arena = this.#arena;
    const offset = this.#get(packet, OFFSET);
    const length = this.#get(packet, LENGTH);
    const header = this.#get(packet, HEADER);
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

  /** Whether `packet` may be part of an aggregate that `first` began. */
  #joins(packet: number, first: number): boolean {
    if (this.#get(packet, TRAFFIC) !== this.#get(first, TRAFFIC)) return false;
    if (this.#get(packet, DONT_FRAGMENT) === 1) return false;
    // An aggregate is taken apart by whole packets: each must have the same number of vectors.
    if ((this.#get(packet, HEADER) === NONE) !== (this.#get(first, HEADER) === NONE)) return false;
    const words = this.#words;
    const a = (this.#entries + packet * ENTRY_SPACE) >> 2;
    const b = (this.#entries + first * ENTRY_SPACE) >> 2;
    if (words[a] !== words[b] || words[a + 1] !== words[b + 1]) return false;
    if (((words[a] ?? 0) & 0xffff) === L.AF_INET) return true;
    for (let i = 2; i < DESTINATION_WORDS; i++) if (words[a + i] !== words[b + i]) return false;
    return true;
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
