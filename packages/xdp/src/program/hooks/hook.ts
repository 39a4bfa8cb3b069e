import type { ProgramBuilder } from "../../assembler/builder.ts";
import type { Register } from "../../assembler/instruction.ts";

/**
 * What differs between the places of the kernel that hand packets to the program: how it gets at a frame's bytes, makes
 * room in them, and sends them on. Each writes its instructions where the step that it is called by needs them.
 */
export interface Hook {
  readonly verdict: {
    /** Leaves the packet to whoever comes next. */
    readonly pass: number;
    /** Drops what is neither the packet that came nor the one that leaves. */
    readonly abort: number;
  };

  /** Sets `frameLength`, r2 to the frame and r3 to the end of what of it can be read: all headers, if it has them. */
  openFrame(b: ProgramBuilder): void;

  /** Begins `sum` by `checksum` and `pseudoSum`, which r1 holds too, or jumps if there is nothing to go by. */
  takeSum(b: ProgramBuilder): void;

  /**
   * Makes the frame as long as the one that leaves and r2 point to where its headers are written; else jumps, with the
   * frame as it came. Packet pointers are void behind it.
   */
  makeRoom(b: ProgramBuilder): void;

  /** There is room for so many bytes behind `base`. r5 is scratch. */
  checkRoom(b: ProgramBuilder, base: Register, length: number): void;

  /** r1: the UDP checksum to write, in network order. */
  loadChecksum(b: ProgramBuilder): void;

  /** The headers are written, by their place in r2 of {@link makeRoom}. */
  finish(b: ProgramBuilder): void;

  /** r0: the verdict that sends the frame out by the interface in r1. */
  send(b: ProgramBuilder): void;
}
