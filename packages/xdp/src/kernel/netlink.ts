import { type System, XdpError } from "./system.ts";

/** Numbers of <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_link.h> and <linux/neighbour.h>. */
const AF_NETLINK = 16;
const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0o4000 | 0o2000000;
const NETLINK_ROUTE = 0;
const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 0x001;
const NLM_F_ACK = 0x004;
const NLM_F_REPLACE_CREATE = 0x500;
const RTM = { newLink: 16, getLink: 18, newRoute: 24, getRoute: 26, newNeighbour: 28, getNeighbour: 30 } as const;
const GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;
const IFLA = { address: 1, name: 3, mtu: 4, information: 18 } as const;
const IFLA_INFO_KIND = 1;
const RTA = { destination: 1, source: 2, interface: 4, gateway: 5, metrics: 8, via: 18 } as const;
const RTAX_MTU = 2;
const RTN_UNICAST = 1;
const NDA = { destination: 1, linkAddress: 2 } as const;
/** Reachable, stale, delay, probe, no-ARP, permanent: there is a link address that the kernel would use. */
const NUD_VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;
const NTF_USE = 0x01;
const AF = { 4: 2, 6: 10 } as const;
const HEADER = 16;

/** An interface. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** Six bytes; other lengths are of links that aren't Ethernet. */
  readonly address: Uint8Array;
  readonly mtu: number;
  /** What made it, e.g. `veth`; empty for cards. */
  readonly kind: string;
}

/** The way to a destination. */
export interface NetworkRoute {
  readonly interface: number;
  /** Whose link address packets need: the gateway's, or the destination itself. In wire form, 4 or 16 bytes. */
  readonly neighbour: Uint8Array;
  /** 0: the interface's. */
  readonly mtu: number;
}

/** Asks the kernel for links, routes and neighbours (rtnetlink), and hears of their changes. */
export class Netlink {
  readonly #system: System;
  readonly #asking: number;
  readonly #hearing: number;
  readonly #buffer = new Uint8Array(new ArrayBuffer(32_768));
  #sequence = 0;

