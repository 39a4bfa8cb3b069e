import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { namespaces, type Path } from "./places.ts";

/** Two namespaces joined by veth as two hosts are by a wire. */
export interface KernelPlace extends Path {
  /** The kernel's thread that receives for the relay. */
  readonly receiver: number;
}

/** What is measured goes before most of what else the machine does. */
export const NICE = "-20";
const TIMEOUT_MS = 60_000;

/**
 * Each interface has a thread of its own (threaded NAPI), on its place's core: what one end receives costs the other end
 * nothing but to wake that thread, and all work on a packet has an owner. Gone with `remove()`: nothing outside of the
 * namespaces is changed.
 */
export function kernelPlace(): KernelPlace {
  const path = namespaces();
  try {
    let receiver = 0;
    for (const { enter, core } of [path.generator, path.relay]) {
      // As over a wire, what comes to the relay has its checksums; its own may be left to the card.
      const isRelay = core === path.relay.core;
      run(enter, "ethtool", "-K", "veth0", "tx", isRelay ? "on" : "off", "gro", "on");
      const before = new Set(receivers());
      const settings = "/sys/class/net/veth0";
      run(enter, "sh", "-c", `echo 0 > ${settings}/queues/rx-0/rps_cpus; echo 1 > ${settings}/threaded`);
      const fresh = receivers().find((id) => !before.has(id));
      if (fresh === undefined) throw new Error("The machine has no threaded NAPI: it needs Linux 5.12 or later");
      receiver = fresh;
      run([], "taskset", "-p", "-c", String(core), String(receiver));
      // What arrives at the generator is counted at once, however busy it is with sending.
      if (core === path.generator.core) run([], "chrt", "--fifo", "--pid", "1", String(receiver));
      else run([], "renice", "-n", NICE, "-p", String(receiver));
    }
    return { ...path, receiver };
  } catch (error) {
    path.remove();
    throw error;
  }
}

/** Runs a program to its end, a minute at most. @throws Error if it fails */
export function run(enter: readonly string[], ...words: readonly string[]): string {
  const [command = "", ...args] = [...enter, ...words];
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: TIMEOUT_MS });
}

const PACKAGES: Readonly<Record<string, string>> = {
  ip: "iproute2",
  ethtool: "ethtool",
  taskset: "util-linux",
  chrt: "util-linux",
  gcc: "gcc",
  turnserver: "coturn",
};

/** What this machine lacks to measure the kernel plane, and the way out; undefined: nothing. */
export function missing(cores: number): string | undefined {
  if (process.platform !== "linux") return "The kernel plane is Linux's: there is nothing to measure on another system";
  if (process.getuid?.() !== 0) return "Namespaces and bpf(2) need root: sudo npm run bench:kernel";
  if (cores < 2) return "Two cores are needed: one for the relay, one for the load generator";
  const packages = Object.entries(PACKAGES).filter(([command]) => !isThere(command));
  if (packages.length === 0) return undefined;
  const names = [...new Set(packages.map(([, name]) => name))].join(" ");
  return `Not found: ${packages.map(([command]) => command).join(", ")}. On Debian: apt-get install ${names} libc6-dev`;
}

function isThere(command: string): boolean {
  const folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  return folders.some((folder) => existsSync(join(folder, command)));
}

/** Threads that receive for interfaces of that name. */
function receivers(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && commandOf(name).startsWith("napi/veth0-"))
    .map(Number);
}

function commandOf(id: string): string {
  try {
    return readFileSync(`/proc/${id}/comm`, "utf8");
  } catch {
    return "";
  }
}
