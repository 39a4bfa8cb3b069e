import type { ProgramBuilder } from "../assembler/builder.ts";
import type { Register } from "../assembler/instruction.ts";
import { type Field, type Struct, struct } from "../assembler/struct.ts";
import { routeKey } from "./layout.ts";

// What the steps share: registers, the stack frame, sizes of headers.

// Registers that outlive calls.
export const CONTEXT: Register = "r6";
export const ROUTE: Register = "r7";
export const STATE: Register = "r8";
/** The UDP header until the route is found; in `write…` the payload. */
export const UDP: Register = "r9";
export const FRAME: Register = "r10";

/** Helpers that the kernel gives programs of both hooks, by <linux/bpf.h>. */
export const HELPER = { mapLookup: 1, ktimeGetNs: 5, redirect: 23 } as const;

const locals: Struct<Local> = struct({
  key: routeKey.size,
  /** Of the frame that came. */
  frameLength: 8,
  /** ChannelData's length field, or 0. */
  channelLength: 8,
  /** Length of the UDP datagram: first as it came, then as it leaves. */
  udpLength: 8,
  /** The UDP checksum as it came. */
  checksum: 8,
  /** Of the pseudo-header that came, folded. */
  pseudoSum: 8,
  /** The UDP checksum's sum, or its difference, on its way. */
  sum: 8,
  /** Bytes of IP header that came. */
  ipHeader: 8,
  /** Bytes by which the IP header grows, and all behind it: none, or those of one header. Two's complement. */
  ipGrowth: 8,
  udpGrowth: 8,
  trafficClass: 8,
  /** 1: both ends are clients of this relay; then `otherState` is the first one's. */
  hairpin: 8,
  otherState: 8,
  /** The {@link hop}, as it was in one moment. */
  hopDestination: 8,
  hopSource: 8,
  hopInterface: 8,
  /** Of the packet that leaves. TCX alone. */
  payloadLength: 8,
  /** Where its headers are written. TCX alone. */
  scratch: 8,
  index: 4,
  padding: 4,
});

type Local =
  | "key"
  | "frameLength"
  | "channelLength"
  | "udpLength"
  | "checksum"
  | "pseudoSum"
  | "sum"
  | "ipHeader"
  | "ipGrowth"
  | "udpGrowth"
  | "trafficClass"
  | "hairpin"
  | "otherState"
  | "hopDestination"
  | "hopSource"
  | "hopInterface"
  | "payloadLength"
  | "scratch"
  | "index"
  | "padding";

/** A member of the stack frame, as r10 sees it. */
export function local(name: Local, inner?: Field): Field {
  const { offset, size } = locals.field[name];
  const start = offset - locals.size;
  return inner === undefined ? { offset: start, size } : { offset: start + inner.offset, size: inner.size };
}

export const ETHERNET = 14;
export const IPV4 = 20;
export const IPV6 = 40;
export const UDP_HEADER = 8;
export const CHANNEL_HEADER = 4;
export const PROTOCOL_UDP = 17;
export const TTL = 64;
// As a little-endian load sees them.
export const TYPE_IPV4 = 0x0008;
export const TYPE_IPV6 = 0xdd86;

export const u8 = (offset: number): Field => ({ offset, size: 1 });
export const u16 = (offset: number): Field => ({ offset, size: 2 });
export const u32 = (offset: number): Field => ({ offset, size: 4 });
export const u64 = (offset: number): Field => ({ offset, size: 8 });

/** r0: the value for the key in the frame, or 0. */
export function lookUp(b: ProgramBuilder, map: number, key: Field): void {
  b.loadMap("r1", map);
  b.move("r2", FRAME);
  b.add("r2", key.offset);
  b.call(HELPER.mapLookup);
}
