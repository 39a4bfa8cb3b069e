import { constants } from "node:os";
import { BatchedPlane, type Libc, loadLibc } from "@turnpike/relay";
import { expect, test } from "vitest";
import { describePlane } from "./plane-contract.ts";
import { describePlaneFaults } from "./plane-faults-contract.ts";
import { describeRelayOverPlane } from "./plane-relay-contract.ts";
import type { PlaneFaults, PlaneHarness } from "./support/plane-harness.ts";

const libc = loadLibc();

if ("unavailable" in libc) {
  // Elsewhere the plane must say so; nothing of it can run.
  test("the batched plane says why it is not to be had", () => {
    expect(libc.unavailable).toMatch(/linux-x64 with glibc|koffi|glibc/);
  });
} else {
  const harness: PlaneHarness = {
    createPlane: (faults = {}) => driven(libc, faults),
    seesIcmp: true,
    readDrops: (plane) => {
      if (plane instanceof BatchedPlane) plane.sampleDrops();
    },
  };
  describePlane("batched", harness);
  describePlaneFaults("batched", harness);
  describeRelayOverPlane("batched", harness);
}

/** A plane whose turns are taken by this event loop, and whose system fails on demand. */
function driven(real: Libc, { failSends, failReceives, bufferBytes }: PlaneFaults): BatchedPlane {
  let failed = 0;
  const failing =
    <Arguments extends readonly number[]>(call: (...arguments_: Arguments) => number, fail = failSends) =>
    (...arguments_: Arguments): number => {
      const code = fail?.();
      failed = code === undefined ? 0 : (constants.errno[code as keyof typeof constants.errno] ?? 0);
      return failed === 0 ? call(...arguments_) : -1;
    };
  const plane = new BatchedPlane({
    ...(bufferBytes !== undefined && { bufferBytes }),
    libc: {
      ...real,
      recvmmsg: failing(real.recvmmsg, failReceives),
      sendto: failing(real.sendto),
      sendmsg: failing(real.sendmsg),
      sendmmsg: failing(real.sendmmsg),
      errno: () => (failed === 0 ? real.errno() : failed),
    },
  });
  let stopped = false;
  const take = (): void => {
    if (stopped) return;
    plane.turn(0);
    setImmediate(take);
  };
  setImmediate(take);
  const stop = plane.stop.bind(plane);
  plane.stop = () => {
    stopped = true;
    return stop();
  };
  return plane;
}
