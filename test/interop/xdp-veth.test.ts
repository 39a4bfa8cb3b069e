import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { namespaces, type Path } from "../../bench/relay/places.ts";
import type { RelayStats } from "@turnpike/relay";
import { type Child, runChild, startChild } from "../support/child.ts";

// The kernel plane between two network namespaces, with coturn's client and echo peer. Needs root and bpf(2), and fails
// without.

const PACKAGES = {
  ip: "iproute2",
  ethtool: "ethtool",
  tshark: "tshark",
  turnutils_uclient: "coturn",
  capsh: "libcap2-bin",
} as const;
const NODE = [process.execPath, "--conditions=@turnpike/source"] as const;
const support = (name: string): string => fileURLToPath(new URL(`./support/${name}`, import.meta.url));
const PEER_PORT = 3480;

interface Report extends RelayStats {
  readonly warnings: readonly string[];
  readonly totals: Readonly<Record<"packetsToPeers" | "bytesToPeers" | "packetsFromPeers" | "bytesFromPeers", number>>;
}

let path: Path;
const children: Child[] = [];

beforeAll(() => {
  for (const [command, name] of Object.entries(PACKAGES)) {
    if (["/usr/sbin", "/sbin", "/usr/bin", "/bin"].some((place) => existsSync(join(place, command)))) continue;
    execFileSync("apt-get", ["install", "-y", "-o", "DPkg::Lock::Timeout=300", name], { stdio: "ignore" });
  }
});

beforeEach(() => {
  path = namespaces();
});

afterEach(async () => {
  for (const child of children.splice(0).toReversed()) await child.stop();
  path.remove();
});

function start(place: "relay" | "generator", ...words: readonly string[]): Child {
  const [command = "", ...args] = [...path[place].enter, ...words];
  const child = startChild({ command, args });
  children.push(child);
  return child;
}

function run(place: "relay" | "generator", ...words: readonly string[]): string {
  const [command = "", ...args] = [...path[place].enter, ...words];
  return execFileSync(command, args, { encoding: "utf8" });
}

/** Has senders finish their checksums, or leave them to the card that veth hasn't. */
function finishChecksums(on: boolean): void {
  for (const place of ["relay", "generator"] as const) run(place, "ethtool", "-K", "veth0", "tx", on ? "off" : "on");
}

async function startRelay(mode: "native" | "generic", maxChannels = 64): Promise<Child> {
  if (mode === "native") {
    const pass = start("generator", ...NODE, support("xdp-pass-process.ts"), "veth0");
    await pass.waitFor((child) => child.stdout().includes("ready"), 20_000);
  }
  const script = support("xdp-relay-process.ts");
  const relay = start("relay", ...NODE, script, "veth0", mode, path.relay.ip, "3478", String(maxChannels));
  await relay.waitFor((child) => child.stdout().includes("ready"), 20_000);
  return relay;
}

async function reportOf(relay: Child): Promise<Report> {
  const lines = (): readonly string[] => relay.stdout().split("\n").slice(0, -1);
  const before = lines().length;
  relay.signal("SIGUSR2");
  await relay.waitFor(() => lines().length > before, 5000);
  return JSON.parse(lines().at(-1) ?? "");
}

/** Sends voice through the relay to the echo peer and back. How many went out, and came back. */
async function talk(messages: number, clients = 4): Promise<{ readonly sent: number; readonly received: number }> {
  const { ip } = path.generator;
  start("generator", "turnutils_peer", "-L", ip, "-p", String(PEER_PORT));
  const voice = ["-u", "u", "-w", "p", "-l", "172", "-z", "5", "-c", "-n", String(messages), "-m", String(clients)];
  const words = [
    ...path.generator.enter,
    "turnutils_uclient",
    ...voice,
    "-e",
    ip,
    "-r",
    String(PEER_PORT),
    path.relay.ip,
  ];
  const [command = "", ...args] = words;
  const { output } = await runChild({ command, args, timeoutMs: 60_000 });
  const totals = [...output.matchAll(/start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/g)].at(-1);
  return { sent: Number(totals?.[1] ?? 0), received: Number(totals?.[2] ?? 0) };
}

/** What the kernel's program relayed, both ways. */
function byKernel({ kernel }: Report): number {
  const { relayedToPeer, relayedToClient } = kernel?.outcomes ?? { relayedToPeer: 0, relayedToClient: 0 };
  return relayedToPeer + relayedToClient;
}

