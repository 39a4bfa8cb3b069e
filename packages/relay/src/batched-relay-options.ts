import type { ChannelOffloadOptions } from "@turnpike/xdp";
import type { AuthenticateModule } from "./authenticate-module.ts";
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
  /** Relays channels in the kernel, by XDP, where these interfaces carry them. Default: through the sockets alone. */
  readonly kernel?: KernelPlaneOptions;
}

/** The kernel plane's settings. */
export type KernelPlaneOptions = Pick<ChannelOffloadOptions, "interfaces" | "modes" | "maxChannels">;

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

/** What the kernel plane can't do, it must not be asked for. @throws TypeError */
export function checkKernel({ engine, limits }: BatchedRelayOptions): void {
  if (engine?.mobility !== false) {
    throw new TypeError(
      "Cannot start the relay: the kernel plane can't follow clients that move; set mobility to false",
    );
  }
  if (limits !== undefined && Object.keys(limits).length > 0) {
    throw new TypeError("Cannot start the relay: the kernel plane doesn't know limits; leave one of them away");
  }
}
