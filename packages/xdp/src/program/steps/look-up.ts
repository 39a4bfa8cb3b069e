import type { ProgramBuilder } from "../../assembler/builder.ts";
import { part } from "../../assembler/struct.ts";
import { CHANNEL_HEADER, FRAME, local, lookUp, ROUTE, STATE, u16, u8, UDP, UDP_HEADER } from "../frame.ts";
import { route, routeKey } from "../layout.ts";
import { loadLiveState } from "./police.ts";
import type { RelayMaps } from "../maps.ts";

/** RFC 8656 §12.4: what begins with 0x40–0x7f may be ChannelData; what begins otherwise, or is too short, is not. */
export function findRoute(b: ProgramBuilder, maps: RelayMaps): void {
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
  lookUp(b, maps.routes, local("key"));
  b.jumpIf("r0", "notEqual", 0, "foundRoute");
  b.label("findByPeer");
  b.store(FRAME, local("key", routeKey.field.channel), 0);
  lookUp(b, maps.routes, local("key"));
  b.jumpIf("r0", "equal", 0, "passNoRoute");
  b.label("foundRoute");
  b.move(ROUTE, "r0");
}

/** The peer is an address of this relay: the packet as that peer would get it must have a route of its own. */
export function turnHairpin(b: ProgramBuilder, maps: RelayMaps): void {
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
  lookUp(b, maps.routes, local("key"));
  b.jumpIf("r0", "equal", 0, "passNoRoute");
  b.move(ROUTE, "r0");
  b.store(FRAME, local("otherState"), STATE);
  b.move("r1", 1);
  b.store(FRAME, local("hairpin"), "r1");
  loadLiveState(b, maps);
  b.goto("putChannelOn");
}
