/** Which way data goes, as the relay sees it: 0 from the client to peers, 1 from peers to the client. */
export type Direction = 0 | 1;
export const TO_PEERS = 0;
export const TO_CLIENT = 1;

/** What may be relayed each way in a second. Absent: no limit. */
export interface Rate {
  /** Payload bytes. */
  readonly bytesPerSecond?: number;
  readonly packetsPerSecond?: number;
  /** How much of a second's worth may come at once. Default 0.25 seconds' worth, and no less than one full datagram. */
  readonly burstSeconds?: number;
}

/** Decides for each packet whether it is within its limit, and takes its share if so. Allocates nothing. */
export interface Meter {
  take(direction: Direction, bytes: number, monotonicMs: number): boolean;
}

const DEFAULT_BURST_SECONDS = 0.25;
/** The largest payload that a datagram carries: a limit that is lower than it would let nothing through. */
const FULL_DATAGRAM = 65_507;

/** One direction of one unit: tokens that come back with time. */
class Bucket {
  readonly #perMs: number;
  readonly #capacity: number;
  #tokens: number;
  #filledAtMs = Number.NEGATIVE_INFINITY;

  constructor(perSecond: number, capacity: number) {
    this.#perMs = perSecond / 1000;
    this.#capacity = capacity;
    this.#tokens = capacity;
  }

  has(amount: number, monotonicMs: number): boolean {
    const elapsedMs = monotonicMs - this.#filledAtMs;
    if (elapsedMs > 0) {
      this.#tokens = Math.min(this.#capacity, this.#tokens + elapsedMs * this.#perMs);
      this.#filledAtMs = monotonicMs;
    }
    return this.#tokens >= amount;
  }

  take(amount: number): void {
    this.#tokens -= amount;
  }
}

/** A token bucket for bytes and one for packets, each way. */
export class TokenBucketMeter implements Meter {
  readonly #bytes: readonly [Bucket, Bucket] | undefined;
  readonly #packets: readonly [Bucket, Bucket] | undefined;

  /** @throws RangeError if a rate isn't a positive number. */
  constructor(rate: Rate) {
    const burst = rate.burstSeconds ?? DEFAULT_BURST_SECONDS;
    this.#bytes = pair(rate.bytesPerSecond, burst, FULL_DATAGRAM);
    this.#packets = pair(rate.packetsPerSecond, burst, 1);
  }

  take(direction: Direction, bytes: number, monotonicMs: number): boolean {
    const byteBucket = this.#bytes?.[direction];
    const packetBucket = this.#packets?.[direction];
    if (byteBucket !== undefined && !byteBucket.has(bytes, monotonicMs)) return false;
    if (packetBucket !== undefined && !packetBucket.has(1, monotonicMs)) return false;
    byteBucket?.take(bytes);
    packetBucket?.take(1);
    return true;
  }
}

function pair(
  perSecond: number | undefined,
  burstSeconds: number,
  least: number,
): readonly [Bucket, Bucket] | undefined {
  if (perSecond === undefined) return undefined;
  if (!(perSecond > 0)) throw new RangeError(`A rate must be positive, not ${perSecond}`);
  const capacity = Math.max(least, perSecond * burstSeconds);
  return [new Bucket(perSecond, capacity), new Bucket(perSecond, capacity)];
}
