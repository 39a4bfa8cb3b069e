import { PACKET_HEADROOM, PACKET_TAILROOM } from "@turnpike/turn";
import type { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";
import type { Libc } from "../../libc/libc.ts";
import { SOCKADDR_SPACE } from "../../libc/socket-address.ts";

/** The largest datagram or aggregate that a UDP socket can deliver. */
const SLOT_PAYLOAD = 65_536;
/** A stride that is no power of two: slots would else fight for the same lines of the caches. */
const SLOT_STRIDE = Math.ceil((PACKET_HEADROOM + SLOT_PAYLOAD + PACKET_TAILROOM) / 64 + 3) * 64;
/** Room for five control messages of up to 8 bytes each. */
const CONTROL_SPACE = 128;

/**
 * The slots that datagrams are received into, laid out once: a header, a vector, a source address, control
 * messages and the bytes, with head- and tailroom, for each slot. Names, control lengths and flags are put back as they
 * are read, so that a receive call costs nothing for slots it did not fill.
 */
export class ReceiveRing {
  readonly slots: number;
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #words: Int32Array;
  readonly #headers: number;
  readonly #names: number;
  readonly #controls: number;
  readonly #payloads: number;

  // What `readControl` found: registers, valid until it is called again.
  /** Size of each packet in an aggregate; 0: the datagram is one packet. */
  segmentSize = 0;
  /** TOS or traffic class byte; −1: not told. */
  trafficClass = -1;

  constructor(libc: Libc, arena: Arena, slots: number) {
    this.#libc = libc;
    this.#arena = arena;
    this.#words = arena.words;
    this.slots = slots;
    this.#headers = arena.reserve(slots * L.mmsghdr.size);
    const vectors = arena.reserve(slots * L.iovec.size);
    this.#names = arena.reserve(slots * SOCKADDR_SPACE);
    this.#controls = arena.reserve(slots * CONTROL_SPACE);
    this.#payloads = arena.reserve(slots * SLOT_STRIDE);
    for (let slot = 0; slot < slots; slot++) {
      const header = this.#headers + slot * L.mmsghdr.size;
      const vector = vectors + slot * L.iovec.size;
      arena.setPointer(vector + L.iovec.base, this.payloadOffset(slot));
      arena.setLength(vector + L.iovec.length, SLOT_PAYLOAD);
      arena.setPointer(header + L.msghdr.name, this.nameOffset(slot));
      arena.setPointer(header + L.msghdr.iov, vector);
      arena.setLength(header + L.msghdr.iovLength, 1);
      arena.setPointer(header + L.msghdr.control, this.#controls + slot * CONTROL_SPACE);
      this.rearm(slot);
    }
  }

  /** Bytes of arena that `slots` slots take. */
  static space(slots: number): number {
    return slots * (L.mmsghdr.size + L.iovec.size + SOCKADDR_SPACE + CONTROL_SPACE + SLOT_STRIDE) + 5 * 64;
  }

  /** Receives into `count` slots from `first` on, without waiting; the number of datagrams, or −1. */
  receive(fd: number, first: number, count: number): number {
    const headers = this.#arena.address + this.#headers + first * L.mmsghdr.size;
    return this.#libc.recvmmsg(fd, headers, count, L.MSG_DONTWAIT, 0);
  }

  /** Receives one entry of the socket's error queue into `slot`; bytes of the packet it is about, or −1. */
  receiveError(fd: number, slot: number): number {
    const header = this.#arena.address + this.#headers + slot * L.mmsghdr.size;
    return this.#libc.recvmsg(fd, header, L.MSG_ERRQUEUE | L.MSG_DONTWAIT);
  }

  payloadOffset(slot: number): number {
    return this.#payloads + slot * SLOT_STRIDE + PACKET_HEADROOM;
  }

  nameOffset(slot: number): number {
    return this.#names + slot * SOCKADDR_SPACE;
  }

  length(slot: number): number {
    return this.#words[(this.#headers + slot * L.mmsghdr.size + L.mmsghdr.length) >> 2] ?? 0;
  }

  hasControl(slot: number): boolean {
    return this.#words[(this.#headers + slot * L.mmsghdr.size + L.msghdr.controlLength) >> 2] !== 0;
  }

  /** Makes `slot` as it was before a receive call filled it. */
  rearm(slot: number): void {
    const header = (this.#headers + slot * L.mmsghdr.size) >> 2;
    const words = this.#words;
    words[header + (L.msghdr.nameLength >> 2)] = SOCKADDR_SPACE;
    words[header + (L.msghdr.controlLength >> 2)] = CONTROL_SPACE;
  }

  /** Reads the control messages of `slot` into the registers. */
  readControl(slot: number): void {
    this.segmentSize = 0;
    this.trafficClass = -1;
    const words = this.#words;
    let at = this.#controls + slot * CONTROL_SPACE;
    const end = at + (words[(this.#headers + slot * L.mmsghdr.size + L.msghdr.controlLength) >> 2] ?? 0);
    while (at + L.cmsghdr.data <= end) {
      const length = words[(at + L.cmsghdr.length) >> 2] ?? 0;
      if (length < L.cmsghdr.data) return;
      const level = words[(at + L.cmsghdr.level) >> 2];
      const type = words[(at + L.cmsghdr.type) >> 2];
      const value = words[(at + L.cmsghdr.data) >> 2] ?? 0;
      if (level === L.IPPROTO_UDP) {
        if (type === L.UDP_GRO) this.segmentSize = value;
      } else if (level === L.IPPROTO_IP) {
        if (type === L.IP_TOS) this.trafficClass = value & 0xff;
      } else if (level === L.IPPROTO_IPV6) {
        if (type === L.IPV6_TCLASS) this.trafficClass = value & 0xff;
      }
      at += (length + L.cmsghdr.alignment - 1) & -L.cmsghdr.alignment;
    }
  }

  /** Offset of the `sock_extended_err` among the control messages of `slot`, or −1. */
  extendedErrorOffset(slot: number): number {
    const words = this.#words;
    let at = this.#controls + slot * CONTROL_SPACE;
    const end = at + (words[(this.#headers + slot * L.mmsghdr.size + L.msghdr.controlLength) >> 2] ?? 0);
    while (at + L.cmsghdr.data <= end) {
      const length = words[(at + L.cmsghdr.length) >> 2] ?? 0;
      if (length < L.cmsghdr.data) return -1;
      const level = words[(at + L.cmsghdr.level) >> 2];
      const type = words[(at + L.cmsghdr.type) >> 2];
      if (level === L.IPPROTO_IP && type === L.IP_RECVERR) return at + L.cmsghdr.data;
      if (level === L.IPPROTO_IPV6 && type === L.IPV6_RECVERR) return at + L.cmsghdr.data;
      at += (length + L.cmsghdr.alignment - 1) & -L.cmsghdr.alignment;
    }
    return -1;
  }
}
