/**
 * The keyed and plain hashes that STUN needs, injected so that this room runs anywhere.
 * All are synchronous. `@turnpike/stun/node` implements them by `node:crypto`.
 */
export interface StunCrypto {
  /** HMAC over the concatenation of `chunks`: 20 bytes for `sha1`, 32 for `sha256` (RFC 2104). */
  hmac(algorithm: "sha1" | "sha256", key: Uint8Array, chunks: readonly Uint8Array[]): Uint8Array;
  /** Plain digest: 16 bytes for `md5`, 32 for `sha256`. */
  digest(algorithm: "md5" | "sha256", data: Uint8Array): Uint8Array;
}
