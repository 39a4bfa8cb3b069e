import { type Assembled, assemble } from "../assembler/assemble.ts";
import { ProgramBuilder } from "../assembler/builder.ts";
import type { Register } from "../assembler/instruction.ts";
import { type Field, part, struct } from "../assembler/struct.ts";
import { XDP } from "../kernel/bpf.ts";
import { hop, OUTCOME, type Outcome, route, ROUTE_FLAG, routeKey, state } from "./layout.ts";

/** What the program is made for. */
export interface RelayProgramOptions {
  /** Descriptors of its maps. */
  readonly maps: {
    readonly routes: number;
    readonly states: number;
    readonly hops: number;
    readonly outcomes: number;
  };
  /** The interface's link address: what is sent to others goes up. */
  readonly linkAddress: Uint8Array;
}

/**
 * The XDP program: it does to a packet of a channel exactly what engine and sockets would, or lets it go up untouched.
 * It never drops.
 *
 * One function a step, in the order a packet takes them; each ends by falling into the next or jumping to a label.
 */
export function relayProgram(options: RelayProgramOptions): Assembled {
  const b = new ProgramBuilder();
  checkLink(b, options.linkAddress);
  parseIpv4(b);
  parseIpv6(b);
  checkUdp(b);
  findRoute(b, options);
  police(b, options);
  takeChannelOff(b);
  turnHairpin(b, options);
  putChannelOn(b);
  findHop(b, options);
  resize(b);
  writeIpv4(b);
  writeIpv6(b);
  writeUdp(b);
  count(b, options);
  send(b);
  endings(b, options);
  return assemble(b.lines);
}

// Registers that outlive calls.
const CONTEXT: Register = "r6";
const ROUTE: Register = "r7";
const STATE: Register = "r8";
/** The UDP header until the route is found; in `write…` the payload. */
const UDP: Register = "r9";
const FRAME: Register = "r10";

const HELPER = { mapLookup: 1, ktimeGetNs: 5, redirect: 23, adjustHead: 44, getLength: 188 } as const;

/** `struct xdp_md`. */
const context = {
  data: { offset: 0, size: 4 },
  dataEnd: { offset: 4, size: 4 },
  ingressInterface: { offset: 12, size: 4 },
} as const;

const locals = struct({
  key: routeKey.size,
  /** Of the frame that came. */
  frameLength: 8,
  /** ChannelData's length field, or 0. */
  channelLength: 8,
  /** Length of the UDP datagram: first as it came, then as it leaves. */
  udpLength: 8,
  /** The UDP checksum's sum, on its way. */
  sum: 8,
  /** Bytes of IP header that came; then how many bytes the packet's head moves. */
  move: 8,
  trafficClass: 8,
  /** 1: both ends are clients of this relay; then `otherState` is the first one's. */
  hairpin: 8,
  otherState: 8,
  /** The {@link hop}, as it was in one moment. */
  hopDestination: 8,
  hopSource: 8,
  hopInterface: 8,
  index: 4,
  padding: 4,
});

/** A member of the stack frame, as r10 sees it. */
function local(name: keyof typeof locals.field, inner?: Field): Field {
  const { offset, size } = locals.field[name];
  const start = offset - locals.size;
  return inner === undefined ? { offset: start, size } : { offset: start + inner.offset, size: inner.size };
}

const ETHERNET = 14;
const IPV4 = 20;
const IPV6 = 40;
const UDP_HEADER = 8;
const CHANNEL_HEADER = 4;
const PROTOCOL_UDP = 17;
// As a little-endian load sees them.
const TYPE_IPV4 = 0x0008;
const TYPE_IPV6 = 0xdd86;
/** All of the fragment word but DON'T FRAGMENT. */
const FRAGMENTED = 0xffbf;
const MAPPED_PREFIX = 0xffff0000 | 0;
const TTL = 64;

const u8 = (offset: number): Field => ({ offset, size: 1 });
const u16 = (offset: number): Field => ({ offset, size: 2 });
const u32 = (offset: number): Field => ({ offset, size: 4 });
const u64 = (offset: number): Field => ({ offset, size: 8 });

