import type { ProgramBuilder } from "../../assembler/builder.ts";
import { XDP } from "../../kernel/bpf.ts";
import {
  CHANNEL_HEADER,
  CONTEXT,
  context,
  FRAME,
  HELPER,
  IPV4,
  IPV6,
  local,
  lookUp,
  ROUTE,
  STATE,
  u64,
  UDP_HEADER,
} from "../frame.ts";
import { hop, OUTCOME, type Outcome, route, ROUTE_FLAG, state } from "../layout.ts";
import type { RelayMaps } from "../maps.ts";

/** There is a neighbour, and the packet fits. */
export function findHop(b: ProgramBuilder, maps: RelayMaps): void {
  b.label("findHop");
  b.load("r1", ROUTE, route.field.hop);
  b.store(FRAME, local("index"), "r1");
  lookUp(b, maps.hops, local("index"));
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

/** Payload bytes and packets, of the channel or channels. */
export function count(b: ProgramBuilder, maps: RelayMaps): void {
  b.label("count");
  b.move("r1", 1);
  b.load("r2", FRAME, local("udpLength"));
  b.subtract("r2", UDP_HEADER);
  b.load("r3", ROUTE, route.field.channel);
  b.jumpIf("r3", "notEqual", 0, "countToClient");
  b.atomicAdd(STATE, state.field.packetsToPeer, "r1");
  b.atomicAdd(STATE, state.field.bytesToPeer, "r2");
  countOutcome(b, maps, "relayedToPeer");
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
  countOutcome(b, maps, "relayedHairpin");
  b.goto("send");
  b.label("countPlain");
  countOutcome(b, maps, "relayedToClient");
}

export function send(b: ProgramBuilder): void {
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

export function endings(b: ProgramBuilder, maps: RelayMaps): void {
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
    countOutcome(b, maps, outcome);
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

function countOutcome(b: ProgramBuilder, maps: RelayMaps, outcome: Outcome): void {
  const missing = b.fresh(outcome);
  b.store(FRAME, local("index"), OUTCOME[outcome]);
  lookUp(b, maps.outcomes, local("index"));
  b.jumpIf("r0", "equal", 0, missing);
  // Of this CPU alone, and XDP programs don't interrupt each other.
  b.load("r1", "r0", u64(0));
  b.add("r1", 1);
  b.store("r0", u64(0), "r1");
  b.label(missing);
}
