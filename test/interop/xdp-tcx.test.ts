import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { RelayStats } from "@turnpike/relay";
import { KernelRelay, NODE, prepareXdp, RELAY_PORT, Stream, XdpPlace } from "./support/xdp-place.ts";

// What TCX alone does: the kernel plane's program beside others, and with checksums that are left to a card. Needs root
// and bpf(2), and fails without.

const RELAY = fileURLToPath(new URL("./support/xdp-relay-process.ts", import.meta.url));
const PASS = fileURLToPath(new URL("./support/xdp-pass-process.ts", import.meta.url));
const POLL = { timeout: 60_000 } as const;
const ALLOW = ["--allow-peer", "10.0.0.0/8", "--allow-peer", "fd00::/8"] as const;
const THOUSAND = {
  packetsToPeers: 1000,
  bytesToPeers: 172_000,
  packetsFromPeers: 1000,
  bytesFromPeers: 172_000,
} as const;

let place: XdpPlace;
let folder: string;

beforeAll(prepareXdp);

beforeEach(() => {
  place = new XdpPlace();
  folder = mkdtempSync(join(tmpdir(), "turnpike-tcx-"));
});

afterEach(async () => {
  await place.close();
  rmSync(folder, { recursive: true, force: true });
});

test("by itself on veth: checksums that senders leave to a card are kept, and the card finishes them right", async () => {
  place.finishChecksums(false, ["generator"]);
  // The relay's end of the pair finishes what it sends, as a card does.
  place.finishChecksums(true, ["relay"]);
  const relay = await KernelRelay.start(place, folder);
  const found = await place.checksumsWhile(folder, async () => {
    expect(await place.talk(250)).toEqual({ sent: 1000, received: 1000 });
    await expect.poll(() => relay.totals(), POLL).toEqual(THOUSAND);
  });
  expect(found.good).toBeGreaterThan(1000);
  expect(found.bad).toBe(0);
  const { hits, outcomes, interfaces } = await relay.status();
  expect(interfaces).toMatchObject([{ mode: "tcx" }]);
  expect(hits).toBeGreaterThanOrEqual(1980);
  expect(outcomes.partialChecksum).toBe(0);
  const { code, stdout } = await relay.turnpike("xdp", "status");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^veth0 +tcx +\d+ +yes$/m);
  expect(stdout).toMatch(/^turn_scratch +\d+ +1 +1$/m);
  expect(place.tcxPrograms()).toBe(1);
  expect(await relay.stop(), relay.child.stderr()).toBe(0);
  expect(place.tcxPrograms()).toBe(0);
});

test.each([
  ["an IPv4 client and an IPv6 peer", 4],
  ["an IPv6 client and an IPv4 peer", 6],
] as const)("%s: the IP version changes before a checksum that is left to a card", async (_what, client) => {
  place.finishChecksums(false, ["generator"]);
  place.finishChecksums(true, ["relay"]);
  const six = place.addIpv6();
  const four = { relay: place.path.relay.ip, generator: place.path.generator.ip };
  const listen = ["--listen", `udp:[${six.relay}]:${RELAY_PORT}`, "--relay-address", six.relay];
  const relay = await KernelRelay.start(place, folder, ...listen, ...ALLOW);
  const route = client === 4 ? { relay: four.relay, peer: six.generator } : { relay: six.relay, peer: four.generator };
  const found = await place.checksumsWhile(folder, async () => {
    expect(await place.talk(250, 4, route)).toEqual({ sent: 1000, received: 1000 });
    await expect.poll(() => relay.totals(), POLL).toEqual(THOUSAND);
  });
  expect(found.good).toBeGreaterThan(1000);
  expect(found.bad).toBe(0);
  expect((await relay.status()).hits).toBeGreaterThanOrEqual(1980);
});

test("packets whose buffers are in pieces are relayed whole", async () => {
  const relay = await KernelRelay.start(place, folder, "--kernel-mode", "tcx");
  const stream = await Stream.start(place, { size: 1200, buffers: "pieces" });
  await expect.poll(async () => (await relay.status()).hits, POLL).toBeGreaterThan(200);
  await stream.flows();
  const { reached, received } = stream.counts();
  const { outcomes } = await relay.status();
  expect(outcomes.relayedToPeer).toBeGreaterThan(reached - 50);
  expect(outcomes.relayedToClient).toBeGreaterThan(received - 50);
  expect(outcomes).toMatchObject({ noHeadroom: 0, tooLarge: 0, aborted: 0 });
});

test("packets with a VLAN tag, which the kernel takes off before, are none of a channel without", async () => {
  const relay = await KernelRelay.start(place, folder, "--kernel-mode", "tcx");
  const stream = await Stream.start(place);
  await stream.flows();
  const arrived = (): number => Number(place.run("relay", "cat", "/sys/class/net/veth0/statistics/rx_packets"));
  stream.tag();
  await stream.stops();
  const before = { arrived: arrived(), hits: (await relay.status()).hits };
  await expect.poll(arrived, POLL).toBeGreaterThan(before.arrived + 100);
  expect((await relay.status()).hits).toBe(before.hits);
});

