import type { IpAddress } from "@turnpike/stun";

const BUCKETS = 4096;
/** A burst of this many seconds' worth of bytes is let through. */
const BURST_SECONDS = 4;

/**
 * Caps the bytes that unauthenticated senders are answered with, per address prefix (/24, /56), so that the relay
 * is no amplifier. Token buckets in a table of fixed size: a million spoofed prefixes take no more memory than one.
 * Prefixes may share a bucket; the seed keeps outsiders from choosing which.
 */
export class ReplyLimiter {
  #bytesPerMs: number;
  #capacity: number;
  readonly #seed: number;
  readonly #tokens = new Float64Array(BUCKETS);
  readonly #filledAtMs = new Float64Array(BUCKETS);
  /** Replies that were not sent. */
  suppressed = 0;

  constructor(options: { readonly bytesPerSecond: number; readonly seed: number }) {
    this.#bytesPerMs = options.bytesPerSecond / 1000;
    this.#capacity = options.bytesPerSecond * BURST_SECONDS;
    this.#seed = options.seed | 0;
    this.#tokens.fill(this.#capacity);
  }

  /** Sets the rate for what comes from here on. */
  configure(bytesPerSecond: number): void {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#capacity = bytesPerSecond * BURST_SECONDS;
  }

  /** Whether a reply of `bytes` may be sent to `client`. Takes the tokens if so. */
  admit(client: IpAddress, bytes: number, monotonicMs: number): boolean {
    if (this.#capacity === Infinity) return true;
    const bucket = prefixHash(client, this.#seed) & (BUCKETS - 1);
    const elapsedMs = Math.max(0, monotonicMs - this.#filledAtMs[bucket]!);
    const tokens = Math.min(this.#capacity, this.#tokens[bucket]! + elapsedMs * this.#bytesPerMs);
    this.#filledAtMs[bucket] = monotonicMs;
    if (tokens < bytes) {
      this.#tokens[bucket] = tokens;
      this.suppressed++;
      return false;
    }
    this.#tokens[bucket] = tokens - bytes;
    return true;
  }
}

/** A hash of the /24 (IPv4) or /56 (IPv6) that an address lies in. */
export function prefixHash(ip: IpAddress, seed: number): number {
  const first = ip.family === 4 ? ip.w3 & ~0xff : ip.w0;
  const second = ip.family === 4 ? 4 : ip.w1 & ~0xff;
  let hash = Math.imul(seed ^ first, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15) ^ second, 0xc2b2ae35 | 0);
  return (hash ^ (hash >>> 16)) >>> 0;
}
