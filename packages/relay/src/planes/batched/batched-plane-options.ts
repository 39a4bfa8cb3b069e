import type { ChannelOutput } from "../../kernel/kernel-channels.ts";
import type { Libc } from "../../libc/libc.ts";
import type { PlaneCounters } from "../counters.ts";

/** What `BatchedPlane` is made with. */
export interface BatchedPlaneOptions {
  readonly libc: Libc;
  /** Counters that another thread reads. Default: fresh ones. */
  readonly counters?: PlaneCounters;
  /** Receive aggregates (UDP_GRO) where traffic comes in runs. Default true. */
  readonly receiveAggregates?: boolean;
  /** Send runs of one size to one address as aggregates (UDP_SEGMENT). Default true. */
  readonly sendAggregates?: boolean;
  /** Size of each socket's kernel buffers. Default 4 MiB. */
  readonly bufferBytes?: number;
  /** How many receive slots there are. Default 128: packets of several relay sockets leave in one call. */
  readonly slots?: number;
  /** Address of `BatchedPlane.arenaBytes()` bytes, mapped and owned by the caller. Default: memory of its own. */
  readonly arena?: number;
  /** An eventfd that ends a turn's waiting, owned by the caller. Default: the plane makes one. */
  readonly wakeDescriptor?: number;
  /** Called in each turn after the waiting, before the first packet: to look at the clock. */
  readonly onAwake?: () => void;
  /** Called each time before what waits is sent: to show the state that clients will see. */
  readonly onRelayed?: () => void;
  /** DSCP and ECN of what comes in are set on what goes out (RFC 8656 §14). Default true. */
  readonly copyTrafficClass?: boolean;
  /** Takes what the engine says of channels, for a faster path beside this one. */
  readonly onChannel?: (output: ChannelOutput) => void;
}
