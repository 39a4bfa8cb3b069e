import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { runChild } from "../support/child.ts";
import { KernelRelay, prepareXdp, RELAY_PORT, Stream, XdpPlace } from "./support/xdp-place.ts";

// `turnpike relay --plane kernel` as its users run it, between two network namespaces. Needs root and bpf(2), and fails
// without.

/** Of audio and of video: so many that the first ones, sent before the kernel knows the channels, are one in a hundred. */
const PACKETS = 1000;

let place: XdpPlace;
let folder: string;

beforeAll(prepareXdp);

beforeEach(() => {
  place = new XdpPlace();
  folder = mkdtempSync(join(tmpdir(), "turnpike-xdp-"));
});

afterEach(async () => {
  await place.close();
  rmSync(folder, { recursive: true, force: true });
});

test("coturn's client, then turnpike check; totals in events are what arrived, and xdp status shows it", async () => {
  place.finishChecksums(true);
  const relay = await KernelRelay.start(place, folder, "--kernel-mode", "generic");
  expect(await place.talk(250)).toEqual({ sent: 1000, received: 1000 });
  await expect.poll(() => relay.totals().packetsToPeers, { timeout: 20_000 }).toBe(1000);
  expect(relay.totals()).toEqual({
    packetsToPeers: 1000,
    bytesToPeers: 172_000,
    packetsFromPeers: 1000,
    bytesFromPeers: 172_000,
  });
  const after = await relay.status();
  expect(after.traffic.packetsToPeer).toBeGreaterThanOrEqual(990);
  expect(after.traffic.packetsToClient).toBeGreaterThanOrEqual(990);
  expect(after.hits).toBe(after.traffic.packetsToPeer + after.traffic.packetsToClient);

  const check = ["turnpike", "check", `turn:${place.path.relay.ip}:${RELAY_PORT}?transport=udp`];
  const checked = await runChild({
    ...place.command("generator", [...check, "--username", "u", "--credential", "p", "--json"]),
    timeoutMs: 60_000,
  });
  expect(checked.code, checked.output).toBe(0);
  // Its peer is another allocation of this relay.
  expect((await relay.status()).outcomes.relayedHairpin).toBeGreaterThan(0);

  const { code, stdout } = await relay.turnpike("xdp", "status");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^veth0 +generic +\d+ +yes$/m);
  expect(stdout).toMatch(/^turn_routes +\d+ +0 +32768$/m);
  expect(stdout).toMatch(/^hit +\d+ +from a client to a peer$/m);
  expect(place.run("relay", "ip", "link", "show", "veth0")).toContain("xdp");
  const json: { readonly hits: number } = JSON.parse((await relay.turnpike("xdp", "status", "--json")).stdout);
  expect(json.hits).toBe((await relay.status()).hits);
  expect(await relay.stop(), relay.child.stderr()).toBe(0);
  expect(place.run("relay", "ip", "link", "show", "veth0")).not.toContain("xdp");
});

test("media of Chromium takes the kernel, 99 of 100 ChannelData messages at least", async () => {
  // As the kernel makes them: with checksums that are left to a card.
  place.finishChecksums(false);
  const relay = await KernelRelay.start(place, folder);
  const capture = join(folder, "channels.pcapng");
  const filter = `udp dst port ${RELAY_PORT} and udp[8] & 0xc0 = 0x40`;
  const tshark = place.start("generator", "tshark", "-q", "-i", "veth0", "-f", filter, "-w", capture);
  await tshark.waitFor((child) => child.output().includes("Capturing"), 20_000);
  const enter = join(folder, "chromium");
  writeFileSync(enter, `#!/bin/sh\nexec ${place.path.generator.enter.join(" ")} /usr/bin/chromium "$@"\n`);
  chmodSync(enter, 0o755);
  const browser = await chromium.launch({
    executablePath: enter,
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--disable-features=WebRtcHideLocalIpsWithMdns",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
    ],
  });
  try {
    const page = await browser.newPage();
    // `getUserMedia` needs a secure context.
    await page.route("https://turnpike.test/**", (route) =>
      route.fulfill({ contentType: "text/html", body: "<!doctype html>" }),
    );
    await page.goto("https://turnpike.test/");
    await page.addScriptTag({ content: PAGE_SCRIPT });
    const urls = `turn:${place.path.relay.ip}:${RELAY_PORT}?transport=udp`;
    const configuration = { iceTransportPolicy: "relay", iceServers: [{ urls, username: "u", credential: "p" }] };
    const counts: { readonly audio: number; readonly video: number } = await page.evaluate(
      `stream(${JSON.stringify(configuration)}, ${PACKETS})`,
    );
    expect(counts.audio).toBeGreaterThan(PACKETS);
    expect(counts.video).toBeGreaterThan(PACKETS);
  } finally {
    await browser.close();
  }
  const { traffic } = await relay.status();
  tshark.signal("SIGINT");
  await tshark.ended;
  const sent = place.run("generator", "tshark", "-r", capture).split("\n").length - 1;
  expect(sent).toBeGreaterThan(2 * PACKETS);
  expect(traffic.packetsToPeer).toBeGreaterThanOrEqual(0.99 * sent);
});

