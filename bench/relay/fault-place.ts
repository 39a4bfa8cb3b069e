import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { RelayStats } from "@turnpike/relay";
import { askRelay } from "@turnpike/relay/control";
import type { Arrivals } from "./fault-stream.ts";
import { run } from "./kernel-place.ts";
import { namespaces, type Path } from "./places.ts";

const PORT = 3478;
const WAIT_MS = 30_000;
const FROM_SOURCE = [process.execPath, "--conditions=@turnpike/source"];
const pathOf = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const ALLOWED = `[peers]\nallow = ["10.0.0.0/8"]\n`;

/** What the relay's kernel plane tells. */
export type KernelStatus = NonNullable<RelayStats["kernel"]>;

/** Milliseconds of CLOCK_MONOTONIC, as streams tell them. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Two namespaces with a relay on the kernel plane in one, and streams in the other. */
export class FaultPlace {
  readonly path: Path = namespaces();
  readonly #folder: string = mkdtempSync(join(tmpdir(), "bench-faults-"));
  readonly #socket: string = join(this.#folder, "control.sock");
  readonly #rules: string = join(this.#folder, "relay.toml");
  readonly #children: ChildProcessWithoutNullStreams[] = [];
  relay!: ChildProcessWithoutNullStreams;

  constructor() {
    for (const { enter } of [this.path.relay, this.path.generator]) run(enter, "ethtool", "-K", "veth0", "tx", "off");
  }

  /** `turnpike relay --plane kernel`, as it is by default. */
  async startCommand(): Promise<void> {
    const { ip } = this.path.relay;
    writeFileSync(this.#rules, ALLOWED);
    const main = pathOf("../../packages/turnpike/src/main.ts");
    const plane = ["--plane", "kernel", "--interface", "veth0", "--threads", "1", "--config", this.#rules];
    const here = ["--listen", `udp:${ip}:${PORT}`, "--relay-address", ip, "--control-socket", this.#socket];
    const who = ["--realm", "r", "--user", "u:p", "--log-format", "json", "--metrics", "off", "--health", "off"];
    this.relay = this.#start("relay", main, "relay", ...plane, ...here, ...who);
    await said(this.relay, this.relay.stderr, "The relay is serving");
  }

  /** The relay alone, whose channels live so long, and whose kernel tables have room for so many. */
  async startBare(options: { readonly channelSeconds?: number; readonly maxChannels?: number }): Promise<void> {
    const { channelSeconds = 600, maxChannels = 64 } = options;
    const { ip } = this.path.relay;
    const words = ["tcx:veth0", ip, String(PORT), "0", String(channelSeconds), String(maxChannels)];
    this.relay = this.#start("relay", pathOf("relay-process.ts"), ...words);
    await said(this.relay, this.relay.stdout, "ready");
  }

  async startStream(): Promise<Stream> {
    const { relay, generator } = this.path;
    const child = this.#start("generator", pathOf("fault-stream.ts"), relay.ip, String(PORT), generator.ip);
    const stream = new Stream(child);
    await stream.bound();
    return stream;
  }

  /** What the command's kernel plane tells. */
  async status(): Promise<KernelStatus> {
    const stats: unknown = await this.ask("GET", "/v1/stats");
    return (stats as { readonly kernel: KernelStatus }).kernel;
  }

  ask(method: "GET" | "DELETE", path: string): Promise<unknown> {
    return askRelay(this.#socket, { method, path });
  }

  /** Waits until the kernel relays, both ways. */
  async takesKernel(): Promise<void> {
    for (const until = nowMs() + WAIT_MS; nowMs() < until; await sleep(50)) {
      const { relayedToPeer, relayedToClient } = (await this.status()).outcomes;
      if (Math.min(relayedToPeer, relayedToClient) > 100) return;
    }
    throw new Error("The kernel plane relays nothing");
  }

  /** Has the rules for peers deny all of them, as they are when they are read. */
  denyPeers(): void {
    writeFileSync(this.#rules, "");
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => end(child)));
    this.path.remove();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #start(side: "relay" | "generator", ...words: readonly string[]): ChildProcessWithoutNullStreams {
    const [command = "", ...args] = [...this.path[side].enter, ...FROM_SOURCE, ...words];
    const child = spawn(command, args);
    this.#children.push(child);
    return child;
  }
}

/** One flow of `fault-stream.ts`. */
export class Stream {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;
  #boundMs = 0;

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    child.stderr.pipe(process.stderr);
    this.#reader = createInterface({ input: child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** When its channel was bound. */
  async bound(): Promise<number> {
    if (this.#boundMs === 0) {
      const { boundMs }: { readonly boundMs: number } = JSON.parse(await this.#line());
      this.#boundMs = boundMs;
    }
    return this.#boundMs;
  }

  /** What has arrived since the last call. */
  async take(): Promise<Arrivals> {
    this.#child.stdin.write("\n");
    return JSON.parse(await this.#line());
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("A stream has ended");
    return value;
  }
}

async function said(
  child: ChildProcessWithoutNullStreams,
  stream: NodeJS.ReadableStream,
  wanted: string,
): Promise<void> {
  let text = "";
  const keep = (bytes: Buffer): string => (text = (text + bytes.toString()).slice(-8192));
  for (const each of [child.stdout, child.stderr]) each.on("data", keep);
  let seen = "";
  stream.on("data", (bytes: Buffer) => (seen = (seen + bytes.toString()).slice(-8192)));
  for (const until = nowMs() + WAIT_MS; nowMs() < until; await sleep(20)) {
    if (child.exitCode !== null) throw new Error(`The relay ended at its start:\n${text}`);
    if (seen.includes(wanted)) return;
  }
  throw new Error(`The relay didn't serve within ${WAIT_MS} ms:\n${text}`);
}

function end(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}
