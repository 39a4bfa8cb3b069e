import { hrtime } from "node:process";

/**
 * What to add to a thread's monotonic milliseconds to get those that all threads of the process have in common:
 * `performance.now()` starts anew in each thread.
 */
export function commonClockOffsetMs(monotonicMs: number): number {
  return commonMs() - monotonicMs;
}

/** Milliseconds of the clock that all threads have in common. */
export function commonMs(): number {
  return Number(hrtime.bigint()) / 1e6;
}
