import type { ProgramBuilder } from "../../assembler/builder.ts";
import { part } from "../../assembler/struct.ts";
import {
  CHANNEL_HEADER,
  ETHERNET,
  FRAME,
  IPV4,
  IPV6,
  local,
  PROTOCOL_UDP,
  ROUTE,
  STATE,
  TTL,
  TYPE_IPV4,
  TYPE_IPV6,
  u16,
  u32,
  u64,
  u8,
  UDP,
  UDP_HEADER,
} from "../frame.ts";
import type { Hook } from "../hooks/hook.ts";
import { route, ROUTE_FLAG, state } from "../layout.ts";
import { foldInto, putHeaderOnSum, takeHeaderOffSum } from "./checksum.ts";

/** From a client: the ChannelData header must say the datagram's length. */
export function takeChannelOff(b: ProgramBuilder): void {
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
  takeHeaderOffSum(b);
  b.load("r1", FRAME, local("udpGrowth"));
  b.subtract("r1", CHANNEL_HEADER);
  b.store(FRAME, local("udpGrowth"), "r1");
  b.load("r1", ROUTE, route.field.flags);
  b.and("r1", ROUTE_FLAG.hairpin);
  b.jumpIf("r1", "equal", 0, "findHop");
}

/** To a client: the header comes before the payload. */
export function putChannelOn(b: ProgramBuilder): void {
  b.label("fromPeer");
  // Nobody outside has the relay's addresses.
  b.load("r1", ROUTE, route.field.flags);
  b.and("r1", ROUTE_FLAG.hairpin);
  b.jumpIf("r1", "notEqual", 0, "passUnusual");
  b.label("putChannelOn");
  b.load("r1", FRAME, local("udpLength"));
  putHeaderOnSum(b);
  b.add("r1", CHANNEL_HEADER);
  b.store(FRAME, local("udpLength"), "r1");
  b.load("r1", FRAME, local("udpGrowth"));
  b.add("r1", CHANNEL_HEADER);
  b.store(FRAME, local("udpGrowth"), "r1");
}

/** The last step that can fail: behind it the packet is another one. r2: where its headers are written. */
export function resize(b: ProgramBuilder, hook: Hook): void {
  b.label("resize");
  hook.makeRoom(b);
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

export function writeIpv4(b: ProgramBuilder, hook: Hook): void {
  b.label("writeIpv4");
  hook.checkRoom(b, "r2", ETHERNET + IPV4 + UDP_HEADER);
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

export function writeIpv6(b: ProgramBuilder, hook: Hook): void {
  b.label("writeIpv6");
  hook.checkRoom(b, "r2", ETHERNET + IPV6 + UDP_HEADER);
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
export function writeUdp(b: ProgramBuilder, hook: Hook): void {
  b.label("writeUdp");
  b.load("r1", ROUTE, route.field.sourcePort);
  b.store(UDP, u16(0), "r1");
  b.load("r1", ROUTE, route.field.destinationPort);
  b.store(UDP, u16(2), "r1");
  b.load("r4", FRAME, local("udpLength"));
  b.move("r1", "r4");
  b.toBigEndian(16, "r1");
  b.store(UDP, u16(4), "r1");
  hook.loadChecksum(b);
  b.store(UDP, u16(6), "r1");
  b.load("r1", ROUTE, route.field.channel);
  b.jumpIf("r1", "equal", 0, "finish");
  hook.checkRoom(b, UDP, UDP_HEADER + CHANNEL_HEADER);
  b.store(UDP, u16(UDP_HEADER), "r1");
  b.subtract("r4", UDP_HEADER + CHANNEL_HEADER);
  b.toBigEndian(16, "r4");
  b.store(UDP, u16(UDP_HEADER + 2), "r4");
}

/** The packet is as it leaves. */
export function finish(b: ProgramBuilder, hook: Hook): void {
  b.label("finish");
  hook.finish(b);
}
