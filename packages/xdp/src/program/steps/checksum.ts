import type { ProgramBuilder } from "../../assembler/builder.ts";
import type { Register } from "../../assembler/instruction.ts";
import { CHANNEL_HEADER, FRAME, local, ROUTE } from "../frame.ts";
import { route } from "../layout.ts";

/** r2: the channel's length. The header leaves the sum twice as length, once as data. */
export function takeHeaderOffSum(b: ProgramBuilder): void {
  b.load("r3", FRAME, local("sum"));
  b.load("r4", ROUTE, route.field.difference);
  b.add("r3", "r4");
  b.add("r3", 0xffff - 2 * CHANNEL_HEADER + 0xffff);
  b.subtract("r3", "r2");
  b.store(FRAME, local("sum"), "r3");
}

/**
 * r1: the datagram's length as it came. The header joins the sum: both lengths grow by its four bytes, and its length
 * field is the payload's; together, the length of the datagram that came.
 */
export function putHeaderOnSum(b: ProgramBuilder): void {
  b.load("r3", FRAME, local("sum"));
  b.load("r4", ROUTE, route.field.difference);
  b.add("r3", "r4");
  b.add("r3", "r1");
  b.store(FRAME, local("sum"), "r3");
}

/** r1: the UDP checksum, in network order. */
export function finishSum(b: ProgramBuilder): void {
  b.load("r1", FRAME, local("sum"));
  foldInto(b, "r1", "r2", 3);
  b.xor("r1", 0xffff);
  const some = b.fresh("finishSum");
  b.jumpIf("r1", "notEqual", 0, some);
  // Zero would say that there is none (RFC 768).
  b.move("r1", 0xffff);
  b.label(some);
  b.toBigEndian(16, "r1");
}

/** Folds a checksum's sum; `times` is how often carries can come. */
export function foldInto(b: ProgramBuilder, sum: Register, scratch: Register, times: number): void {
  for (let i = 0; i < times; i++) {
    b.move(scratch, sum);
    b.shiftRight(scratch, 16);
    b.and(sum, 0xffff);
    b.add(sum, scratch);
  }
}
