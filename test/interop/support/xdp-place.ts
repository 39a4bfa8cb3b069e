import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RelayStats } from "@turnpike/relay";
import { askRelay } from "@turnpike/relay/control";
import { expect } from "vitest";
import { namespaces, type Path } from "../../../bench/relay/places.ts";
import { type Child, runChild, startChild } from "../../support/child.ts";
import { ensureDebianPackages } from "./debian.ts";

/** Runs a TypeScript file, rooms taken from their sources. */
export const NODE: readonly string[] = [process.execPath, "--conditions=@turnpike/source"];
export const RELAY_PORT = 3478;
export const PEER_PORT = 3480;
const START_MS = 30_000;
const COUNT = fileURLToPath(new URL("xdp-count-process.ts", import.meta.url));
const ALLOWED = `[peers]\nallow = ["10.0.0.0/8"]\n`;

/** One of the two namespaces: with the relay, or with clients and peers. */
export type Side = "relay" | "generator";

/** What the relay's kernel plane tells. */
export type KernelStatus = NonNullable<RelayStats["kernel"]>;

/** Two namespaces joined by a veth pair, and what runs in them. Needs root, and fails without. */
export class XdpPlace {
  readonly path: Path = namespaces();
  readonly #stops: (() => Promise<unknown>)[] = [];

  start(side: Side, ...words: readonly string[]): Child {
    const child = startChild(this.command(side, words));
    this.#stops.push(() => child.stop());
    return child;
  }

  /** What is to be done before the namespaces go. The last one first. */
  atEnd(stop: () => Promise<unknown>): void {
    this.#stops.push(stop);
  }

  /** Runs a program to its end. @throws Error if it fails */
  run(side: Side, ...words: readonly string[]): string {
    const { command, args } = this.command(side, words);
    return execFileSync(command, args, { encoding: "utf8" });
  }

  command(side: Side, words: readonly string[]): { readonly command: string; readonly args: readonly string[] } {
    const [command = "", ...args] = [...this.path[side].enter, ...words];
    return { command, args };
  }

  /** How many TCX programs the relay's interface has. */
  tcxPrograms(): number {
    return Number(this.run("relay", ...NODE, COUNT, "veth0"));
  }

  /** Has senders finish their checksums, or leave them to the card that veth hasn't. */
  finishChecksums(on: boolean, sides: readonly Side[] = ["relay", "generator"]): void {
    for (const side of sides) {
      this.run(side, "ethtool", "-K", "veth0", "tx", on ? "off" : "on");
    }
  }

  /** Gives both sides IPv6 addresses too. */
  addIpv6(): { readonly relay: string; readonly generator: string } {
    const addresses = { relay: "fd00:213::1", generator: "fd00:213::2" };
    for (const side of ["relay", "generator"] as const) {
      this.run(side, "ip", "address", "add", `${addresses[side]}/64`, "dev", "veth0", "nodad");
    }
    return addresses;
  }

  /**
   * Sends voice through the relay to coturn's echo peer and back. How many went out, and came back. `route`: the relay's
   * and the peer's addresses; default: the namespaces' IPv4 ones.
   */
  async talk(
    messages: number,
    clients = 4,
    route: { readonly relay: string; readonly peer: string } = {
      relay: this.path.relay.ip,
      peer: this.path.generator.ip,
    },
  ): Promise<{ readonly sent: number; readonly received: number }> {
    const ip = route.peer;
    const family = ip.includes(":") ? "-x" : "-X";
    const peer = this.start("generator", "turnutils_peer", "-L", ip, "-p", String(PEER_PORT));
    const voice = ["-u", "u", "-w", "p", "-l", "172", "-z", "5", "-c", "-n", String(messages), "-m", String(clients)];
    const where = [family, "-e", ip, "-r", String(PEER_PORT), route.relay];
    const command = this.command("generator", ["turnutils_uclient", ...voice, ...where]);
    const { output } = await runChild({ ...command, timeoutMs: 60_000 });
    await peer.stop();
    const totals = [...output.matchAll(/start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/g)].at(-1);
    return { sent: Number(totals?.[1] ?? 0), received: Number(totals?.[2] ?? 0) };
  }