  /** @throws {XdpError} */
  constructor(system: System) {
    this.#system = system;
    this.#asking = system.socket(AF_NETLINK, SOCK_RAW_NONBLOCK_CLOEXEC, NETLINK_ROUTE);
    this.#hearing = system.socket(AF_NETLINK, SOCK_RAW_NONBLOCK_CLOEXEC, NETLINK_ROUTE);
    const address = new Uint8Array(new ArrayBuffer(12));
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_NETLINK, true);
    view.setUint32(8, GROUPS, true);
    if (this.#asking < 0 || this.#hearing < 0 || system.bind(this.#hearing, address) < 0) {
      throw new XdpError("Cannot ask the kernel for routes and neighbours", system.errno());
    }
  }

  /** The interface of that name, or undefined. */
  link(name: string): Link | undefined {
    const body = new Message(16).attribute(IFLA.name, new TextEncoder().encode(`${name}\0`));
    return this.#link(body);
  }

  /** The interface with that index, or undefined. */
  linkByIndex(index: number): Link | undefined {
    const body = new Message(16);
    body.view.setInt32(4, index, true);
    return this.#link(body);
  }

  /** The way from `source` to `destination` (wire form); undefined if there is none, or it is no neighbour's. */
  route(source: Uint8Array, destination: Uint8Array): NetworkRoute | undefined {
    const body = new Message(12);
    const bits = destination.length * 8;
    body.bytes.set([destination.length === 4 ? AF[4] : AF[6], bits, bits]);
    body.attribute(RTA.destination, destination).attribute(RTA.source, source);
    const answer = this.#ask(RTM.getRoute, NLM_F_REQUEST, body, RTM.newRoute);
    if (answer === undefined || answer[7] !== RTN_UNICAST) return undefined;
    const attributes = readAttributes(answer, 12);
    const out = attributes.get(RTA.interface);
    if (out === undefined) return undefined;
    const via = attributes.get(RTA.via)?.subarray(2);
    const metrics = attributes.get(RTA.metrics);
    const mtu = metrics === undefined ? undefined : readAttributes(metrics, 0).get(RTAX_MTU);
    return {
      interface: u32(out, 0),
      neighbour: (attributes.get(RTA.gateway) ?? via ?? destination).slice(),
      mtu: mtu === undefined ? 0 : u32(mtu, 0),
    };
  }

  /** The link address of a neighbour, or undefined if it isn't known. */
  neighbour(link: number, address: Uint8Array): Uint8Array | undefined {
    const answer = this.#ask(RTM.getNeighbour, NLM_F_REQUEST, neighbourMessage(link, address, 0), RTM.newNeighbour);
    if (answer === undefined || ((answer[8] ?? 0) & NUD_VALID) === 0) return undefined;
    return readAttributes(answer, 12).get(NDA.linkAddress)?.slice();
  }

  /** Has the kernel look whether a neighbour is (still) there, as it does for packets that it sends itself. */
  useNeighbour(link: number, address: Uint8Array): void {
    const flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE_CREATE;
    this.#ask(RTM.newNeighbour, flags, neighbourMessage(link, address, NTF_USE), -1);
  }

  /** Whether links, addresses, routes or neighbours changed since the last call. */
  hasChanged(): boolean {
    let changed = false;
    for (;;) {
      const length = this.#system.receive(this.#hearing, this.#buffer);
      const errno = length < 0 ? this.#system.errno() : 0;
      if (errno === EAGAIN) return changed;
      // ENOBUFS: there was more than the socket holds.
      changed = true;
      if (errno !== 0 && errno !== ENOBUFS) return changed;
    }
  }

  close(): void {
    this.#system.close(this.#asking);
    this.#system.close(this.#hearing);
  }

  #link(body: Message): Link | undefined {
    const answer = this.#ask(RTM.getLink, NLM_F_REQUEST, body, RTM.newLink);
    if (answer === undefined) return undefined;
    const attributes = readAttributes(answer, 16);
    const name = attributes.get(IFLA.name);
    const mtu = attributes.get(IFLA.mtu);
    const information = attributes.get(IFLA.information);
    const kind = information && readAttributes(information, 0).get(IFLA_INFO_KIND);
    return {
      index: u32(answer, 4),
      name: textOf(name),
      kind: textOf(kind),
      address: attributes.get(IFLA.address)?.slice() ?? new Uint8Array(0),
      mtu: mtu === undefined ? 0 : u32(mtu, 0),
    };
  }

  /** The kernel answers before `send` returns. */
  #ask(type: number, flags: number, body: Message, answerType: number): Uint8Array | undefined {
    const sequence = ++this.#sequence;
    const request = body.finish(type, flags, sequence);
    if (this.#system.send(this.#asking, request) < 0) return undefined;
    for (;;) {
      const length = this.#system.receive(this.#asking, this.#buffer);
      if (length < HEADER) return undefined;
      if (u32(this.#buffer, 8) !== sequence) continue;
      const kind = u16(this.#buffer, 4);
      if (kind === answerType) return this.#buffer.slice(HEADER, Math.min(length, u32(this.#buffer, 0)));
      if (kind === NLMSG_ERROR) return undefined;
    }
  }
}

const EAGAIN = 11;
const ENOBUFS = 105;

/** A request: its fixed part, then attributes. */
class Message {
  bytes: Uint8Array;
  view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  attribute(type: number, value: Uint8Array): this {
    const grown = new Uint8Array(this.bytes.length + align(4 + value.length));
    grown.set(this.bytes);
    const view = new DataView(grown.buffer);
    view.setUint16(this.bytes.length, 4 + value.length, true);
    view.setUint16(this.bytes.length + 2, type, true);
    grown.set(value, this.bytes.length + 4);
    this.bytes = grown;
    this.view = view;
    return this;
  }

  finish(type: number, flags: number, sequence: number): Uint8Array {
    const whole = new Uint8Array(new ArrayBuffer(HEADER + this.bytes.length));
    const view = new DataView(whole.buffer);
    view.setUint32(0, whole.length, true);
    view.setUint16(4, type, true);
    view.setUint16(6, flags, true);
    view.setUint32(8, sequence, true);
    whole.set(this.bytes, HEADER);
    return whole;
  }
}

function neighbourMessage(link: number, address: Uint8Array, flags: number): Message {
  const body = new Message(12);
  body.bytes[0] = address.length === 4 ? AF[4] : AF[6];
  body.view.setInt32(4, link, true);
  body.bytes[10] = flags;
  return body.attribute(NDA.destination, address);
}

function readAttributes(bytes: Uint8Array, from: number): ReadonlyMap<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>();
  let at = from;
  while (at + 4 <= bytes.length) {
    const length = u16(bytes, at);
    if (length < 4 || at + length > bytes.length) break;
    // The two highest bits are flags.
    attributes.set(u16(bytes, at + 2) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += align(length);
  }
  return attributes;
}

function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : new TextDecoder().decode(bytes).replace(/\0$/, "");
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;
}

function align(length: number): number {
  return (length + 3) & ~3;
}