/** r2: the packet, r3: its end, from here to the parsers. */
function checkLink(b: ProgramBuilder, linkAddress: Uint8Array): void {
  const view = new DataView(linkAddress.buffer, linkAddress.byteOffset, 6);
  b.label("checkLink");
  b.move(CONTEXT, "r1");
  // Pointers may be subtracted, or have lengths added, by a process with CAP_PERFMON alone.
  b.call(HELPER.getLength);
  b.store(FRAME, local("frameLength"), "r0");
  b.load("r2", CONTEXT, context.data);
  b.load("r3", CONTEXT, context.dataEnd);
  b.move("r4", "r2");
  b.add("r4", ETHERNET + IPV4 + UDP_HEADER);
  b.jumpIf("r4", "above", "r3", "pass");
  b.load("r4", "r2", u32(0));
  b.jumpIf("r4", "notEqual", view.getInt32(0, true), "pass", 32);
  b.load("r4", "r2", u16(4));
  b.jumpIf("r4", "notEqual", view.getUint16(4, true), "pass");
  b.load("r4", "r2", u16(12));
  b.jumpIf("r4", "equal", TYPE_IPV6, "parseIpv6");
  b.jumpIf("r4", "notEqual", TYPE_IPV4, "pass");
}

function parseIpv4(b: ProgramBuilder): void {
  b.label("parseIpv4");
  b.load("r4", "r2", u8(ETHERNET));
  b.jumpIf("r4", "notEqual", 0x45, "pass");
  b.load("r4", "r2", u8(ETHERNET + 9));
  b.jumpIf("r4", "notEqual", PROTOCOL_UDP, "pass");
  b.load("r4", "r2", u16(ETHERNET + 6));
  b.jumpIf("r4", "anyBit", FRAGMENTED, "pass");
  // The header's checksum: its words must add up to all ones.
  b.move("r4", 0);
  for (let word = 0; word < IPV4; word += 4) {
    b.load("r5", "r2", u32(ETHERNET + word));
    b.add("r4", "r5");
  }
  b.move("r5", "r4");
  b.shiftRight("r5", 32);
  b.shiftLeft("r4", 32);
  b.shiftRight("r4", 32);
  b.add("r4", "r5");
  foldInto(b, "r4", "r5", 3);
  b.jumpIf("r4", "notEqual", 0xffff, "pass");
  b.load("r4", "r2", u16(ETHERNET + 2));
  b.toBigEndian(16, "r4");
  b.load("r5", FRAME, local("frameLength"));
  b.subtract("r5", ETHERNET);
  // Padded and cut frames alike.
  b.jumpIf("r5", "notEqual", "r4", "pass");
  b.subtract("r4", IPV4);
  b.load("r5", "r2", u8(ETHERNET + 1));
  b.store(FRAME, local("trafficClass"), "r5");
  for (const [name, offset] of [
    ["source", 12],
    ["destination", 16],
  ] as const) {
    const address = local("key", routeKey.field[name]);
    b.load("r5", "r2", u32(ETHERNET + offset));
    b.store(FRAME, part(address, 0, 8), 0);
    b.store(FRAME, part(address, 8, 4), MAPPED_PREFIX);
    b.store(FRAME, part(address, 12, 4), "r5");
  }
  b.move("r5", IPV4);
  b.store(FRAME, local("move"), "r5");
  b.move(UDP, "r2");
  b.add(UDP, ETHERNET + IPV4);
  b.goto("checkUdp");
}

