import { onOwnLines, ownLines } from "./own-lines.ts";

/** The place of each counter of a plane in {@link PlaneCounters.values}. Bytes are UDP payload. */
export const PlaneCounter = {
  packetsFromClients: 0,
  bytesFromClients: 1,
  /** To clients and to peers: what was handed to the system; `sendErrors` tells what it refused. */
  packetsToClients: 2,
  bytesToClients: 3,
  packetsFromPeers: 4,
  bytesFromPeers: 5,
  packetsToPeers: 6,
  bytesToPeers: 7,
  /** Sends that the system refused. The portable plane asks about a part of them only, where few fail. */
  sendErrors: 8,
  /** Errors that the system reported when receiving. */
  receiveErrors: 9,
  /** Packets dropped because a socket's send queue was full. */
  sendQueueFull: 10,
  /** Packets dropped because no datagram can carry them. */
  oversized: 11,
  /** Packets for a socket that isn't open any more. */
  closedSocket: 12,
  /** Of `sendErrors`, by reason: the socket's buffer was full (EAGAIN). */
  sendBufferFull: 13,
  /** The kernel had no memory or queue (ENOBUFS, ENOMEM). */
  sendNoBuffers: 14,
  /** Larger than the path carries, with DONT-FRAGMENT (EMSGSIZE). */
  sendTooLarge: 15,
  /** Forbidden by the machine's own filter (EPERM, EACCES). */
  sendForbidden: 16,
  /** Sends that met the ICMP error of an earlier packet, and were tried again. No error of their own. */
  sendRetries: 17,
  /** Packets that the kernel dropped since a socket's receive buffer was full (SO_MEMINFO); about a second old. */
  receiveOverflow: 18,
  /** ICMP errors that came back for sent packets. */
  icmpErrors: 19,
  /** Aggregates received (UDP_GRO), and the packets in them. */
  aggregatesReceived: 20,
  packetsInAggregatesReceived: 21,
  /** Aggregates sent (UDP_SEGMENT), and the packets in them. */
  aggregatesSent: 22,
  packetsInAggregatesSent: 23,
  /** Aggregates that the kernel refused; their packets were sent one by one. */
  aggregatesRefused: 24,
  /** Turns of a plane's own loop, and the system calls of its data path. */
  turns: 25,
  systemCalls: 26,
} as const;

/** The name of one counter. */
export type PlaneCounterName = keyof typeof PlaneCounter;

/** Counters of one plane, in memory that another thread may read, on cache lines of its own. Only the plane writes. */
export class PlaneCounters {
  /** For another thread's `PlaneCounters`. */
  readonly memory: SharedArrayBuffer;
  readonly values: Float64Array;

  constructor(memory: SharedArrayBuffer = ownLines(NAMES.length)) {
    this.memory = memory;
    this.values = onOwnLines(memory);
  }

  snapshot(): Record<PlaneCounterName, number> {
    const counts: Record<PlaneCounterName, number> = { ...PlaneCounter };
    for (const name of NAMES) {
      counts[name] = this.values[PlaneCounter[name]] ?? 0;
    }
    return counts;
  }
}

/** The sum of several planes' counts. */
export function sumCounts(
  counts: readonly Readonly<Record<PlaneCounterName, number>>[],
): Record<PlaneCounterName, number> {
  const sum: Record<PlaneCounterName, number> = { ...PlaneCounter };
  for (const name of NAMES) {
    sum[name] = counts.reduce((total, each) => total + each[name], 0);
  }
  return sum;
}

const NAMES = Object.keys(PlaneCounter).filter((name): name is PlaneCounterName => name in PlaneCounter);
