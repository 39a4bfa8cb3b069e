import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { RelayStats } from "@turnpike/relay";
import type { XdpMode } from "@turnpike/xdp";
import type { Child } from "../support/child.ts";
import { NODE, prepareXdp, XdpPlace } from "./support/xdp-place.ts";

// The kernel plane between two network namespaces, with coturn's client and echo peer. Needs root and bpf(2), and fails
// without.

const support = (name: string): string => fileURLToPath(new URL(`./support/${name}`, import.meta.url));

interface Report extends RelayStats {
  readonly warnings: readonly string[];
  readonly totals: Readonly<Record<"packetsToPeers" | "bytesToPeers" | "packetsFromPeers" | "bytesFromPeers", number>>;
}

let place: XdpPlace;

beforeAll(prepareXdp);

beforeEach(() => {
  place = new XdpPlace();
});

afterEach(() => place.close());

async function startRelay(mode: XdpMode, maxChannels = 64): Promise<Child> {
  if (mode === "native") {
    const pass = place.start("generator", ...NODE, support("xdp-pass-process.ts"), "veth0");
    await pass.waitFor((child) => child.stdout().includes("ready"), 20_000);
  }
  const script = support("xdp-relay-process.ts");
  const relay = place.start("relay", ...NODE, script, "veth0", mode, place.path.relay.ip, "3478", String(maxChannels));
  await relay.waitFor((child) => child.stdout().includes("ready"), 20_000);
  return relay;
}

async function reportOf(relay: Child): Promise<Report> {
  const lines = (): readonly string[] => relay.stdout().split("\n").slice(0, -1);
  const before = lines().length;
  relay.signal("SIGUSR2");
  await relay.waitFor(() => lines().length > before, 20_000);
  return JSON.parse(lines().at(-1) ?? "");
}

/** What the kernel's program relayed, both ways. */
function byKernel({ kernel }: Report): number {
  const { relayedToPeer, relayedToClient } = kernel?.outcomes ?? { relayedToPeer: 0, relayedToClient: 0 };
  return relayedToPeer + relayedToClient;
}

test.each(["native", "tcx", "generic"] as const)(
  "in %s mode 99 of 100 ChannelData messages take the kernel, with right checksums, and the totals are what was sent",
  async (mode) => {
    place.finishChecksums(true);
    const relay = await startRelay(mode);
    const folder = mkdtempSync(join(tmpdir(), "turnpike-xdp-"));
    try {
      const found = await place.checksumsWhile(folder, async () => {
        expect(await place.talk(250)).toEqual({ sent: 1000, received: 1000 });
      });
      expect(found.good).toBeGreaterThan(1000);
      expect(found.bad).toBe(0);
      const report = await reportOf(relay);
      expect(report.totals).toEqual({
        packetsToPeers: 1000,
        bytesToPeers: 172_000,
        packetsFromPeers: 1000,
        bytesFromPeers: 172_000,
      });
      expect(byKernel(report)).toBeGreaterThanOrEqual(0.99 * 2000);
      expect(report).toMatchObject({
        internalErrors: 0,
        warnings: [],
        kernel: { interfaces: [{ mode, attached: true }] },
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

test("packets with unfinished checksums go through the sockets, none is lost, and a warning says what to do", async () => {
  place.finishChecksums(false);
  const relay = await startRelay("generic");
  expect(await place.talk(100)).toEqual({ sent: 400, received: 400 });
  const report = await reportOf(relay);
  expect(byKernel(report)).toBe(0);
  expect(report.kernel?.outcomes.partialChecksum).toBeGreaterThanOrEqual(800);
  expect(report.totals).toMatchObject({ packetsToPeers: 400, packetsFromPeers: 400 });
  expect(report.warnings.join()).toContain("ethtool --offload INTERFACE tx off");
});

test("channels that the kernel's table has no room for are relayed by the sockets, and a warning says so", async () => {
  place.finishChecksums(true);
  const relay = await startRelay("generic", 4);
  expect(await place.talk(100)).toEqual({ sent: 400, received: 400 });
  const report = await reportOf(relay);
  expect(report.kernel?.refused).toBeGreaterThan(0);
  expect(byKernel(report)).toBeGreaterThan(190);
  expect(byKernel(report)).toBeLessThan(800);
  expect(report.totals).toMatchObject({ packetsToPeers: 400, packetsFromPeers: 400 });
  expect(report.warnings.join()).toContain("relayed through the sockets, not in the kernel");
});

test.each(["generic", "tcx"] as const)("CAP_BPF and CAP_NET_ADMIN are enough (%s)", async (mode) => {
  const serve = [...NODE, support("xdp-relay-process.ts"), "veth0", mode, place.path.relay.ip, "3478"].join(" ");
  const relay = place.start("relay", "capsh", "--drop=cap_sys_admin,cap_perfmon", "--", "-c", `exec ${serve}`);
  await relay.waitFor((child) => child.stdout().includes("ready"), 20_000);
  expect((await reportOf(relay)).kernel?.interfaces).toMatchObject([{ name: "veth0", mode, attached: true }]);
});

test.each(["generic", "tcx"] as const)("an interface that goes away is told of (%s)", async (mode) => {
  const relay = await startRelay(mode);
  place.run("relay", "ip", "link", "delete", "veth0");
  await expect.poll(async () => (await reportOf(relay)).warnings, { timeout: 20_000 }).not.toEqual([]);
  const report = await reportOf(relay);
  expect(report.kernel?.interfaces).toMatchObject([{ name: "veth0", mode, attached: false }]);
  expect(report.warnings.join()).toContain("The program was taken off the interface");
});

test("an interface that has a program already, or doesn't exist, stops the start with the way out", async () => {
  await startRelay("generic");
  const script = support("xdp-relay-process.ts");
  for (const [name, message] of [
    ["veth0", "has an XDP program already"],
    ["veth9", "There is no interface veth9"],
    ["lo", "is not an Ethernet one"],
  ] as const) {
    const second = place.start("relay", ...NODE, script, name, "generic", place.path.relay.ip, "3479");
    expect(await second.ended).not.toBe(0);
    expect(second.stderr()).toContain(message);
  }
});
