import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** What is measured. */
export const subjectNames = ["coturn", "yardstick", "portable", "batched"] as const;
/** Modes of the kernel plane. They are measured by `kernel.ts`: they need arrangements of their own. */
export const kernelModes = ["native", "tcx", "generic"] as const;
export type KernelMode = (typeof kernelModes)[number];
export type SubjectName = (typeof subjectNames)[number] | KernelMode;

/** Where a subject runs. */
export interface Place {
  /** Its address. */
  readonly ip: string;
  readonly core: number;
  /** Prefix of commands that are to run there, e.g. `ip netns exec NAME`. */
  readonly enter: readonly string[];
}

/** A relay that serves. */
export interface Subject {
  readonly name: SubjectName;
  readonly protocol: "turn" | "wired";
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

const PORTS: Readonly<Record<SubjectName, number>> = {
  coturn: 23_478,
  yardstick: 23_479,
  portable: 23_480,
  batched: 23_481,
  native: 23_482,
  tcx: 23_484,
  generic: 23_483,
};
const here = fileURLToPath(new URL(".", import.meta.url));
const START_TIMEOUT_MS = 15_000;

/** Installs or compiles what is missing. @throws Error naming the command that failed. */
export function prepare(): { readonly yardstick: string; readonly blaster: string; readonly coturnVersion: string } {
  if (!existsSync("/usr/bin/turnserver")) {
    execFileSync("apt-get", ["install", "-y", "-o", "DPkg::Lock::Timeout=300", "coturn"], { stdio: "ignore" });
  }
  const folder = mkdtempSync(join(tmpdir(), "bench-relay-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const [yardstick, blaster] = [join(folder, "yardstick"), join(folder, "blaster")];
  execFileSync("gcc", ["-O2", "-o", yardstick, join(here, "yardstick.c")]);
  execFileSync("gcc", ["-O2", "-o", blaster, join(here, "blaster.c")]);
  // Version and nothing else; it exits with another code than 0.
  const version = execFileSync("sh", ["-c", "turnserver --version 2>/dev/null | tail -n 1"], { encoding: "utf8" });
  return { yardstick, blaster, coturnVersion: version.trim() };
}

/** Starts a subject on one core, and waits until it serves. `nodeFlags` are for those that run on Node. */
export async function startSubject(
  name: SubjectName,
  place: Place,
  yardstick: string,
  nodeFlags: readonly string[] = [],
): Promise<Subject> {
  const port = PORTS[name];
  const [command = "", ...rest] = [
    ...place.enter,
    "taskset",
    "-c",
    String(place.core),
    ...commandOf(name, { ip: place.ip, port, yardstick, nodeFlags }),
  ];
  const child = spawn(command, rest, {
    // coturn tells on standard error of each protocol that this kernel lacks.
    stdio: ["ignore", "pipe", name === "coturn" ? "ignore" : "inherit"],
  });
  await serving(child, place, port, name);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} did not start`);
  return {
    name,
    protocol: name === "yardstick" ? "wired" : "turn",
    port,
    pid,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    },
  };
}

export function isKernelMode(name: SubjectName): name is KernelMode {
  return kernelModes.some((mode) => mode === name);
}

function commandOf(
  name: SubjectName,
  given: {
    readonly ip: string;
    readonly port: number;
    readonly yardstick: string;
    readonly nodeFlags: readonly string[];
  },
): readonly string[] {
  const { ip, port, yardstick, nodeFlags } = given;
  switch (name) {
    case "yardstick":
      return [yardstick, ip, String(port)];
    case "coturn":
      return [
        "turnserver",
        "-n",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        "--lt-cred-mech",
        "--user=u:p",
        "--realm=r",
        "--allow-loopback-peers",
        "-m",
        "1",
        `--listening-ip=${ip}`,
        `--relay-ip=${ip}`,
        `--listening-port=${port}`,
        "--log-file=stdout",
        "--pidfile=/dev/null",
      ];
    case "portable":
    case "batched":
    case "native":
    case "tcx":
    case "generic":
      return [
        process.execPath,
        ...nodeFlags,
        "--conditions=@turnpike/source",
        join(here, "relay-process.ts"),
        isKernelMode(name) ? `${name}:veth0` : name,
        ip,
        String(port),
      ];
  }
}

/** Ours and the yardstick say so; coturn is asked of the kernel's table of sockets. */
async function serving(child: ChildProcess, place: Place, port: number, name: SubjectName): Promise<void> {
  let said = "";
  child.stdout?.on("data", (bytes: Buffer) => (said = (said + bytes.toString()).slice(-4096)));
  const until = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < until) {
    if (child.exitCode !== null) throw new Error(`${name} ended at its start:\n${said}`);
    if (name === "coturn" ? isBound(child.pid ?? 0, port) : said.includes("ready")) return;
    await sleep(20);
  }
  child.kill("SIGKILL");
  throw new Error(`${name} did not serve on ${place.ip}:${port} within ${START_TIMEOUT_MS} ms:\n${said}`);
}

function isBound(pid: number, port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")} `;
  return readdirSync("/proc").includes(String(pid)) && readFileSync(`/proc/${pid}/net/udp`, "utf8").includes(wanted);
}
