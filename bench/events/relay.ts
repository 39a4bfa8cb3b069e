import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Load, Measurement } from "../relay/generator.ts";
import { median } from "../relay/report.ts";

/** What is compared: see `relay-process.ts`. */
export const kinds = ["bare", "none", "limits", "outlets"] as const;
export type Kind = (typeof kinds)[number];

/** Of one kind, the medians of all rounds; ratios are medians of those within each round, of CPU time. */
export interface RelayRow {
  readonly kind: Kind;
  readonly kpps: Readonly<Record<Load["direction"], number>>;
  readonly cpuSecondsPerMillion: Readonly<Record<Load["direction"], number>>;
  readonly packetRatio: Readonly<Record<Load["direction"], number>>;
  /** A session takes so many microseconds of CPU. */
  readonly sessionUs: number;
  readonly sessionRatio: number;
}

const FIRST_PORT = 23_500;
const SESSIONS = 1500;
const RELAY_CORE = "1";
const GENERATOR_CORE = "0";
const directions = ["to peer", "to client"] as const;

interface Running {
  readonly kind: Kind;
  readonly port: number;
  readonly process: ChildProcess;
}

type Figures = Record<Load["direction"], Measurement> & { readonly sessionUs: number };

/** Measures whole relays in turns: each relay on one core, the load on another. */
export async function measureRelays(rounds: number): Promise<readonly RelayRow[]> {
  const folder = mkdtempSync(join(tmpdir(), "bench-events-"));
  const blaster = join(folder, "blaster");
  execFileSync("gcc", ["-O2", "-o", blaster, scriptOf("../relay/blaster.c")]);
  const running: Running[] = [];
  const figures = new Map<Kind, Figures[]>(kinds.map((kind) => [kind, []]));
  try {
    for (const [index, kind] of kinds.entries()) running.push(await start(kind, FIRST_PORT + index));
    // The first round compiles.
    for (let round = 0; round <= rounds; round++) {
      for (const relay of round % 2 === 0 ? running : running.toReversed()) {
        const measured: Figures = {
          "to peer": measure(relay, "to peer", blaster),
          "to client": measure(relay, "to client", blaster),
          sessionUs: sessions(relay),
        };
        if (round > 0) figures.get(relay.kind)?.push(measured);
      }
    }
  } finally {
    for (const { process: relay } of running) relay.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
  return kinds.map((kind) => rowOf(kind, figures.get(kind) ?? [], figures.get("bare") ?? []));
}

async function start(kind: Kind, port: number): Promise<Running> {
  const script = [process.execPath, "--conditions=@turnpike/source", scriptOf("relay-process.ts"), kind, `${port}`];
  const relay = spawn("taskset", ["-c", RELAY_CORE, ...script], { stdio: ["ignore", "pipe", "inherit"] });
  await once(relay.stdout, "data");
  if (relay.exitCode !== null) throw new Error(`${kind} ended at its start`);
  return { kind, port, process: relay };
}

function measure({ port, process: relay }: Running, direction: Load["direction"], blaster: string): Measurement {
  const load: Load = {
    protocol: "turn",
    server: "127.0.0.1",
    serverPort: port,
    own: "127.0.0.1",
    direction,
    flows: 32,
    size: 172,
    burst: 1,
    rate: 0,
    warmSeconds: 0.3,
    seconds: 1,
    pid: relay.pid ?? 0,
    blaster,
  };
  const measurement: Measurement = JSON.parse(run(scriptOf("../relay/generator.ts"), JSON.stringify(load)));
  return measurement;
}

function sessions({ port, process: relay }: Running): number {
  return (Number(run(scriptOf("sessions.ts"), `${port}`, `${SESSIONS}`, `${relay.pid}`)) * 1e6) / SESSIONS;
}

function run(...args: readonly string[]): string {
  const command = ["-c", GENERATOR_CORE, process.execPath, "--conditions=@turnpike/source", ...args];
  return execFileSync("taskset", command, { encoding: "utf8" });
}

function rowOf(kind: Kind, rounds: readonly Figures[], bare: readonly Figures[]): RelayRow {
  const both = (figure: (direction: Load["direction"]) => number) =>
    Object.fromEntries(directions.map((direction) => [direction, figure(direction)])) as Record<
      Load["direction"],
      number
    >;
  const ratio = (of: (figures: Figures) => number): number =>
    median(rounds.flatMap((figures, round) => (bare[round] === undefined ? [] : [of(bare[round]) / of(figures)])));
  return {
    kind,
    kpps: both((direction) => median(rounds.map((each) => each[direction].packetsPerSecond / 1000))),
    cpuSecondsPerMillion: both((direction) => median(rounds.map((each) => each[direction].cpuSecondsPerMillion))),
    packetRatio: both((direction) => ratio((each) => each[direction].cpuSecondsPerMillion)),
    sessionUs: median(rounds.map((each) => each.sessionUs)),
    sessionRatio: ratio((each) => each.sessionUs),
  };
}

function scriptOf(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
