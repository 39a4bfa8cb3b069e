import { type Assembled, assemble } from "../assembler/assemble.ts";
import { ProgramBuilder } from "../assembler/builder.ts";
import { tcxHook } from "./hooks/tcx.ts";
import { xdpHook } from "./hooks/xdp.ts";
import type { RelayMaps } from "./maps.ts";
import { findRoute, turnHairpin } from "./steps/look-up.ts";
import { checkLink, checkUdp, parseIpv4, parseIpv6 } from "./steps/parse.ts";
import { police } from "./steps/police.ts";
import { finish, putChannelOn, resize, takeChannelOff, writeIpv4, writeIpv6, writeUdp } from "./steps/rewrite.ts";
import { count, endings, findHop, send } from "./steps/send.ts";

/** What the program is made for. */
export interface RelayProgramOptions {
  readonly maps: RelayMaps;
  /** The interface's link address: what is sent to others goes up. */
  readonly linkAddress: Uint8Array;
  /** For TCX, with the descriptor of a map of the {@link scratch} memory, one value for each CPU. Default: for XDP. */
  readonly tcx?: { readonly scratch: number };
}

/**
 * The program for XDP or TCX: it does to a packet of a channel exactly what engine and sockets would, or lets it go up
 * untouched. It never drops.
 *
 * One function a step, in the order a packet takes them; each ends by falling into the next or jumping to a label.
 */
export function relayProgram(options: RelayProgramOptions): Assembled {
  const b = new ProgramBuilder();
  const hook = options.tcx === undefined ? xdpHook : tcxHook(options.tcx.scratch);
  checkLink(b, hook, options.linkAddress);
  parseIpv4(b);
  parseIpv6(b);
  checkUdp(b);
  findRoute(b, options.maps);
  police(b, hook, options.maps);
  takeChannelOff(b);
  turnHairpin(b, options.maps);
  putChannelOn(b);
  findHop(b, options.maps);
  resize(b, hook);
  writeIpv4(b, hook);
  writeIpv6(b, hook);
  writeUdp(b, hook);
  finish(b, hook);
  count(b, options.maps);
  send(b, hook);
  endings(b, hook, options.maps);
  return assemble(b.lines);
}
