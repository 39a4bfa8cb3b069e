import { expect, test } from "vitest";
import { assemble } from "../assembler/assemble.ts";
import { type HookName, Program, XdpLink, type XdpMode } from "./bpf.ts";
import type { System } from "./system.ts";

const [PROGRAM_LOAD, LINK_CREATE] = [5, 28];
const ERRNO = { EBUSY: 16, EINVAL: 22, EOPNOTSUPP: 95 } as const;

/** What a kernel says to links of each mode; undefined: it makes one. */
type Kernel = Readonly<Partial<Record<XdpMode, keyof typeof ERRNO>>>;

/** A kernel of that kind, and what was asked of it. */
function machine(kernel: Kernel): { readonly system: System; readonly asked: string[] } {
  const asked: string[] = [];
  let errno = 0;
  const bpf = (command: number, attributes: Uint8Array): number => {
    const view = new DataView(attributes.buffer);
    if (command === PROGRAM_LOAD) asked.push(`program ${view.getUint32(0, true)} for ${view.getUint32(68, true)}`);
    if (command !== LINK_CREATE) return 7;
    const isTcx = view.getUint32(8, true) === 46;
    const mode = isTcx ? "tcx" : view.getUint32(12, true) === 4 ? "native" : "generic";
    asked.push(`${mode} with ${view.getUint32(0, true)} on ${view.getUint32(4, true)}`);
    const refused = kernel[mode];
    if (refused === undefined) return 9;
    errno = ERRNO[refused];
    return -1;
  };
  const none = (): number => 0;
  const system: System = {
    bpf,
    close: none,
    mapShared: () => undefined,
    socket: none,
    bind: none,
    send: none,
    receive: none,
    errno: () => errno,
    addressOf: () => 0n,
  };
  return { system, asked };
}

function attach(kernel: Kernel, modes: readonly XdpMode[]): { readonly mode: XdpMode; readonly asked: string[] } {
  const { system, asked } = machine(kernel);
  const program = (hook: HookName): Program =>
    new Program(system, { name: hook, hook, assembled: assemble([{ kind: "exit" }]) });
  const { mode } = new XdpLink(system, { program, interface: "eth0", interfaceIndex: 3, modes });
  return { mode, asked };
}

const EVERY = ["native", "tcx", "generic"] as const;

test("a driver that can is used: nothing else is loaded", () => {
  expect(attach({}, EVERY)).toEqual({ mode: "native", asked: ["program 6 for 37", "native with 7 on 3"] });
});

test("TCX takes the place of a driver that can't, and of one that has a program", () => {
  for (const native of ["EOPNOTSUPP", "EBUSY"] as const) {
    const { mode, asked } = attach({ native }, EVERY);
    expect(mode).toBe("tcx");
    expect(asked.slice(2)).toEqual(["program 3 for 46", "tcx with 7 on 3"]);
  }
});

test("a kernel without TCX has generic XDP take its place", () => {
  expect(attach({ native: "EOPNOTSUPP", tcx: "EINVAL" }, EVERY).mode).toBe("generic");
});

test.each<readonly [Kernel, readonly XdpMode[], string]>([
  [
    { tcx: "EINVAL" },
    ["tcx"],
    "Cannot attach to interface eth0 in mode tcx (TCX needs Linux 6.6 or later: use another mode): EINVAL (22)",
  ],
  [{ native: "EOPNOTSUPP" }, ["native"], "Cannot attach to interface eth0 in mode native: ENOTSUP (95)"],
  [
    { native: "EOPNOTSUPP", tcx: "EINVAL", generic: "EOPNOTSUPP" },
    EVERY,
    "Cannot attach to interface eth0 in mode native, tcx, generic (TCX needs Linux 6.6 or later): ENOTSUP (95)",
  ],
  [
    { native: "EBUSY", generic: "EBUSY" },
    ["native", "generic"],
    "Interface eth0 has an XDP program already (`ip link show eth0` names it): take it off, attach by TCX, or use " +
      "another plane: EBUSY (16)",
  ],
])("what can't be had is refused with the way out: %o", (kernel, modes, message) => {
  expect(() => attach(kernel, modes)).toThrow(message);
});