  /**
   * What tshark finds in the datagrams that the relay sends during `work`: how many have right checksums, and how many
   * wrong ones. On a busy machine it doesn't get all of them. `folder` is for its file.
   */
  async checksumsWhile(
    folder: string,
    work: () => Promise<unknown>,
  ): Promise<{ readonly good: number; readonly bad: number }> {
    const capture = join(folder, "capture.pcapng");
    const link = this.run("relay", "cat", "/sys/class/net/veth0/address").trim();
    const filter = ["-f", `udp and ether src ${link}`];
    const tshark = this.start("generator", "tshark", "-q", "-i", "veth0", ...filter, "-w", capture);
    await tshark.waitFor((child) => child.output().includes("Capturing"), 20_000);
    await work();
    tshark.signal("SIGINT");
    await tshark.ended;
    const check = ["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    const count = (which: string): number =>
      this.run("generator", "tshark", "-r", capture, ...check, "-Y", which).split("\n").length - 1;
    return {
      good: count(`udp.checksum.status == "Good" && (ipv6 || ip.checksum.status == "Good")`),
      bad: count(`udp.checksum.status == "Bad" || ip.checksum.status == "Bad"`),
    };
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0).toReversed()) await stop();
    this.path.remove();
  }
}

/** `turnpike relay --plane kernel`, by its command alone. */
export class KernelRelay {
  readonly #place: XdpPlace;
  readonly #socket: string;
  readonly #rules: string;
  readonly child: Child;

  private constructor(
    place: XdpPlace,
    relay: { readonly socket: string; readonly rules: string; readonly child: Child },
  ) {
    this.#place = place;
    this.#socket = relay.socket;
    this.#rules = relay.rules;
    this.child = relay.child;
  }

  /** Starts it and waits until it serves. `folder` is for its control socket. */
  static async start(place: XdpPlace, folder: string, ...flags: readonly string[]): Promise<KernelRelay> {
    const socket = join(folder, "control.sock");
    const { ip } = place.path.relay;
    const command = ["turnpike", "relay", "--plane", "kernel", "--interface", "veth0", "--threads", "1"];
    const here = ["--listen", `udp:${ip}:${RELAY_PORT}`, "--relay-address", ip, "--control-socket", socket];
    const rules = join(folder, "relay.toml");
    writeFileSync(rules, ALLOWED);
    const who = ["--realm", "r", "--user", "u:p", "--config", rules];
    const log = ["--log-format", "json", "--log-event", "allocationDeleted"];
    const child = place.start("relay", ...command, ...here, ...who, ...log, ...flags);
    const serves = [`"msg":"The relay is serving"`, `"msg":"The control socket is open"`];
    await child.waitFor((it) => serves.every((message) => it.stderr().includes(message)), START_MS);
    const relay = new KernelRelay(place, { socket, rules, child });
    place.atEnd(() => relay.stop());
    return relay;
  }

  /** Ends it, and allocations whose clients went away without a word. Its exit code. */
  async stop(): Promise<number | null> {
    const { child } = this;
    child.signal("SIGTERM");
    await child.waitFor((it) => it.stderr().includes("a second signal stops at once"), START_MS).catch(() => {});
    return child.stop();
  }