function parseIpv6(b: ProgramBuilder): void {
  b.label("parseIpv6");
  b.move("r4", "r2");
  b.add("r4", ETHERNET + IPV6 + UDP_HEADER);
  b.jumpIf("r4", "above", "r3", "pass");
  b.load("r4", "r2", u8(ETHERNET + 6));
  // Extension headers, fragments among them, go up.
  b.jumpIf("r4", "notEqual", PROTOCOL_UDP, "pass");
  b.load("r4", "r2", u16(ETHERNET));
  b.toBigEndian(16, "r4");
  b.move("r5", "r4");
  b.shiftRight("r5", 12);
  b.jumpIf("r5", "notEqual", 6, "pass");
  b.shiftRight("r4", 4);
  b.and("r4", 0xff);
  b.store(FRAME, local("trafficClass"), "r4");
  b.load("r4", "r2", u16(ETHERNET + 4));
  b.toBigEndian(16, "r4");
  b.load("r5", FRAME, local("frameLength"));
  b.subtract("r5", ETHERNET + IPV6);
  b.jumpIf("r5", "notEqual", "r4", "pass");
  for (const [name, offset] of [
    ["source", 8],
    ["destination", 24],
  ] as const) {
    const address = local("key", routeKey.field[name]);
    for (const half of [0, 8]) {
      b.load("r5", "r2", u64(ETHERNET + offset + half));
      b.store(FRAME, part(address, half, 8), "r5");
    }
  }
  b.move("r5", IPV6);
  b.store(FRAME, local("move"), "r5");
  b.move(UDP, "r2");
  b.add(UDP, ETHERNET + IPV6);
}

/** r4: bytes behind the IP header. */
function checkUdp(b: ProgramBuilder): void {
  b.label("checkUdp");
  b.load("r5", UDP, u16(4));
  b.toBigEndian(16, "r5");
  b.jumpIf("r5", "notEqual", "r4", "pass");
  b.jumpIf("r5", "below", UDP_HEADER, "pass");
  b.store(FRAME, local("udpLength"), "r5");
  b.load("r5", UDP, u16(6));
  // Without a checksum there is nothing to go by for the new one.
  b.jumpIf("r5", "equal", 0, "pass");
  b.toBigEndian(16, "r5");
  b.store(FRAME, local("sum"), "r5");
  b.load("r5", UDP, u16(0));
  b.store(FRAME, local("key", routeKey.field.sourcePort), "r5");
  b.load("r5", UDP, u16(2));
  b.store(FRAME, local("key", routeKey.field.destinationPort), "r5");
  b.store(FRAME, local("key", routeKey.field.padding), 0);
  b.store(FRAME, local("channelLength"), 0);
  b.store(FRAME, local("hairpin"), 0);
}

/** RFC 8656 §12.4: what begins with 0x40–0x7f may be ChannelData; what begins otherwise, or is too short, is not. */
function findRoute(b: ProgramBuilder, options: RelayProgramOptions): void {
  b.label("findRoute");
  b.move("r4", UDP);
  b.add("r4", UDP_HEADER + CHANNEL_HEADER);
  b.jumpIf("r4", "above", "r3", "findByPeer");
  b.load("r4", UDP, u8(UDP_HEADER));
  b.and("r4", 0xc0);
  b.jumpIf("r4", "notEqual", 0x40, "findByPeer");
  b.load("r5", UDP, u16(UDP_HEADER + 2));
  b.toBigEndian(16, "r5");
  b.store(FRAME, local("channelLength"), "r5");
  b.load("r4", UDP, u16(UDP_HEADER));
  b.store(FRAME, local("key", routeKey.field.channel), "r4");
  lookUp(b, options.maps.routes, local("key"));
  b.jumpIf("r0", "notEqual", 0, "foundRoute");
  b.label("findByPeer");
  b.store(FRAME, local("key", routeKey.field.channel), 0);
  lookUp(b, options.maps.routes, local("key"));
  b.jumpIf("r0", "equal", 0, "passNoRoute");
  b.label("foundRoute");
  b.move(ROUTE, "r0");
}

/** The channel lives, and the checksum is a whole one. */
function police(b: ProgramBuilder, options: RelayProgramOptions): void {
  b.label("police");
  loadLiveState(b, options);
  // An unfinished checksum is the pseudo-header's sum; one in 65,536 finished ones looks like that too.
  b.load("r1", ROUTE, route.field.pseudoSum);
  b.load("r2", FRAME, local("udpLength"));
  b.add("r1", "r2");
  foldInto(b, "r1", "r2", 3);
  b.load("r2", FRAME, local("sum"));
  b.jumpIf("r1", "equal", "r2", "passPartialChecksum");
  b.xor("r2", 0xffff);
  b.store(FRAME, local("sum"), "r2");
}

