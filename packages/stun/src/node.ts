import * as crypto from "node:crypto";
import type { StunCrypto } from "./crypto.ts";

/** {@link StunCrypto} by `node:crypto`. */
export const nodeCrypto: StunCrypto = {
  hmac(algorithm, key, chunks) {
    let length = 0;
    for (const chunk of chunks) length += chunk.length;
    return length > LONGEST_IN_SCRATCH || key.length > BLOCK
      ? streamed(algorithm, key, chunks)
      : oneShot(algorithm, key, chunks);
  },
  digest(algorithm, data) {
    return crypto.hash(algorithm, data, "buffer");
  },
};

type HmacOf = StunCrypto["hmac"];

/** The block of SHA-1 and of SHA-256. */
const BLOCK = 64;
/** Longer messages are rare, and their hash costs more than the object that makes it. */
const LONGEST_IN_SCRATCH = 2048;
const DIGEST_LENGTHS = { sha1: 20, sha256: 32 } as const;

const scratch = new Uint8Array(BLOCK + LONGEST_IN_SCRATCH);
/** `scratch` up to each length that was hashed: a view costs more than the hash of its bytes. */
const starts: (Uint8Array | undefined)[] = [];
const outer = {
  sha1: new Uint8Array(BLOCK + DIGEST_LENGTHS.sha1),
  sha256: new Uint8Array(BLOCK + DIGEST_LENGTHS.sha256),
} as const;

const streamed: HmacOf = (algorithm, key, chunks) => {
  const hmac = crypto.createHmac(algorithm, key);
  for (const chunk of chunks) hmac.update(chunk);
  return hmac.digest();
};

/**
 * RFC 2104 §2 by two plain hashes: each is one call without an object to be collected later, which costs half of what
 * a stream of `node:crypto` does. Digests cross as Latin-1, a character for a byte: so short a string is cheaper to make
 * than a buffer of its own memory.
 */
const oneShot: HmacOf = (algorithm, key, chunks) => {
  const last = outer[algorithm];
  for (let at = 0; at < BLOCK; at++) {
    const byte = at < key.length ? key[at]! : 0;
    scratch[at] = byte ^ 0x36;
    last[at] = byte ^ 0x5c;
  }
  let end = BLOCK;
  for (const chunk of chunks) {
    scratch.set(chunk, end);
    end += chunk.length;
  }
  write(crypto.hash(algorithm, (starts[end] ??= scratch.subarray(0, end)), "latin1"), last, BLOCK);
  const result = new Uint8Array(DIGEST_LENGTHS[algorithm]);
  write(crypto.hash(algorithm, last, "latin1"), result, 0);
  return result;
};

function write(latin1: string, into: Uint8Array, offset: number): void {
  for (let at = 0; at < latin1.length; at++) into[offset + at] = latin1.charCodeAt(at);
}
