import { findAttribute } from "./attributes/codec.ts";
import { constantTimeEqual, readUint16, writeUint16 } from "./bytes.ts";
import type { StunCrypto } from "./crypto.ts";
import { ATTRIBUTE_HEADER_LENGTH, HEADER_LENGTH } from "./header.ts";
import type { StunMessage } from "./message.ts";
import { attributes } from "./registry/attributes.ts";

/** `sha1` is MESSAGE-INTEGRITY (RFC 8489 §14.5), `sha256` MESSAGE-INTEGRITY-SHA256 (§14.6). */
export type IntegrityAlgorithm = "sha1" | "sha256";

/** What an integrity attribute is checked with. */
export interface VerifyIntegrityOptions {
  readonly algorithm: IntegrityAlgorithm;
  /** See {@link longTermKey}; for short-term credentials the UTF-8 of the OpaqueString password. */
  readonly key: Uint8Array;
  readonly crypto: StunCrypto;
  /**
   * The shortest MESSAGE-INTEGRITY-SHA256 that is accepted: 16–32 bytes. Default 32, as a usage that defines no
   * truncation must not use any (RFC 8489 §14.6).
   */
  readonly minimumBytes?: number;
}

/** Which integrity attributes the message has, right or wrong. */
export function integrityAlgorithms(message: StunMessage): { readonly sha1: boolean; readonly sha256: boolean } {
  return {
    sha1: findAttribute(message, INTEGRITY.sha1) !== undefined,
    sha256: findAttribute(message, INTEGRITY.sha256) !== undefined,
  };
}

/** Whether the message has the integrity attribute of `algorithm`, made with `key`. Compares in constant time. */
export function verifyIntegrity(message: StunMessage, options: VerifyIntegrityOptions): boolean {
  const { algorithm, key, crypto, minimumBytes = 32 } = options;
  const attribute = findAttribute(message, INTEGRITY[algorithm]);
  if (attribute === undefined) return false;
  const { value, offset } = attribute;
  const full = INTEGRITY[algorithm].length;
  const shortest = algorithm === "sha1" ? full : Math.max(SHORTEST_SHA256, minimumBytes);
  if (value.length < shortest || value.length > full || value.length % 4 !== 0) return false;
  const expected = integrityOf(message.bytes, offset, value.length, { algorithm, key, crypto });
  return constantTimeEqual(expected, value);
}

/**
 * The value of the integrity attribute that stands, or is going to stand, at `offset` of the message `bytes`. The
 * HMAC covers what is before it, with the length field as if the message ended behind it (RFC 8489 §14.5).
 */
export function integrityOf(
  bytes: Uint8Array,
  offset: number,
  valueLength: number,
  { algorithm, key, crypto }: Pick<VerifyIntegrityOptions, "algorithm" | "key" | "crypto">,
): Uint8Array {
  const coveredLength = offset + ATTRIBUTE_HEADER_LENGTH + valueLength - HEADER_LENGTH;
  const hmac =
    readUint16(bytes, 2) === coveredLength
      ? crypto.hmac(algorithm, key, [bytes.subarray(0, offset)])
      : crypto.hmac(algorithm, key, [headerWithLength(bytes, coveredLength), bytes.subarray(HEADER_LENGTH, offset)]);
  return valueLength === hmac.length ? hmac : hmac.subarray(0, valueLength);
}

/** Type and full length of the two integrity attributes. */
export const INTEGRITY: Readonly<Record<IntegrityAlgorithm, { readonly type: number; readonly length: number }>> = {
  sha1: { type: attributes.messageIntegrity.number, length: 20 },
  sha256: { type: attributes.messageIntegritySha256.number, length: 32 },
};

/** RFC 8489 §14.6: "MUST be at least 16 bytes". */
export const SHORTEST_SHA256 = 16;

function headerWithLength(bytes: Uint8Array, length: number): Uint8Array {
  const header = bytes.slice(0, HEADER_LENGTH);
  writeUint16(header, 2, length);
  return header;
}