test("users with a limit go through the sockets, and are limited there", async () => {
  place.finishChecksums(true);
  const relay = await KernelRelay.start(place, folder, "--user-bandwidth", "1000000");
  expect(await place.talk(50, 1)).toEqual({ sent: 50, received: 50 });
  const status = await relay.status();
  expect(status.hits).toBe(0);
  expect(status.refused).toBe(0);
  await expect.poll(() => relay.totals().packetsToPeers, { timeout: 20_000 }).toBe(50);
});

test("a killed allocation stops, and a relay that is killed leaves neither a program nor a packet", async () => {
  place.finishChecksums(true);
  const relay = await KernelRelay.start(place, folder, "--kernel-mode", "generic");
  const first = await Stream.start(place);
  await first.flows();
  expect((await relay.turnpike("ctl", "kill-user", "u")).stdout).toContain("Ended 1 allocation");
  await first.stops();
  expect((await relay.status()).channels).toBe(0);

  const second = await Stream.start(place);
  await second.flows();
  expect((await relay.status()).channels).toBe(1);
  relay.child.signal("SIGKILL");
  await relay.child.ended;
  expect(place.run("relay", "ip", "link", "show", "veth0")).not.toContain("xdp");
  await second.stops();
});

test("a channel to a peer that the rules deny by a reload stops", async () => {
  place.finishChecksums(true);
  const relay = await KernelRelay.start(place, folder);
  const stream = await Stream.start(place);
  await expect.poll(async () => (await relay.status()).hits, { timeout: 60_000 }).toBeGreaterThan(20);
  relay.allowPeers(false);
  await stream.stops();
  expect((await relay.status()).channels).toBe(0);
});

test("what can't be had stops the start with the way out", async () => {
  const { ip } = place.path.relay;
  const turnpike = (...words: readonly string[]): readonly string[] => ["turnpike", "relay", ...words];
  const kernel = ["--plane", "kernel", "--listen", `udp:${ip}:${RELAY_PORT}`, "--relay-address", ip, "--user", "u:p"];
  const drop = ["capsh", "--drop=cap_bpf,cap_sys_admin,cap_net_admin", "--", "-c"];
  for (const [words, code, message] of [
    [turnpike(...kernel), 2, "Cannot use one of --plane kernel and --interface without the other"],
    [turnpike("--kernel-mode", "tcx"), 2, "Cannot use --kernel-mode without --plane kernel"],
    [turnpike("--interface", "veth0"), 2, "Cannot use one of --plane kernel and --interface without the other"],
    [turnpike(...kernel, "--interface", "veth9"), 1, "There is no interface veth9 (there are lo, veth0)"],
    [turnpike(...kernel, "--interface", "lo"), 1, "lo is not an Ethernet one"],
    [
      [...drop, turnpike(...kernel, "--interface", "veth0").join(" ")],
      1,
      "the process lacks CAP_BPF and CAP_NET_ADMIN; grant them (systemd: AmbientCapabilities=CAP_BPF CAP_NET_ADMIN",
    ],
  ] as const) {
    const ended = await runChild({ ...place.command("relay", words), timeoutMs: 60_000 });
    expect(ended.output).toContain(message);
    expect(ended.code, ended.output).toBe(code);
  }
});

/** Runs in the page: plain JavaScript, since what compiles this file must not change it. */
const PAGE_SCRIPT = `
const LIMIT_MS = 120_000;

/** Audio and video between two relayed connections, until more than \`enough\` packets of each have come. */
async function stream(configuration, enough) {
  const caller = new RTCPeerConnection(configuration);
  const callee = new RTCPeerConnection(configuration);
  for (const [from, to] of [[caller, callee], [callee, caller]]) {
    from.onicecandidate = ({ candidate }) => { if (candidate) to.addIceCandidate(candidate); };
  }
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  for (const track of media.getTracks()) caller.addTrack(track, media);
  await caller.setLocalDescription();
  await callee.setRemoteDescription(caller.localDescription);
  await callee.setLocalDescription();
  await caller.setRemoteDescription(callee.localDescription);
  const until = performance.now() + LIMIT_MS;
  for (;;) {
    const counts = { audio: 0, video: 0 };
    for (const stat of (await callee.getStats()).values()) {
      if (stat.type === "inbound-rtp") counts[stat.kind] += stat.packetsReceived;
    }
    if (counts.audio > enough && counts.video > enough) return counts;
    if (performance.now() > until) throw new Error("time is up: " + JSON.stringify(counts));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
`;
