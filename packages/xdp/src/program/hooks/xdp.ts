import type { ProgramBuilder } from "../../assembler/builder.ts";
import { XDP } from "../../kernel/bpf.ts";
import { CONTEXT, FRAME, HELPER, local, u32 } from "../frame.ts";
import { finishSum } from "../steps/checksum.ts";
import type { Hook } from "./hook.ts";

const XDP_HELPER = { adjustHead: 44, getLength: 188 } as const;

/** `struct xdp_md`. */
const context = { data: u32(0), dataEnd: u32(4), ingressInterface: u32(12) } as const;

/**
 * XDP: the driver's buffer, or a copy of the kernel's that looks like one. It is written in place. Nothing says whether
 * a checksum is finished.
 */
export const xdpHook: Hook = {
  verdict: { pass: XDP.pass, abort: XDP.aborted },

  openFrame(b) {
    // Pointers may be subtracted, or have lengths added, by a process with CAP_PERFMON alone.
    b.call(XDP_HELPER.getLength);
    b.store(FRAME, local("frameLength"), "r0");
    loadFrame(b);
  },

  takeSum(b) {
    // An unfinished checksum is the pseudo-header's sum; one in 65,536 finished ones looks like that too.
    b.load("r2", FRAME, local("checksum"));
    b.jumpIf("r1", "equal", "r2", "passPartialChecksum");
    b.xor("r2", 0xffff);
    b.store(FRAME, local("sum"), "r2");
  },

  makeRoom(b) {
    b.move("r1", CONTEXT);
    b.move("r2", 0);
    for (const growth of ["ipGrowth", "udpGrowth"] as const) {
      b.load("r3", FRAME, local(growth));
      b.subtract("r2", "r3");
    }
    b.call(XDP_HELPER.adjustHead);
    b.jumpIf("r0", "notEqual", 0, "passNoHeadroom");
    loadFrame(b);
  },

  checkRoom(b, base, length) {
    // There always is: the verifier wants to see it.
    b.move("r5", base);
    b.add("r5", length);
    b.jumpIf("r5", "above", "r3", "abort");
  },

  loadChecksum: finishSum,

  finish() {},

  send(b) {
    const same = b.fresh("send");
    b.load("r2", CONTEXT, context.ingressInterface);
    b.move("r0", XDP.transmit);
    b.jumpIf("r1", "equal", "r2", same);
    b.move("r2", 0);
    b.call(HELPER.redirect);
    b.label(same);
  },
};

function loadFrame(b: ProgramBuilder): void {
  b.load("r2", CONTEXT, context.data);
  b.load("r3", CONTEXT, context.dataEnd);
}