test("through a tunnel, whose end has summed each packet whole, they are relayed", async () => {
  const relayIp = "10.214.0.1";
  const own = "10.214.0.2";
  for (const [side, other, ip] of [
    ["relay", "generator", relayIp],
    ["generator", "relay", own],
  ] as const) {
    const ends = ["local", place.path[side].ip, "remote", place.path[other].ip];
    const tunnel = ["type", "vxlan", "id", "5", ...ends, "dstport", "4789", "dev", "veth0", "udpcsum"];
    place.run(side, "ip", "link", "add", "vxlan0", "mtu", "1400", ...tunnel);
    place.run(side, "ip", "address", "add", `${ip}/24`, "dev", "vxlan0");
    place.run(side, "ip", "link", "set", "vxlan0", "up");
    // Else the inner checksum would stay unfinished.
    place.run(side, "ethtool", "-K", "vxlan0", "tx", "off");
  }
  const relay = place.start("relay", ...NODE, RELAY, "vxlan0", "tcx", relayIp, String(RELAY_PORT));
  await relay.waitFor((child) => child.stdout().includes("ready"), 20_000);
  const stream = await Stream.start(place, { relay: relayIp, own });
  await stream.flows(200);
  const lines = (): readonly string[] => relay.stdout().split("\n").slice(0, -1);
  relay.signal("SIGUSR2");
  await relay.waitFor(() => lines().length > 1, 20_000);
  const { kernel }: RelayStats = JSON.parse(lines().at(-1) ?? "");
  expect(kernel?.interfaces).toMatchObject([{ name: "vxlan0", mode: "tcx", attached: true }]);
  expect(kernel?.outcomes.relayedToPeer).toBeGreaterThan(150);
  expect(kernel?.outcomes.relayedToClient).toBeGreaterThan(150);
});

test("a relay that is killed leaves neither a program nor a packet", async () => {
  const relay = await KernelRelay.start(place, folder, "--kernel-mode", "tcx");
  const stream = await Stream.start(place);
  await stream.flows();
  expect((await relay.status()).hits).toBeGreaterThan(0);
  relay.child.signal("SIGKILL");
  await relay.child.ended;
  expect(place.tcxPrograms()).toBe(0);
  await stream.stops();
});

test("other programs live beside it: one that came first sees what it relays, one behind it and a clsact filter the rest", async () => {
  const seen = (child: { stdout(): string }): number => Number(child.stdout().trim().split("\n").at(-1));
  place.run("relay", "tc", "qdisc", "add", "dev", "veth0", "clsact");
  // One that lets all pass.
  const filter = ["ingress", "protocol", "all", "prio", "1", "bpf", "bytecode", "1,6 0 0 0", "direct-action"];
  place.run("relay", "tc", "filter", "add", "dev", "veth0", ...filter);
  const first = place.start("relay", ...NODE, PASS, "veth0", "tcx");
  await first.waitFor((child) => child.stdout().includes("ready"), 20_000);
  const relay = await KernelRelay.start(place, folder, "--kernel-mode", "tcx");
  const last = place.start("relay", ...NODE, PASS, "veth0", "tcx");
  await last.waitFor((child) => child.stdout().includes("ready"), 20_000);
  expect(place.tcxPrograms()).toBe(3);
  expect(await place.talk(250)).toEqual({ sent: 1000, received: 1000 });
  const { hits } = await relay.status();
  expect(hits).toBeGreaterThanOrEqual(1980);
  await expect.poll(() => seen(first), POLL).toBeGreaterThan(hits);
  // Requests and the first packets, which no channel names yet, came to it.
  await expect.poll(() => seen(last), POLL).toBeGreaterThan(0);
  expect(seen(last)).toBeLessThan(hits);
  const statistics = place.run("relay", "tc", "-s", "qdisc", "show", "dev", "veth0", "clsact");
  const passed = Number(/clsact[^]*?Sent \d+ bytes (\d+) pkt/.exec(statistics)?.[1]);
  expect(passed).toBeGreaterThan(0);
  expect(passed).toBeLessThan(hits);
});

test("by itself beside another XDP program, which goes on seeing all", async () => {
  const pass = place.start("relay", ...NODE, PASS, "veth0");
  await pass.waitFor((child) => child.stdout().includes("ready"), 20_000);
  const relay = await KernelRelay.start(place, folder);
  expect((await relay.status()).interfaces).toMatchObject([{ mode: "tcx", attached: true }]);
  expect(await place.talk(50)).toEqual({ sent: 200, received: 200 });
  expect((await relay.status()).hits).toBeGreaterThan(300);
});
