import { readdirSync, readFileSync } from "node:fs";

/** What a core has done since the machine's start, in seconds, by `/proc/stat`. Its grain is 10 ms. */
export interface CoreTime {
  /** User, nice, system, irq and softirq: the work of everybody. */
  readonly busy: number;
  /** What the hypervisor took: neither work nor idle. */
  readonly steal: number;
}

/** Of `/proc/stat`: USER_HZ, the same on every Linux that Node runs on. */
const TICKS_A_SECOND = 100;

export function coreTime(core: number): CoreTime {
  const line = new RegExp(`^cpu${core} (.*)$`, "m").exec(readFileSync("/proc/stat", "utf8"))?.[1] ?? "";
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(" ").map(Number);
  return {
    busy: (user + nice + system + irq + softirq) / TICKS_A_SECOND,
    steal: steal / TICKS_A_SECOND,
  };
}

/** Nanoseconds on a core of processes and kernel threads, all their threads. */
export function threadsNs(ids: readonly number[]): number {
  return ids
    .flatMap((id) => readdirSync(`/proc/${id}/task`).map((thread) => `/proc/${id}/task/${thread}/schedstat`))
    .map((path) => Number(readFileSync(path, "utf8").split(" ")[0]))
    .reduce((sum, each) => sum + each, 0);
}
