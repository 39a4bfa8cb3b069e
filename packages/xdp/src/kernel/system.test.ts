import { describe, expect, test } from "vitest";
import { loadSystem, missingCapabilities, XdpUnavailableError } from "./system.ts";

/** `/proc/self/status` with these capabilities, by number. */
function status(...capabilities: readonly number[]): string {
  const bits = capabilities.reduce((sum, number) => sum | (1n << BigInt(number)), 0n);
  return `Name:\tnode\nCapPrm:\t0000000000000000\nCapEff:\t${bits.toString(16).padStart(16, "0")}\nSeccomp:\t0\n`;
}

describe("capabilities", () => {
  test.each([
    [[], ["CAP_BPF", "CAP_NET_ADMIN"]],
    [[12], ["CAP_BPF"]],
    [[39], ["CAP_NET_ADMIN"]],
    [[12, 39], []],
    [[21], ["CAP_NET_ADMIN"]],
    [[12, 21], []],
  ])("with %j, %j are missing", (have, missing) => {
    expect(missingCapabilities(status(...have))).toEqual(missing);
  });

  test("a process without them is told what to grant", () => {
    const load = (): unknown => loadSystem({ platform: "linux", architecture: "x64", status: status() });
    expect(load).toThrow(XdpUnavailableError);
    expect(load).toThrow(/lacks CAP_BPF and CAP_NET_ADMIN/);
    expect(load).toThrow(/AmbientCapabilities=CAP_BPF CAP_NET_ADMIN/);
    expect(load).toThrow(/--cap-add BPF --cap-add NET_ADMIN/);
  });
});

test.each([
  ["darwin", "arm64"],
  ["linux", "s390x"],
])("%s on %s is refused by name", (platform, architecture) => {
  expect(() => loadSystem({ platform, architecture, status: status(12, 39) })).toThrow(
    `it needs Linux on x64 or arm64, not ${platform} on ${architecture}`,
  );
});
