import type { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";

const SPACE = 128;
const ENTRY = 24;

/** The control messages of the messages that are sent in one call: at most two each. */
export class ControlMessages {
  readonly #arena: Arena;
  readonly #start: number;

  constructor(arena: Arena, messages: number) {
    this.#arena = arena;
    this.#start = arena.reserve(messages * SPACE);
  }

  /** Bytes of arena that those of so many messages take. */
  static space(messages: number): number {
    return messages * SPACE + 64;
  }

  /**
   * Gives `message`, whose `msghdr` is at `header`, what it needs: `segmentSize` if it is an aggregate (0: it is none),
   * and its class (0 or −1: none).
   */
  write(message: number, header: number, ipv6: boolean, segmentSize: number, trafficClass: number): void {
    const start = this.#start + message * SPACE;
    let at = start;
    if (segmentSize > 0) at = this.#put(at, L.IPPROTO_UDP, L.UDP_SEGMENT, segmentSize, 2);
    if (trafficClass > 0) {
      const level = ipv6 ? L.IPPROTO_IPV6 : L.IPPROTO_IP;
      at = this.#put(at, level, ipv6 ? L.IPV6_TCLASS : L.IP_TOS, trafficClass, 4);
    }
    this.#arena.words[(header + L.msghdr.controlLength) >> 2] = at - start;
    if (at !== start) this.#arena.setPointer(header + L.msghdr.control, start);
  }

  /** Makes an aggregate's `message` an ordinary one, and returns the size that its segments had. */
  dropSegmentSize(message: number, header: number): number {
    const { words } = this.#arena;
    const control = this.#start + message * SPACE;
    const controlLength = (words[(header + L.msghdr.controlLength) >> 2] ?? 0) - ENTRY;
    words[(header + L.msghdr.controlLength) >> 2] = controlLength;
    if (controlLength > 0) this.#arena.setPointer(header + L.msghdr.control, control + ENTRY);
    return words[(control + L.cmsghdr.data) >> 2] ?? 0;
  }

  #put(at: number, level: number, type: number, value: number, size: number): number {
    const { words } = this.#arena;
    this.#arena.setLength(at + L.cmsghdr.length, L.cmsghdr.data + size);
    words[(at + L.cmsghdr.level) >> 2] = level;
    words[(at + L.cmsghdr.type) >> 2] = type;
    words[(at + L.cmsghdr.data) >> 2] = value;
    return at + ENTRY;
  }
}