/** Leaves r0–r5 free, STATE set. */
function loadLiveState(b: ProgramBuilder, options: RelayProgramOptions): void {
  b.load("r1", ROUTE, route.field.slot);
  b.store(FRAME, local("index"), "r1");
  lookUp(b, options.maps.states, local("index"));
  b.jumpIf("r0", "equal", 0, "passExpired");
  b.move(STATE, "r0");
  b.call(HELPER.ktimeGetNs);
  b.load("r1", STATE, state.field.expiresAtNs);
  b.jumpIf("r1", "belowOrEqual", "r0", "passExpired");
}

/** From a client: the ChannelData header must say the datagram's length; it leaves the sum twice as length, once as data. */
function takeChannelOff(b: ProgramBuilder): void {
  b.label("takeChannelOff");
  b.load("r1", ROUTE, route.field.flags);
  b.and("r1", ROUTE_FLAG.toPeer);
  b.jumpIf("r1", "equal", 0, "fromPeer");
  b.load("r1", FRAME, local("udpLength"));
  b.load("r2", FRAME, local("channelLength"));
  b.move("r3", "r1");
  b.subtract("r3", UDP_HEADER + CHANNEL_HEADER);
  b.jumpIf("r3", "notEqual", "r2", "passUnusual");
  b.subtract("r1", CHANNEL_HEADER);
  b.store(FRAME, local("udpLength"), "r1");
  b.load("r3", FRAME, local("sum"));
  b.load("r4", ROUTE, route.field.difference);
  b.add("r3", "r4");
  b.add("r3", 0xffff - 2 * CHANNEL_HEADER + 0xffff);
  b.subtract("r3", "r2");
  b.store(FRAME, local("sum"), "r3");
  b.load("r1", FRAME, local("move"));
  b.add("r1", CHANNEL_HEADER);
  b.store(FRAME, local("move"), "r1");
  b.load("r1", ROUTE, route.field.flags);
  b.and("r1", ROUTE_FLAG.hairpin);
  b.jumpIf("r1", "equal", 0, "findHop");
}

/** The peer is an address of this relay: the packet as that peer would get it must have a route of its own. */
function turnHairpin(b: ProgramBuilder, options: RelayProgramOptions): void {
  b.label("turnHairpin");
  for (const name of ["source", "destination"] as const) {
    for (const half of [0, 8]) {
      b.load("r1", ROUTE, part(route.field[name], half, 8));
      b.store(FRAME, part(local("key", routeKey.field[name]), half, 8), "r1");
    }
  }
  for (const name of ["sourcePort", "destinationPort"] as const) {
    b.load("r1", ROUTE, route.field[name]);
    b.store(FRAME, local("key", routeKey.field[name]), "r1");
  }
  b.store(FRAME, local("key", routeKey.field.channel), 0);
  lookUp(b, options.maps.routes, local("key"));
  b.jumpIf("r0", "equal", 0, "passNoRoute");
  b.move(ROUTE, "r0");
  b.store(FRAME, local("otherState"), STATE);
  b.move("r1", 1);
  b.store(FRAME, local("hairpin"), "r1");
  loadLiveState(b, options);
  b.goto("putChannelOn");
}

/**
 * To a client: the header joins the sum. Both lengths grow by its four bytes, and its length field is the payload's:
 * together, the length of the datagram that came.
 */
