import { AddressRegister, type TransportAddress } from "@turnpike/stun";
import { Arena } from "./arena.ts";
import * as L from "./layout.ts";
import { describeErrno, type Libc, SystemCallError } from "./libc.ts";
import { readSocketAddress, SOCKADDR_SPACE, writeSocketAddress } from "./socket-address.ts";
import { SocketFactory } from "./sockets.ts";

/** What the self-test found. */
export type SelfTestResult =
  | {
      readonly kind: "trusted";
      /** IP families that packets to oneself went through. */
      readonly families: readonly (4 | 6)[];
      /** Whether aggregates (UDP_SEGMENT out, UDP_GRO in) arrive whole. False: the plane must not use them. */
      readonly aggregates: boolean;
      /** Why not, in words for a log line. */
      readonly aggregatesReason?: string;
    }
  | { readonly kind: "untrusted"; readonly reason: string };

const MESSAGES = 4;
const SEGMENTS = 8;
const SEGMENT_BYTES = 700;
const SLOT = 16_384;
const CONTROL_SPACE = 128;
const LOOPBACK: Readonly<Record<4 | 6, TransportAddress>> = {
  4: { family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0x7f000001, port: 0 },
  6: { family: 6, w0: 0, w1: 0, w2: 0, w3: 1, port: 0 },
};

/**
 * Sends packets to itself over loopback and looks at every byte, source address, length and control message that comes
 * back: before the struct layouts are trusted with anybody's traffic. It takes a few milliseconds and leaves nothing
 * open.
 */
export function testLibc(libc: Libc): SelfTestResult {
  const families: (4 | 6)[] = [];
  let aggregates = true;
  let aggregatesReason: string | undefined;
  for (const family of [4, 6] as const) {
    const probe = new Probe(libc, family);
    try {
      const found = probe.open();
      if (found === "absent") continue;
      if (typeof found === "object") return { kind: "untrusted", reason: found.reason };
      const plain = probe.plain();
      if (plain !== undefined) return { kind: "untrusted", reason: `over IPv${family}, ${plain}` };
      families.push(family);
      const fault = probe.aggregate();
      if (fault !== undefined) {
        aggregates = false;
        aggregatesReason ??= `over IPv${family}, ${fault}`;
      }
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      return { kind: "untrusted", reason: error.message };
    } finally {
      probe.close();
    }
  }
  if (families.length === 0) return { kind: "untrusted", reason: "loopback carries neither IPv4 nor IPv6" };
  return { kind: "trusted", families, aggregates, ...(aggregatesReason === undefined ? {} : { aggregatesReason }) };
}

/** Two sockets of one family and the memory for a few messages between them. */
class Probe {
  readonly #libc: Libc;
  readonly #family: 4 | 6;
  readonly #arena: Arena;
  readonly #factory: SocketFactory;
  readonly #headers: number;
  readonly #vectors: number;
  readonly #names: number;
  readonly #controls: number;
  readonly #bytes: number;
  #sender = -1;
  #receiver = -1;
  #from: TransportAddress = LOOPBACK[4];
  #to: TransportAddress = LOOPBACK[4];

  constructor(libc: Libc, family: 4 | 6) {
    this.#libc = libc;
    this.#family = family;
    const each = L.mmsghdr.size + L.iovec.size + SOCKADDR_SPACE + CONTROL_SPACE + SLOT;
    const arena = new Arena(libc, SocketFactory.SCRATCH + MESSAGES * each + 512);
    this.#arena = arena;
    this.#factory = new SocketFactory(libc, arena);
    this.#headers = arena.reserve(MESSAGES * L.mmsghdr.size);
    this.#vectors = arena.reserve(MESSAGES * L.iovec.size);
    this.#names = arena.reserve(MESSAGES * SOCKADDR_SPACE);
    this.#controls = arena.reserve(MESSAGES * CONTROL_SPACE);
    this.#bytes = arena.reserve(MESSAGES * SLOT);
  }

  open(): "open" | "absent" | { readonly reason: string } {
    try {
      const receiver = this.#factory.open({ local: LOOPBACK[this.#family] });
      this.#receiver = receiver.fd;
      this.#to = receiver.local;
      const sender = this.#factory.open({ local: LOOPBACK[this.#family] });
      this.#sender = sender.fd;
      this.#from = sender.local;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      const absent = error.errno === L.EADDRNOTAVAIL || error.errno === L.EAFNOSUPPORT;
      return absent ? "absent" : { reason: error.message };
    }
    if (this.#to.family !== this.#family || this.#to.port === 0 || this.#to.w3 !== LOOPBACK[this.#family].w3) {
      return { reason: `a socket bound to loopback over IPv${this.#family} says it is bound elsewhere` };
    }
    return "open";
  }

