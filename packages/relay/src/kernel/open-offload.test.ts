import { expect, test } from "vitest";
import { silentLogger } from "../logger.ts";
import { PlaneUnavailableError } from "../planes/choose-plane.ts";
import { startRelay } from "../relay.ts";
import { openOffload } from "./open-offload.ts";

const authenticate = { module: "data:text/javascript,", data: () => undefined };

test("the kernel plane and its interface are named together, or the start stops", async () => {
  await expect(startRelay({ authenticate, forwarding: { plane: "kernel" } })).rejects.toThrow(
    new TypeError("Cannot use the kernel plane without an interface: name the one that clients and peers come by"),
  );
  await expect(startRelay({ authenticate, forwarding: { plane: "batched", interface: "eth0" } })).rejects.toThrow(
    new TypeError("Cannot use the interface eth0: only the kernel plane goes by one"),
  );
  await expect(startRelay({ authenticate, forwarding: { plane: "batched", kernelMode: "tcx" } })).rejects.toThrow(
    new TypeError("Cannot use the mode tcx: only the kernel plane has modes"),
  );
});

test("an interface that can't be had, or a process that may not, is one kind of refusal", () => {
  // No interface's name has more than 15 letters.
  const open = (): unknown => openOffload({ interfaces: ["no-interface-has-this"] }, silentLogger);
  expect(open).toThrow(PlaneUnavailableError);
  expect(open).toThrow(/^Cannot use the kernel plane: /);
});
