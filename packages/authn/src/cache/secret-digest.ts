import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import type { Secret } from "../core/secret.ts";
import { Limiter } from "../verifiers/limiter.ts";

/** Makes what may be kept of a secret. */
export interface SecretDigester {
  /** A fresh salt, from a cryptographic source. */
  salt(): Uint8Array;
  /**
   * A digest that is slow on purpose, made off the event loop.
   *
   * @throws OverloadedError if too many are being made
   */
  digest(secret: Secret, salt: Uint8Array): Promise<Uint8Array>;
}

/** How hard scrypt (RFC 7914) works, and how much of it at once. */
export interface ScryptDigesterOptions {
  /** N, a power of two. Memory is `128 · N · 8` bytes a digest. Default 4096: 4 MiB, some 8 ms. */
  readonly cost?: number;
  /** Digests made at once. Default 2: half of libuv's four threads stay free for files and names. */
  readonly maxActive?: number;
  /** Digests that may wait. Default 2048. */
  readonly maxQueued?: number;
}

const SALT_BYTES = 16;
const DIGEST_BYTES = 32;
const BLOCK_SIZE = 8;
const MIN_COST = 1024;
const MAX_COST = 2 ** 17;

/** scrypt on libuv's threads. */
export class ScryptDigester implements SecretDigester {
  readonly #cost: number;
  readonly #limiter: Limiter;

  /** @throws RangeError if `cost` is not a power of two from 1,024 to 131,072 */
  constructor({ cost = 4096, maxActive = 2, maxQueued = 2048 }: ScryptDigesterOptions = {}) {
    if (!Number.isInteger(Math.log2(cost)) || cost < MIN_COST || cost > MAX_COST) {
      throw new RangeError(`Cannot use scrypt at cost ${cost}: use a power of two from ${MIN_COST} to ${MAX_COST}`);
    }
    this.#cost = cost;
    this.#limiter = new Limiter({ maxActive, maxQueued });
  }

  salt(): Uint8Array {
    return randomBytes(SALT_BYTES);
  }

  digest(secret: Secret, salt: Uint8Array): Promise<Uint8Array> {
    return this.#limiter.run(
      () =>
        new Promise((resolve, reject) => {
          const clear = secret.revealBytes();
          const options = { N: this.#cost, r: BLOCK_SIZE, p: 1, maxmem: 256 * this.#cost * BLOCK_SIZE };
          scrypt(clear, salt, DIGEST_BYTES, options, (error, digest) => {
            clear.fill(0);
            if (error === null) resolve(digest);
            else reject(error);
          });
        }),
    );
  }
}

/** Whether two digests are the same, in a time that doesn't tell where they differ. */
export function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