function putChannelOn(b: ProgramBuilder): void {
  b.label("fromPeer");
  // Nobody outside has the relay's addresses.
  b.load("r1", ROUTE, route.field.flags);
  b.and("r1", ROUTE_FLAG.hairpin);
  b.jumpIf("r1", "notEqual", 0, "passUnusual");
  b.label("putChannelOn");
  b.load("r1", FRAME, local("udpLength"));
  b.load("r3", FRAME, local("sum"));
  b.load("r4", ROUTE, route.field.difference);
  b.add("r3", "r4");
  b.add("r3", "r1");
  b.store(FRAME, local("sum"), "r3");
  b.add("r1", CHANNEL_HEADER);
  b.store(FRAME, local("udpLength"), "r1");
  b.load("r1", FRAME, local("move"));
  b.subtract("r1", CHANNEL_HEADER);
  b.store(FRAME, local("move"), "r1");
}

/** There is a neighbour, and the packet fits. */
function findHop(b: ProgramBuilder, options: RelayProgramOptions): void {
  b.label("findHop");
  b.load("r1", ROUTE, route.field.hop);
  b.store(FRAME, local("index"), "r1");
  lookUp(b, options.maps.hops, local("index"));
  b.jumpIf("r0", "equal", 0, "passNoHop");
  b.load("r1", "r0", u64(hop.field.destination.offset));
  b.jumpIf("r1", "equal", 0, "passNoHop");
  b.store(FRAME, local("hopDestination"), "r1");
  b.load("r2", "r0", u64(hop.field.source.offset));
  b.store(FRAME, local("hopSource"), "r2");
  b.load("r2", "r0", hop.field.interface);
  b.store(FRAME, local("hopInterface"), "r2");
  b.shiftRight("r1", 48);
  b.load("r2", FRAME, local("udpLength"));
  b.load("r3", FRAME, local("move"));
  const ipv6 = b.fresh("findHop");
  const known = b.fresh("findHop");
  b.load("r4", ROUTE, route.field.flags);
  b.and("r4", ROUTE_FLAG.ipv6);
  b.jumpIf("r4", "notEqual", 0, ipv6);
  b.add("r2", IPV4);
  b.subtract("r3", IPV4);
  b.goto(known);
  b.label(ipv6);
  b.add("r2", IPV6);
  b.subtract("r3", IPV6);
  b.label(known);
  b.jumpIf("r2", "above", "r1", "passTooLarge");
  b.store(FRAME, local("move"), "r3");
}

/** The last step that can fail: behind it the packet is another one. r2: the packet, r3: its end. */
function resize(b: ProgramBuilder): void {
  b.label("resize");
  b.move("r1", CONTEXT);
  b.load("r2", FRAME, local("move"));
  b.call(HELPER.adjustHead);
  b.jumpIf("r0", "notEqual", 0, "passNoHeadroom");
  b.load("r2", CONTEXT, context.data);
  b.load("r3", CONTEXT, context.dataEnd);
  b.load("r1", ROUTE, route.field.flags);
  b.and("r1", ROUTE_FLAG.ipv6);
  b.jumpIf("r1", "notEqual", 0, "writeIpv6");
}

function writeEthernet(b: ProgramBuilder, type: number): void {
  b.load("r1", FRAME, local("hopDestination"));
  b.store("r2", u32(0), "r1");
  b.shiftRight("r1", 32);
  b.store("r2", u16(4), "r1");
  b.load("r1", FRAME, local("hopSource"));
  b.store("r2", u32(6), "r1");
  b.shiftRight("r1", 32);
  b.store("r2", u16(10), "r1");
  b.store("r2", u16(12), type);
}