  close(): void {
    if (this.#sender >= 0) this.#libc.close(this.#sender);
    if (this.#receiver >= 0) this.#libc.close(this.#receiver);
  }

  /** A batch of datagrams of different sizes. What is wrong, in words; undefined if nothing is. */
  plain(): string | undefined {
    const lengths = [0, 1, 1200, 9000];
    for (const [slot, length] of lengths.entries()) {
      this.#fill(slot, length, slot + 1);
      this.#arrange(slot, length, 0);
    }
    const sent = this.#libc.sendmmsg(this.#sender, this.#arena.address + this.#headers, MESSAGES, 0);
    if (sent !== MESSAGES) return `a batch of ${MESSAGES} was sent as ${sent}${this.#failure(sent)}`;
    const received = this.#receiveAll();
    if (received !== MESSAGES) return `of a batch of ${MESSAGES}, ${received} arrived${this.#failure(received)}`;
    for (const [slot, length] of lengths.entries()) {
      const fault = this.#check(slot, length, slot + 1);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  /** One aggregate, received as packets, then received as an aggregate. */
  aggregate(): string | undefined {
    const length = SEGMENTS * SEGMENT_BYTES;
    for (const whole of [false, true]) {
      if (whole && this.#factory.trySet(this.#receiver, L.IPPROTO_UDP, L.UDP_GRO, 1) < 0) {
        return `UDP_GRO is refused${this.#failure(-1)}`;
      }
      this.#fill(0, length, 7);
      this.#arrange(0, length, SEGMENT_BYTES);
      const sent = this.#libc.sendmsg(this.#sender, this.#arena.address + this.#headers, 0);
      if (sent !== length) return `an aggregate of ${length} bytes was sent as ${sent}${this.#failure(sent)}`;
      let total = 0;
      while (total < length) {
        const received = this.#receiveAll();
        if (received <= 0) return `of an aggregate of ${length} bytes, ${total} arrived`;
        for (let slot = 0; slot < received; slot++) {
          const bytes = this.#length(slot);
          if (bytes % SEGMENT_BYTES !== 0) return `an aggregate was cut at ${bytes} bytes`;
          const fault = this.#checkBytes(slot, bytes, 7, total);
          if (fault !== undefined) return `an aggregate was corrupted: ${fault}`;
          total += bytes;
        }
      }
      if (total !== length) return `an aggregate of ${length} bytes arrived as ${total}`;
    }
    return undefined;
  }

  #arrange(slot: number, length: number, segment: number): void {
    const arena = this.#arena;
    const header = this.#headers + slot * L.mmsghdr.size;
    const vector = this.#vectors + slot * L.iovec.size;
    const name = this.#names + slot * SOCKADDR_SPACE;
    const control = this.#controls + slot * CONTROL_SPACE;
    arena.setPointer(vector + L.iovec.base, this.#bytes + slot * SLOT);
    arena.setLength(vector + L.iovec.length, length);
    arena.setPointer(header + L.msghdr.name, name);
    arena.words[(header + L.msghdr.nameLength) >> 2] = writeSocketAddress(arena.words, name, this.#to);
    arena.setPointer(header + L.msghdr.iov, vector);
    arena.setLength(header + L.msghdr.iovLength, 1);
    arena.setPointer(header + L.msghdr.control, control);
    arena.setLength(header + L.msghdr.controlLength, segment === 0 ? 0 : L.cmsghdr.data + 2);
    arena.setLength(control + L.cmsghdr.length, L.cmsghdr.data + 2);
    arena.words[(control + L.cmsghdr.level) >> 2] = L.IPPROTO_UDP;
    arena.words[(control + L.cmsghdr.type) >> 2] = L.UDP_SEGMENT;
    arena.words[(control + L.cmsghdr.data) >> 2] = segment;
  }

  /** Loopback delivers before `sendmsg` returns: what isn't there will not come. */
  #receiveAll(): number {
    const arena = this.#arena;
    for (let slot = 0; slot < MESSAGES; slot++) {
      arena.bytes.fill(0xaa, this.#bytes + slot * SLOT, this.#bytes + (slot + 1) * SLOT);
      this.#arrange(slot, SLOT, 0);
      const header = this.#headers + slot * L.mmsghdr.size;
      arena.words[(header + L.msghdr.nameLength) >> 2] = SOCKADDR_SPACE;
      arena.setLength(header + L.msghdr.controlLength, CONTROL_SPACE);
      arena.words.fill(0, (this.#names + slot * SOCKADDR_SPACE) >> 2, (this.#names + (slot + 1) * SOCKADDR_SPACE) >> 2);
    }
    return this.#libc.recvmmsg(this.#receiver, arena.address + this.#headers, MESSAGES, L.MSG_DONTWAIT, 0);
  }

  #length(slot: number): number {
    return this.#arena.words[(this.#headers + slot * L.mmsghdr.size + L.mmsghdr.length) >> 2] ?? 0;
  }

  #check(slot: number, length: number, seed: number): string | undefined {
    if (this.#length(slot) !== length) return `a datagram of ${length} bytes arrived with ${this.#length(slot)}`;
    const from = new AddressRegister();
    const readable = readSocketAddress(this.#arena.words, this.#names + slot * SOCKADDR_SPACE, from);
    const same = from.w0 === this.#from.w0 && from.w1 === this.#from.w1 && from.w2 === this.#from.w2;
    if (!readable || !same || from.w3 !== this.#from.w3 || from.port !== this.#from.port) {
      return "a datagram arrived from another address than it was sent from";
    }
    return this.#checkBytes(slot, length, seed, 0);
  }

  #fill(slot: number, length: number, seed: number): void {
    for (let i = 0; i < length; i++) this.#arena.bytes[this.#bytes + slot * SLOT + i] = pattern(seed, i);
  }

  #checkBytes(slot: number, length: number, seed: number, from: number): string | undefined {
    for (let i = 0; i < length; i++) {
      if (this.#arena.bytes[this.#bytes + slot * SLOT + i] !== pattern(seed, from + i)) {
        return `byte ${from + i} of ${length} is wrong`;
      }
    }
    return undefined;
  }

  #failure(result: number): string {
    return result < 0 ? `: ${describeErrno(this.#libc.errno())}` : "";
  }
}

/** Bytes that repeat nowhere within an aggregate's segment, nor at the same place of two segments. */
function pattern(seed: number, index: number): number {
  return (Math.imul(index + 1, 0x9e3779b1) >>> 24) ^ seed;
}
