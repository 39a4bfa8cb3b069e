import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { KernelRelay, NODE, prepareXdp, Stream, XdpPlace } from "./support/xdp-place.ts";

// What goes wrong around the kernel plane: packets go through the sockets, and come back to the kernel. Needs root and
// bpf(2), and fails without.

const DETACH = fileURLToPath(new URL("./support/xdp-detach-process.ts", import.meta.url));
const POLL = { timeout: 60_000 } as const;

let place: XdpPlace;
let folder: string;
let relay: KernelRelay;
let stream: Stream;

beforeAll(prepareXdp);

beforeEach(async () => {
  place = new XdpPlace();
  folder = mkdtempSync(join(tmpdir(), "turnpike-xdp-"));
  place.finishChecksums(true);
});

afterEach(async () => {
  await place.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(mode: "generic" | "tcx"): Promise<void> {
  relay = await KernelRelay.start(place, folder, "--kernel-mode", mode);
  stream = await Stream.start(place);
  await takesKernel();
}

/** Waits until the kernel relays more than it did. */
async function takesKernel(): Promise<void> {
  const { hits } = await relay.status();
  await expect.poll(async () => (await relay.status()).hits, POLL).toBeGreaterThan(hits + 20);
}

test.each(["generic", "tcx"] as const)(
  "a program that is taken off from outside (%s): the stream goes on through the sockets, and status fails",
  async (mode) => {
    await start(mode);
    const program = (await relay.status()).interfaces[0]?.program ?? 0;
    expect(place.run("relay", ...NODE, DETACH, String(program))).toBe("detached\n");
    expect((await relay.status()).interfaces).toMatchObject([{ name: "veth0", mode, attached: false }]);
    const { hits } = await relay.status();
    await stream.flows();
    expect((await relay.status()).hits).toBe(hits);
    await relay.child.waitFor((it) => it.stderr().includes("The program was taken off the interface"), 20_000);
    const { code, stdout, stderr } = await relay.turnpike("xdp", "status");
    expect(code).toBe(1);
    expect(stdout).toMatch(/^veth0 +(generic|tcx) +\d+ +no$/m);
    expect(stderr).toContain("the program was taken off veth0");
  },
);

test("a neighbour that is gone has its packets go up, and is found again when it is back", async () => {
  await start("generic");
  const { ip } = place.path.generator;
  // It answers nobody who asks for its link address (ARP).
  const answers = (mode: 0 | 8): unknown =>
    place.run("generator", "sysctl", "-q", "-w", `net.ipv4.conf.veth0.arp_ignore=${mode}`);
  answers(8);
  place.run("relay", "ip", "neighbour", "delete", ip, "dev", "veth0");
  await expect.poll(async () => (await relay.status()).hops.unusable, POLL).toBeGreaterThan(0);
  await expect.poll(async () => (await relay.status()).outcomes.noHop, POLL).toBeGreaterThan(20);
  answers(0);
  await stream.flows();
  await takesKernel();
});

test("a neighbour with another link address is followed", async () => {
  await start("tcx");
  place.run("generator", "ip", "link", "set", "veth0", "address", "02:00:00:00:12:34");
  await stream.flows();
  await takesKernel();
});

test("a route that ends is followed at once, and so is its return", async () => {
  await start("generic");
  const { ip } = place.path.generator;
  place.run("relay", "ip", "route", "add", "unreachable", `${ip}/32`);
  await expect.poll(async () => (await relay.status()).hops.unusable, POLL).toBeGreaterThan(0);
  await stream.stops();
  place.run("relay", "ip", "route", "delete", "unreachable", `${ip}/32`);
  await stream.flows();
  await takesKernel();
});

test("a route that carries less has larger packets go through the sockets", async () => {
  await start("tcx");
  const { ip } = place.path.generator;
  place.run("relay", "ip", "route", "add", `${ip}/32`, "dev", "veth0", "mtu", "150");
  await expect.poll(async () => (await relay.status()).outcomes.tooLarge, POLL).toBeGreaterThan(20);
  // The kernel's own way: in fragments.
  await stream.flows();
});