  /** Has it deny all peers, or allow those of the namespaces again. */
  allowPeers(allowed: boolean): void {
    writeFileSync(this.#rules, allowed ? ALLOWED : "");
    this.child.signal("SIGHUP");
  }

  /** What its control socket tells of the kernel plane, and how many packets that has relayed. */
  async status(): Promise<KernelStatus & { readonly hits: number }> {
    const stats: unknown = await askRelay(this.#socket, { method: "GET", path: "/v1/stats" });
    const { kernel } = stats as { readonly kernel: KernelStatus };
    const { relayedToPeer, relayedToClient, relayedHairpin } = kernel.outcomes;
    return { ...kernel, hits: relayedToPeer + relayedToClient + relayedHairpin };
  }

  /** Runs a command of `turnpike` that goes by the control socket. */
  turnpike(
    ...words: readonly string[]
  ): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
    const [group = "", ...rest] = words;
    const place =
      group === "ctl" ? [group, "--socket", this.#socket, ...rest] : [group, ...rest, "--socket", this.#socket];
    return runChild({ ...this.#place.command("relay", ["turnpike", ...place]), timeoutMs: START_MS });
  }

  /** Totals of the allocations that have ended, as the events in its log tell them. */
  totals(): Readonly<Record<"packetsToPeers" | "bytesToPeers" | "packetsFromPeers" | "bytesFromPeers", number>> {
    const sum = { packetsToPeers: 0, bytesToPeers: 0, packetsFromPeers: 0, bytesFromPeers: 0 };
    for (const line of this.child.stderr().split("\n")) {
      if (!line.includes(`"event":"allocationDeleted"`)) continue;
      const { totals }: { readonly totals: typeof sum } = JSON.parse(line);
      for (const name of ["packetsToPeers", "bytesToPeers", "packetsFromPeers", "bytesFromPeers"] as const) {
        sum[name] += totals[name];
      }
    }
    return sum;
  }
}

/** One flow of numbered packets to a peer, and back: `xdp-stream-process.ts`. */
export class Stream {
  readonly #child: Child;

  private constructor(child: Child) {
    this.#child = child;
  }

  /** Starts it and waits until packets come back. `relay`, `own`: addresses, if not the namespaces'. */
  static async start(
    place: XdpPlace,
    options: {
      readonly relay?: string;
      readonly own?: string;
      readonly size?: number;
      readonly buffers?: "pieces";
    } = {},
  ): Promise<Stream> {
    const script = fileURLToPath(new URL("xdp-stream-process.ts", import.meta.url));
    const { relay = place.path.relay.ip, own = place.path.generator.ip, size = 172, buffers = "whole" } = options;
    const words = [relay, String(RELAY_PORT), own, String(size), buffers];
    const child = place.start("generator", ...NODE, script, ...words);
    const stream = new Stream(child);
    await child.waitFor(() => stream.counts().received > 0, START_MS);
    return stream;
  }

  /** Packets until its last line, which comes ten times a second. */
  counts(): { readonly sent: number; readonly reached: number; readonly received: number } {
    const lines = this.#child.stdout().split("\n").slice(0, -1);
    return JSON.parse(lines.at(-1) ?? `{"sent":0,"reached":0,"received":0}`);
  }

  /** Has the client's packets carry a VLAN tag from then on. */
  tag(): void {
    this.#child.signal("SIGUSR1");
  }

  /** Waits until `more` packets have come back since this call. */
  async flows(more = 50): Promise<void> {
    const { received } = this.counts();
    await expect.poll(() => this.counts().received, { timeout: 60_000 }).toBeGreaterThan(received + more);
  }

  /** Waits until nothing arrives anywhere while `more` packets are sent. */
  async stops(more = 200): Promise<void> {
    await expect
      .poll(
        async () => {
          const { sent, reached, received } = this.counts();
          await expect.poll(() => this.counts().sent, { timeout: 60_000 }).toBeGreaterThan(sent + more);
          const now = this.counts();
          return now.reached - reached + (now.received - received);
        },
        { timeout: 60_000 },
      )
      .toBe(0);
  }
}

const PACKAGES: Readonly<Record<string, string>> = {
  ip: "iproute2",
  tc: "iproute2",
  ethtool: "ethtool",
  tshark: "tshark",
  turnutils_uclient: "coturn",
  capsh: "libcap2-bin",
  chromium: "chromium",
  sysctl: "procps",
};

/** Installs what the tests of the kernel plane need. */
export function prepareXdp(): void {
  const isThere = (command: string): boolean =>
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].some((folder) => existsSync(join(folder, command)));
  const missing = Object.keys(PACKAGES).filter((command) => !isThere(command));
  if (missing.length === 0) return;
  ensureDebianPackages({ packages: missing.map((command) => PACKAGES[command] ?? command), commands: missing });
}
