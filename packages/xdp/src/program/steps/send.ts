import type { ProgramBuilder } from "../../assembler/builder.ts";
import { CHANNEL_HEADER, FRAME, IPV4, IPV6, local, lookUp, ROUTE, STATE, u64, UDP_HEADER } from "../frame.ts";
import type { Hook } from "../hooks/hook.ts";
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
  b.move("r3", IPV4);
  const ipv4 = b.fresh("findHop");
  b.load("r4", ROUTE, route.field.flags);
  b.and("r4", ROUTE_FLAG.ipv6);
  b.jumpIf("r4", "equal", 0, ipv4);
  b.move("r3", IPV6);
  b.label(ipv4);
  b.add("r2", "r3");
  b.jumpIf("r2", "above", "r1", "passTooLarge");
  b.load("r4", FRAME, local("ipHeader"));
  b.subtract("r3", "r4");
  b.store(FRAME, local("ipGrowth"), "r3");
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

export function send(b: ProgramBuilder, hook: Hook): void {
  b.label("send");
  b.load("r1", FRAME, local("hopInterface"));
  hook.send(b);
  b.exit();
}

export function endings(b: ProgramBuilder, hook: Hook, maps: RelayMaps): void {
  for (const [label, outcome] of [
    ["passNoRoute", "noRoute"],
    ["passExpired", "expired"],
    ["passUnusual", "unusual"],
    ["passPartialChecksum", "partialChecksum"],
    ["passNoHop", "noHop"],
    ["passTooLarge", "tooLarge"],
    ["passNoHeadroom", "noHeadroom"],
  ] as const) {
    // The verifier refuses what can't be reached.
    if (!b.isTarget(label)) continue;
    b.label(label);
    countOutcome(b, maps, outcome);
    b.goto("pass");
  }
  b.label("pass");
  b.move("r0", hook.verdict.pass);
  b.exit();
  b.label("abort");
  countOutcome(b, maps, "aborted");
  b.move("r0", hook.verdict.abort);
  b.exit();
}

function countOutcome(b: ProgramBuilder, maps: RelayMaps, outcome: Outcome): void {
  const missing = b.fresh(outcome);
  b.store(FRAME, local("index"), OUTCOME[outcome]);
  lookUp(b, maps.outcomes, local("index"));
  b.jumpIf("r0", "equal", 0, missing);
  // Of this CPU alone, and programs of one hook don't interrupt each other.
  b.load("r1", "r0", u64(0));
  b.add("r1", 1);
  b.store("r0", u64(0), "r1");
  b.label(missing);
}
