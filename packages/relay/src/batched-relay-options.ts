import type { AuthenticateModule } from "./authenticate-module.ts";
import type { KernelPlaneOptions } from "./kernel/open-offload.ts";
import type { Libc } from "./libc/libc.ts";
import type { RelayOptions } from "./relay-options.ts";

/** What `startBatchedRelay` takes beside what every relay takes. */
export interface BatchedRelayOptions extends Omit<RelayOptions, "authenticate" | "plane" | "forwarding"> {
  /** The system calls, tested (`testLibc`). */
  readonly libc: Libc;
  readonly authenticate: AuthenticateModule;
  /** Reactors, each on a thread of its own: one for each core that the relay may use. 1–64. */
  readonly threads: number;
  /** Use aggregates where traffic comes in runs; false if the self-test says so. Default true. */
  readonly aggregate?: boolean;
  /** Trades up to so many microseconds of latency for CPU at middle loads, 0–200. Default 0. */
  readonly coalesceUs?: number;
  /** Size of each socket's kernel buffers. Default 4 MiB. */
  readonly bufferBytes?: number;
  /** Relays channels in the kernel, by XDP or TCX, where these interfaces carry them. Default: through the sockets alone. */
  readonly kernel?: KernelPlaneOptions;
}

/** How many threads a relay can have. */
export const MAX_THREADS = 64;
const MAX_COALESCE_US = 200;

/** @throws RangeError if one of them makes no sense. */
export function checkForwarding(threads: number, coalesceUs: number): void {
  checkRange("threads", threads, 1, MAX_THREADS);
  checkRange("coalesceUs", coalesceUs, 0, MAX_COALESCE_US);
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`Cannot start the relay: ${name} is ${value}, not a whole number from ${min} to ${max}`);
  }
}