test.each(["native", "generic"] as const)(
  "in %s mode 99 of 100 ChannelData messages take the kernel, with right checksums, and the totals are what was sent",
  async (mode) => {
    finishChecksums(true);
    const relay = await startRelay(mode);
    const folder = mkdtempSync(join(tmpdir(), "turnpike-xdp-"));
    try {
      const capture = join(folder, "capture.pcapng");
      const tshark = start("generator", "tshark", "-q", "-i", "veth0", "-f", "udp", "-w", capture);
      await tshark.waitFor((child) => child.output().includes("Capturing"), 20_000);
      expect(await talk(250)).toEqual({ sent: 1000, received: 1000 });
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
      await sleep(500);
      tshark.signal("SIGINT");
      await tshark.ended;
      const check = ["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
      const count = (filter: string): number =>
        run("generator", "tshark", "-r", capture, ...check, "-Y", filter).split("\n").length - 1;
      const fromRelay = `ip.src == ${path.relay.ip}`;
      expect(count(`${fromRelay} && udp.checksum.status == "Good" && ip.checksum.status == "Good"`)).toBeGreaterThan(
        1990,
      );
      expect(count(`udp.checksum.status == "Bad" || ip.checksum.status == "Bad"`)).toBe(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

test("packets with unfinished checksums go through the sockets, none is lost, and a warning says what to do", async () => {
  finishChecksums(false);
  const relay = await startRelay("generic");
  expect(await talk(100)).toEqual({ sent: 400, received: 400 });
  const report = await reportOf(relay);
  expect(byKernel(report)).toBe(0);
  expect(report.kernel?.outcomes.partialChecksum).toBeGreaterThanOrEqual(800);
  expect(report.totals).toMatchObject({ packetsToPeers: 400, packetsFromPeers: 400 });
  expect(report.warnings.join()).toContain("ethtool --offload INTERFACE tx off");
});

test("channels that the kernel's table has no room for are relayed by the sockets, and a warning says so", async () => {
  finishChecksums(true);
  const relay = await startRelay("generic", 4);
  expect(await talk(100)).toEqual({ sent: 400, received: 400 });
  const report = await reportOf(relay);
  expect(report.kernel?.refused).toBeGreaterThan(0);
  expect(byKernel(report)).toBeGreaterThan(190);
  expect(byKernel(report)).toBeLessThan(800);
  expect(report.totals).toMatchObject({ packetsToPeers: 400, packetsFromPeers: 400 });
  expect(report.warnings.join()).toContain("relayed through the sockets, not in the kernel");
});

test("CAP_BPF and CAP_NET_ADMIN are enough", async () => {
  const serve = [...NODE, support("xdp-relay-process.ts"), "veth0", "generic", path.relay.ip, "3478"].join(" ");
  const relay = start("relay", "capsh", "--drop=cap_sys_admin,cap_perfmon", "--", "-c", `exec ${serve}`);
  await relay.waitFor((child) => child.stdout().includes("ready"), 20_000);
  expect((await reportOf(relay)).kernel?.interfaces).toEqual([{ name: "veth0", mode: "generic", attached: true }]);
});

test("an interface that goes away is told of", async () => {
  const relay = await startRelay("generic");
  run("relay", "ip", "link", "delete", "veth0");
  await sleep(1000);
  const report = await reportOf(relay);
  expect(report.kernel?.interfaces).toEqual([{ name: "veth0", mode: "generic", attached: false }]);
  expect(report.warnings.join()).toContain("The XDP program was taken off the interface");
});

test("a relay that is killed leaves no program behind", async () => {
  const relay = await startRelay("generic");
  const attached = (): boolean => run("relay", "ip", "link", "show", "veth0").includes("xdp");
  expect(attached()).toBe(true);
  relay.signal("SIGKILL");
  await relay.ended;
  expect(attached()).toBe(false);
});

test("an interface that has a program already, or doesn't exist, stops the start with the way out", async () => {
  await startRelay("generic");
  const script = support("xdp-relay-process.ts");
  for (const [name, message] of [
    ["veth0", "has an XDP program already"],
    ["veth9", "There is no interface veth9"],
    ["lo", "is not an Ethernet one"],
  ] as const) {
    const second = start("relay", ...NODE, script, name, "generic", path.relay.ip, "3479");
    expect(await second.ended).not.toBe(0);
    expect(second.stderr()).toContain(message);
  }
});
