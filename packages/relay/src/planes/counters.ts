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
  /** Sends that the system refused. */
  sendErrors: 8,
  /** Errors that the system reported when receiving. */
  receiveErrors: 9,
  /** Packets dropped because a socket's send queue was full. */
  sendQueueFull: 10,
  /** Packets dropped because no datagram can carry them. */
  oversized: 11,
  /** Packets for a socket that isn't open any more. */
  closedSocket: 12,
} as const;

/** The name of one counter. */
export type PlaneCounterName = keyof typeof PlaneCounter;

/** Counters of one plane, in memory that another thread may read. Only the plane writes. */
export class PlaneCounters {
  /** For another thread's `PlaneCounters`. */
  readonly memory: SharedArrayBuffer;
  readonly values: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(SIZE)) {
    this.memory = memory;
    this.values = new Float64Array(memory);
  }

  snapshot(): Record<PlaneCounterName, number> {
    const counts: Record<PlaneCounterName, number> = { ...PlaneCounter };
    for (const name of NAMES) {
      counts[name] = this.values[PlaneCounter[name]] ?? 0;
    }
    return counts;
  }
}

const NAMES = Object.keys(PlaneCounter).filter((name): name is PlaneCounterName => name in PlaneCounter);
const SIZE = NAMES.length * Float64Array.BYTES_PER_ELEMENT;