function writeIpv4(b: ProgramBuilder): void {
  b.label("writeIpv4");
  b.move("r1", "r2");
  b.add("r1", ETHERNET + IPV4 + UDP_HEADER);
  b.jumpIf("r1", "above", "r3", "abort");
  writeEthernet(b, TYPE_IPV4);
  b.move(UDP, "r2");
  b.add(UDP, ETHERNET + IPV4);
  b.load("r1", FRAME, local("trafficClass"));
  b.store("r2", u8(ETHERNET), 0x45);
  b.store("r2", u8(ETHERNET + 1), "r1");
  // r4: the header's sum.
  b.load("r4", ROUTE, route.field.headerSum);
  b.add("r4", "r1");
  b.load("r1", FRAME, local("udpLength"));
  b.add("r1", IPV4);
  b.add("r4", "r1");
  b.toBigEndian(16, "r1");
  b.store("r2", u16(ETHERNET + 2), "r1");
  // Fragments of different packets of one flow must differ in it (RFC 791 §3.2).
  b.load("r1", STATE, state.field.packetsToPeer);
  b.load("r5", STATE, state.field.packetsToClient);
  b.add("r1", "r5");
  b.load("r5", ROUTE, route.field.identification);
  b.add("r1", "r5");
  b.and("r1", 0xffff);
  b.add("r4", "r1");
  b.toBigEndian(16, "r1");
  b.store("r2", u16(ETHERNET + 4), "r1");
  b.store("r2", u16(ETHERNET + 6), 0);
  b.store("r2", u8(ETHERNET + 8), TTL);
  b.store("r2", u8(ETHERNET + 9), PROTOCOL_UDP);
  foldInto(b, "r4", "r1", 3);
  b.xor("r4", 0xffff);
  b.toBigEndian(16, "r4");
  b.store("r2", u16(ETHERNET + 10), "r4");
  b.load("r1", ROUTE, part(route.field.source, 12, 4));
  b.store("r2", u32(ETHERNET + 12), "r1");
  b.load("r1", ROUTE, part(route.field.destination, 12, 4));
  b.store("r2", u32(ETHERNET + 16), "r1");
  b.goto("writeUdp");
}

function writeIpv6(b: ProgramBuilder): void {
  b.label("writeIpv6");
  b.move("r1", "r2");
  b.add("r1", ETHERNET + IPV6 + UDP_HEADER);
  b.jumpIf("r1", "above", "r3", "abort");
  writeEthernet(b, TYPE_IPV6);
  b.move(UDP, "r2");
  b.add(UDP, ETHERNET + IPV6);
  b.load("r1", FRAME, local("trafficClass"));
  b.shiftLeft("r1", 20);
  b.or("r1", 0x60000000);
  b.toBigEndian(32, "r1");
  b.store("r2", u32(ETHERNET), "r1");
  b.load("r1", FRAME, local("udpLength"));
  b.toBigEndian(16, "r1");
  b.store("r2", u16(ETHERNET + 4), "r1");
  b.store("r2", u8(ETHERNET + 6), PROTOCOL_UDP);
  b.store("r2", u8(ETHERNET + 7), TTL);
  for (const [name, offset] of [
    ["source", 8],
    ["destination", 24],
  ] as const) {
    for (const half of [0, 8]) {
      b.load("r1", ROUTE, part(route.field[name], half, 8));
      b.store("r2", u64(ETHERNET + offset + half), "r1");
    }
  }
}

/** UDP header, and the ChannelData header of what goes to a client. */
function writeUdp(b: ProgramBuilder): void {
  b.label("writeUdp");
  b.load("r1", ROUTE, route.field.sourcePort);
  b.store(UDP, u16(0), "r1");
  b.load("r1", ROUTE, route.field.destinationPort);
  b.store(UDP, u16(2), "r1");
  b.load("r4", FRAME, local("udpLength"));
  b.move("r1", "r4");
  b.toBigEndian(16, "r1");
  b.store(UDP, u16(4), "r1");
  b.load("r1", FRAME, local("sum"));
  foldInto(b, "r1", "r2", 3);
  b.xor("r1", 0xffff);
  const some = b.fresh("writeUdp");
  b.jumpIf("r1", "notEqual", 0, some);
  // Zero would say that there is none (RFC 768).
  b.move("r1", 0xffff);
  b.label(some);
  b.toBigEndian(16, "r1");
  b.store(UDP, u16(6), "r1");
  b.load("r1", ROUTE, route.field.channel);
  b.jumpIf("r1", "equal", 0, "count");
  b.move("r2", UDP);
  b.add("r2", UDP_HEADER + CHANNEL_HEADER);
  b.jumpIf("r2", "above", "r3", "abort");
  b.store(UDP, u16(UDP_HEADER), "r1");
  b.subtract("r4", UDP_HEADER + CHANNEL_HEADER);
  b.toBigEndian(16, "r4");
  b.store(UDP, u16(UDP_HEADER + 2), "r4");
}

