import type { ProgramBuilder } from "../../assembler/builder.ts";
import { part } from "../../assembler/struct.ts";
import {
  CONTEXT,
  ETHERNET,
  FRAME,
  IPV4,
  IPV6,
  local,
  PROTOCOL_UDP,
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
import { routeKey } from "../layout.ts";
import { foldInto } from "./checksum.ts";

/** All of the fragment word but DON'T FRAGMENT. */
const FRAGMENTED = 0xffbf;
const MAPPED_PREFIX = 0xffff0000 | 0;

/** r2: the packet, r3: its end, from here to the parsers. */
export function checkLink(b: ProgramBuilder, hook: Hook, linkAddress: Uint8Array): void {
  const view = new DataView(linkAddress.buffer, linkAddress.byteOffset, 6);
  b.label("checkLink");
  b.move(CONTEXT, "r1");
  hook.openFrame(b);
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

export function parseIpv4(b: ProgramBuilder): void {
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
  b.store(FRAME, local("ipHeader"), "r5");
  b.move(UDP, "r2");
  b.add(UDP, ETHERNET + IPV4);
  b.goto("checkUdp");
}

export function parseIpv6(b: ProgramBuilder): void {
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
  b.store(FRAME, local("ipHeader"), "r5");
  b.move(UDP, "r2");
  b.add(UDP, ETHERNET + IPV6);
}

/** r4: bytes behind the IP header. */
export function checkUdp(b: ProgramBuilder): void {
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
  b.store(FRAME, local("checksum"), "r5");
  b.load("r5", UDP, u16(0));
  b.store(FRAME, local("key", routeKey.field.sourcePort), "r5");
  b.load("r5", UDP, u16(2));
  b.store(FRAME, local("key", routeKey.field.destinationPort), "r5");
  b.store(FRAME, local("key", routeKey.field.padding), 0);
  b.store(FRAME, local("channelLength"), 0);
  b.store(FRAME, local("hairpin"), 0);
  b.store(FRAME, local("udpGrowth"), 0);
}
