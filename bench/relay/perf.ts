import { execFile, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { readSamples, type Sample } from "./samples.ts";

/** Node tells perf of what it compiles. */
export const PROFILED: readonly string[] = ["--perf-basic-prof-only-functions", "--interpreted-frames-native-stack"];
const START_TIMEOUT_MS = 10_000;
const MAX_TEXT_BYTES = 1 << 30;

/** Samples that are being taken of a process, all its threads, by its CPU time. */
export interface Sampling {
  /** What was sampled. The process must live yet: perf reads its maps. */
  stop(): Promise<readonly Sample[]>;
}

/** Installs perf if it is missing. @throws Error if that fails. */
export function preparePerf(): void {
  if (spawnSync("perf", ["--version"]).error === undefined) return;
  execFileSync("apt-get", ["install", "-y", "-o", "DPkg::Lock::Timeout=300", "linux-perf"], { stdio: "ignore" });
}

/** Begins to sample `frequency` times a second of CPU time; what perf writes is kept in `file`, which it replaces. */
export async function startSampling(pid: number, frequency: number, file: string): Promise<Sampling> {
  rmSync(file, { force: true });
  const how = ["-q", "-e", "cpu-clock", "-F", String(frequency), "-g", "--clockid", "monotonic"];
  const perf = spawn("perf", ["record", ...how, "-p", String(pid), "-o", file], { stdio: "ignore" });
  const ended = once(perf, "exit");
  // It writes the file's head once its counters run.
  for (const until = performance.now() + START_TIMEOUT_MS; !existsSync(file) || statSync(file).size === 0;) {
    if (perf.exitCode !== null) throw new Error(`perf record ended with ${perf.exitCode}`);
    if (performance.now() > until) throw new Error(`perf record did not start within ${START_TIMEOUT_MS} ms`);
    await sleep(20);
  }
  return {
    async stop() {
      perf.kill("SIGINT");
      await ended;
      const words = ["script", "-i", file, "--ns", "-F", "comm,tid,time,ip,sym,dso"];
      const { stdout } = await promisify(execFile)("perf", words, { maxBuffer: MAX_TEXT_BYTES });
      return readSamples(stdout);
    },
  };
}