/** Payload bytes and packets, of the channel or channels. */
function count(b: ProgramBuilder, options: RelayProgramOptions): void {
  b.label("count");
  b.move("r1", 1);
  b.load("r2", FRAME, local("udpLength"));
  b.subtract("r2", UDP_HEADER);
  b.load("r3", ROUTE, route.field.channel);
  b.jumpIf("r3", "notEqual", 0, "countToClient");
  b.atomicAdd(STATE, state.field.packetsToPeer, "r1");
  b.atomicAdd(STATE, state.field.bytesToPeer, "r2");
  countOutcome(b, options, "relayedToPeer");
  b.goto("send");
  b.label("countToClient");
  b.subtract("r2", CHANNEL_HEADER);
  b.atomicAdd(STATE, state.field.packetsToClient, "r1");
  b.atomicAdd(STATE, state.field.bytesToClient, "r2");
  b.load("r3", FRAME, local("hairpin"));
  b.jumpIf("r3", "equal", 0, "countPlain");
  b.load("r3", FRAME, local("otherState"));
  b.atomicAdd("r3", state.field.packetsToPeer, "r1");
  b.atomicAdd("r3", state.field.bytesToPeer, "r2");
  countOutcome(b, options, "relayedHairpin");
  b.goto("send");
  b.label("countPlain");
  countOutcome(b, options, "relayedToClient");
}

function send(b: ProgramBuilder): void {
  b.label("send");
  b.load("r1", FRAME, local("hopInterface"));
  b.load("r2", CONTEXT, context.ingressInterface);
  b.move("r0", XDP.transmit);
  b.jumpIf("r1", "equal", "r2", "exit");
  b.move("r2", 0);
  b.call(HELPER.redirect);
  b.label("exit");
  b.exit();
}

function endings(b: ProgramBuilder, options: RelayProgramOptions): void {
  for (const [label, outcome] of [
    ["passNoRoute", "noRoute"],
    ["passExpired", "expired"],
    ["passUnusual", "unusual"],
    ["passPartialChecksum", "partialChecksum"],
    ["passNoHop", "noHop"],
    ["passTooLarge", "tooLarge"],
    ["passNoHeadroom", "noHeadroom"],
  ] as const) {
    b.label(label);
    countOutcome(b, options, outcome);
    b.goto("pass");
  }
  b.label("pass");
  b.move("r0", XDP.pass);
  b.exit();
  // The verifier wants an answer for a packet that is shorter than it was checked to be. There is none.
  b.label("abort");
  b.move("r0", XDP.aborted);
  b.exit();
}

function countOutcome(b: ProgramBuilder, options: RelayProgramOptions, outcome: Outcome): void {
  const missing = b.fresh(outcome);
  b.store(FRAME, local("index"), OUTCOME[outcome]);
  lookUp(b, options.maps.outcomes, local("index"));
  b.jumpIf("r0", "equal", 0, missing);
  // Of this CPU alone, and XDP programs don't interrupt each other.
  b.load("r1", "r0", u64(0));
  b.add("r1", 1);
  b.store("r0", u64(0), "r1");
  b.label(missing);
}

/** r0: the value for the key in the frame, or 0. */
function lookUp(b: ProgramBuilder, map: number, key: Field): void {
  b.loadMap("r1", map);
  b.move("r2", FRAME);
  b.add("r2", key.offset);
  b.call(HELPER.mapLookup);
}

/** Folds a checksum's sum; `times` is how often carries can come. */
function foldInto(b: ProgramBuilder, sum: Register, scratch: Register, times: number): void {
  for (let i = 0; i < times; i++) {
    b.move(scratch, sum);
    b.shiftRight(scratch, 16);
    b.and(sum, 0xffff);
    b.add(sum, scratch);
  }
}
