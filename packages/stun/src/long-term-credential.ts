import type { StunCrypto } from "./crypto.ts";
import { opaqueString } from "./opaque-string.ts";
import { encodeUtf8 } from "./utf8.ts";

/** Who a long-term key is for, and how it is made (RFC 8489 §9.2.2). */
export interface LongTermKeyOptions {
  readonly algorithm: "md5" | "sha256";
  /** As it was proven or configured: an OpaqueString already. */
  readonly username: string;
  readonly realm: string;
  readonly password: string;
  readonly crypto: StunCrypto;
}

/**
 * The key of a long-term credential: 16 bytes for `md5`, 32 for `sha256` (RFC 8489 §18.5.1). Realm and password are
 * prepared with {@link opaqueString} first.
 *
 * @throws TypeError if realm or password is not an OpaqueString. Neither is in the message.
 */
export function longTermKey({ algorithm, username, realm, password, crypto }: LongTermKeyOptions): Uint8Array {
  const text = `${username}:${prepare("realm", realm)}:${prepare("password", password)}`;
  return crypto.digest(algorithm, encodeUtf8(text));
}

/**
 * The value of USERHASH: SHA-256 of `OpaqueString(username) ":" OpaqueString(realm)`, 32 bytes (RFC 8489 §14.4).
 *
 * @throws TypeError if user name or realm is not an OpaqueString.
 */
export function userhashOf({
  username,
  realm,
  crypto,
}: Pick<LongTermKeyOptions, "username" | "realm" | "crypto">): Uint8Array {
  return crypto.digest("sha256", encodeUtf8(`${prepare("user name", username)}:${prepare("realm", realm)}`));
}

function prepare(what: string, text: string): string {
  const prepared = opaqueString(text);
  if (prepared === undefined) {
    throw new TypeError(
      `Cannot use this ${what}: it is empty or has characters that OpaqueString (RFC 8265) rules out`,
    );
  }
  return prepared;
}
