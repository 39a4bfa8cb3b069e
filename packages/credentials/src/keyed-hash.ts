import { ambient } from "./ambient.ts";
import { concat } from "./bytes.ts";

/** Hashes for the keyed hash of a shared secret. coturn and the TURN REST draft mean `sha1`. */
export type KeyedHashAlgorithm = "sha1" | "sha256";

/** The hashes that credentials need, as promises: what Web Crypto can do. {@link webCrypto} is one. */
export interface KeyedHash {
  /** HMAC over the concatenation of `chunks`: 20 bytes for `sha1`, 32 for `sha256` (RFC 2104). */
  hmac(algorithm: KeyedHashAlgorithm, key: Uint8Array, chunks: readonly Uint8Array[]): Promise<Uint8Array>;
  /** SHA-256: 32 bytes. */
  digest(algorithm: "sha256", data: Uint8Array): Promise<Uint8Array>;
}

/**
 * The same hashes, at once: what a relay needs, which must answer a request before it reads the next.
 * Every `StunCrypto` of `@turnpike/stun` is one; `@turnpike/stun/node` has it on `node:crypto`.
 */
export interface SyncKeyedHash {
  /** As {@link KeyedHash.hmac}. */
  hmac(algorithm: KeyedHashAlgorithm, key: Uint8Array, chunks: readonly Uint8Array[]): Uint8Array;
  /** As {@link KeyedHash.digest}. */
  digest(algorithm: "sha256", data: Uint8Array): Uint8Array;
}

/** {@link KeyedHash} on the `crypto.subtle` of browsers, workers, Node and Deno. */
export const webCrypto: KeyedHash = {
  async hmac(algorithm, key, chunks) {
    const { subtle } = ambient.crypto;
    const hash = algorithm === "sha1" ? "SHA-1" : "SHA-256";
    const imported = await subtle.importKey("raw", concat([key]), { name: "HMAC", hash }, false, ["sign"]);
    return new Uint8Array(await subtle.sign("HMAC", imported, concat(chunks)));
  },
  async digest(_algorithm, data) {
    return new Uint8Array(await ambient.crypto.subtle.digest("SHA-256", concat([data])));
  },
};

/** `Value` at once or later, as the keyed hash is. */
export type Hashed<Value> = Value | Promise<Value>;

/** `then`, for what may be at hand already: one code for both kinds of keyed hash. */
export function whenHashed<In, Out>(value: Hashed<In>, next: (value: In) => Hashed<Out>): Hashed<Out> {
  return value instanceof Promise ? value.then(next) : next(value);
}
