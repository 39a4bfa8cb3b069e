import type { ProgramBuilder } from "../../assembler/builder.ts";
import { FRAME, HELPER, local, lookUp, ROUTE, STATE } from "../frame.ts";
import type { Hook } from "../hooks/hook.ts";
import { route, state } from "../layout.ts";
import { foldInto } from "./checksum.ts";
import type { RelayMaps } from "../maps.ts";

/** The channel lives, and the checksum is one to go by. */
export function police(b: ProgramBuilder, hook: Hook, maps: RelayMaps): void {
  b.label("police");
  loadLiveState(b, maps);
  b.load("r1", ROUTE, route.field.pseudoSum);
  b.load("r2", FRAME, local("udpLength"));
  b.add("r1", "r2");
  foldInto(b, "r1", "r2", 3);
  b.store(FRAME, local("pseudoSum"), "r1");
  hook.takeSum(b);
}

/** Leaves r0–r5 free, STATE set. */
export function loadLiveState(b: ProgramBuilder, maps: RelayMaps): void {
  b.load("r1", ROUTE, route.field.slot);
  b.store(FRAME, local("index"), "r1");
  lookUp(b, maps.states, local("index"));
  b.jumpIf("r0", "equal", 0, "passExpired");
  b.move(STATE, "r0");
  b.call(HELPER.ktimeGetNs);
  b.load("r1", STATE, state.field.expiresAtNs);
  b.jumpIf("r1", "belowOrEqual", "r0", "passExpired");
}
