import type { TransportAddress } from "@turnpike/stun";
import type { Arena } from "../../libc/arena.ts";
import { AF_INET } from "../../libc/layout.ts";
import { writeSocketAddress } from "../../libc/socket-address.ts";

/** No packet, or no header that stands apart. */
export const NONE = -1;
/** Bytes of a ChannelData header that stands apart from its payload. */
export const DETACHED_HEADER = 4;

/** A packet that waits: its destination as a socket address, then these words. One line of the cache for each. */
const ENTRY_SPACE = 64;
/** Words of a destination: the socket address without flow and scope. */
const DESTINATION_WORDS = 6;

/** The words of an entry, behind the eight of the socket address. */
export const Entry = {
  /** The next packet of the same socket, or {@link NONE}. */
  next: 8,
  offset: 9,
  length: 10,
  /** Where the first four bytes lie if they stand apart, or {@link NONE}. */
  header: 11,
  /** TOS or traffic class byte; 0 or −1: the socket's own. */
  traffic: 12,
  /** 1: DF. */
  dontFragment: 13,
  /** 1: there is nothing of the three before. */
  plain: 14,
} as const;

/** What is known of each packet that waits to be sent, by its number. */
export class SendEntries {
  readonly #arena: Arena;
  readonly #words: Int32Array;
  readonly #start: number;
  readonly #detached: number;

  /** `arena` lends {@link SendEntries.space} bytes. */
  constructor(arena: Arena, packets: number) {
    this.#arena = arena;
    this.#words = arena.words;
    this.#start = arena.reserve(packets * ENTRY_SPACE);
    this.#detached = arena.reserve(packets * DETACHED_HEADER);
  }

  /** Bytes of arena that the entries of so many packets take. */
  static space(packets: number): number {
    return packets * (ENTRY_SPACE + DETACHED_HEADER) + 2 * 64;
  }

  /** Describes a packet. With `detach`, its first four bytes are copied apart. */
  write(
    packet: number,
    destination: TransportAddress,
    offset: number,
    length: number,
    trafficClass: number,
    dontFragment: boolean,
    detach: boolean,
  ): void {
    const words = this.#words;
    const entry = this.destination(packet);
    const at = entry >> 2;
    writeSocketAddress(words, entry, destination);
    words[at + Entry.next] = NONE;
    words[at + Entry.offset] = offset;
    words[at + Entry.length] = length;
    words[at + Entry.header] = detach ? this.#detach(packet, offset) : NONE;
    words[at + Entry.traffic] = trafficClass;
    words[at + Entry.dontFragment] = dontFragment ? 1 : 0;
    words[at + Entry.plain] = detach || dontFragment || trafficClass > 0 ? 0 : 1;
  }

  /** One word of {@link Entry}. */
  get(packet: number, word: number): number {
    return this.#words[(this.destination(packet) >> 2) + word] ?? NONE;
  }

  set(packet: number, word: number, value: number): void {
    this.#words[(this.destination(packet) >> 2) + word] = value;
  }

  /** Offset of its destination's socket address. */
  destination(packet: number): number {
    return this.#start + packet * ENTRY_SPACE;
  }

  /** Whether `packet` may be part of an aggregate that `first` began. */
  joins(packet: number, first: number): boolean {
    if (this.get(packet, Entry.traffic) !== this.get(first, Entry.traffic)) return false;
    if (this.get(packet, Entry.dontFragment) === 1) return false;
    // An aggregate is taken apart by whole packets: each must have the same number of vectors.
    if ((this.get(packet, Entry.header) === NONE) !== (this.get(first, Entry.header) === NONE)) return false;
    const words = this.#words;
    const a = this.destination(packet) >> 2;
    const b = this.destination(first) >> 2;
    if (words[a] !== words[b] || words[a + 1] !== words[b + 1]) return false;
    if (((words[a] ?? 0) & 0xffff) === AF_INET) return true;
    for (let i = 2; i < DESTINATION_WORDS; i++) if (words[a + i] !== words[b + i]) return false;
    return true;
  }

  #detach(packet: number, offset: number): number {
    const header = this.#detached + packet * DETACHED_HEADER;
    this.#arena.view.setInt32(header, this.#arena.view.getInt32(offset));
    return header;
  }
}
