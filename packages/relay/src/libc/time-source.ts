import { Arena } from "./arena.ts";
import type { Libc } from "./libc.ts";

const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;
/** The wall clock is set seldom: it is looked at again after so long, and counted on in between. */
const WALL_CLOCK_MS = 100;

/** The machine's clocks, read without garbage: into an object, in milliseconds; the monotonic ones with fractions. */
export function createTimeSource(libc: Libc): (into: { monotonicMs: number; unixMs: number }) => void {
  const arena = new Arena(libc, 64);
  const { words, address } = arena;
  let offsetMs = 0;
  let readAtMs = -Infinity;
  const readMs = (clock: number): number => {
    libc.clockGettime(clock, address);
    const seconds = ((words[0] ?? 0) >>> 0) + (words[1] ?? 0) * 0x1_0000_0000;
    return seconds * 1000 + (words[2] ?? 0) / 1e6;
  };
  return (into) => {
    const monotonicMs = readMs(CLOCK_MONOTONIC);
    if (monotonicMs - readAtMs > WALL_CLOCK_MS) {
      offsetMs = readMs(CLOCK_REALTIME) - monotonicMs;
      readAtMs = monotonicMs;
    }
    into.monotonicMs = monotonicMs;
    into.unixMs = Math.floor(monotonicMs + offsetMs);
  };
}
