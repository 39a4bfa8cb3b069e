import { createCipheriv, createDecipheriv } from "node:crypto";

/** AEAD_AES_256_GCM and AEAD_AES_128_GCM (RFC 5116 §5.1), as JOSE and coturn's key tables write them. */
export type AccessTokenAlgorithm = "A256GCM" | "A128GCM";

/** What a self-contained token says (RFC 7635 §6.2). */
export interface AccessTokenClaims {
  /** The session's key for MESSAGE-INTEGRITY: 20 bytes for SHA-1, 32 for SHA-256. */
  readonly macKey: Uint8Array;
  /** When the token was made, in wall-clock milliseconds; the wire has 1/64,000 s. */
  readonly issuedAtUnixMs: number;
  readonly lifetimeSeconds: number;
}

/** The key of authorization server and relay, and what the token is bound to. */
export interface AccessTokenSealOptions {
  readonly algorithm: AccessTokenAlgorithm;
  /** 32 bytes for `A256GCM`, 16 for `A128GCM`. */
  readonly key: Uint8Array;
  /** The STUN server's name, as THIRD-PARTY-AUTHORIZATION has it: authenticated with the token. */
  readonly serverName: string;
}

/** Key lengths in bytes. */
export const ACCESS_TOKEN_KEY_LENGTHS: Readonly<Record<AccessTokenAlgorithm, number>> = { A256GCM: 32, A128GCM: 16 };

/** Bytes that are no token: where and why. `sealed` means that it was made with another key, or altered. */
export interface AccessTokenError {
  readonly code: "tooShort" | "badNonceLength" | "sealed" | "badKeyLength";
  /** Into the token; for `badKeyLength` into its decrypted block. */
  readonly offset: number;
}

export type AccessTokenResult =
  | { readonly ok: true; readonly claims: AccessTokenClaims }
  | { readonly ok: false; readonly error: AccessTokenError };

const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;
const MIN_MAC_KEY_LENGTH = 20;
const MAX_MAC_KEY_LENGTH = 64;
/** nonce_length, nonce, the smallest block (key_length, mac_key, timestamp, lifetime), tag. */
const MIN_TOKEN_LENGTH = 2 + NONCE_LENGTH + 2 + MIN_MAC_KEY_LENGTH + 8 + 4 + TAG_LENGTH;

/** Opens a self-contained token (RFC 7635 §6.2). Never throws on wire data. */
export function openAccessToken(token: Uint8Array, options: AccessTokenSealOptions): AccessTokenResult {
  if (token.length < MIN_TOKEN_LENGTH) return refuse("tooShort", token.length);
  const view = new DataView(token.buffer, token.byteOffset, token.byteLength);
  if (view.getUint16(0) !== NONCE_LENGTH) return refuse("badNonceLength", 0);
  const block = decrypt(token, options);
  if (block === undefined) return refuse("sealed", 2 + NONCE_LENGTH);

  const macKeyLength = block.readUInt16BE(0);
  if (macKeyLength < MIN_MAC_KEY_LENGTH || macKeyLength > MAX_MAC_KEY_LENGTH || block.length !== macKeyLength + 14) {
    return refuse("badKeyLength", 0);
  }
  const seconds = block.readUIntBE(2 + macKeyLength, 6);
  const fraction = block.readUInt16BE(8 + macKeyLength);
  return {
    ok: true,
    claims: {
      macKey: Uint8Array.from(block.subarray(2, 2 + macKeyLength)),
      issuedAtUnixMs: seconds * 1000 + fraction / FRACTIONS_PER_MS,
      lifetimeSeconds: block.readUInt32BE(10 + macKeyLength),
    },
  };
}

/**
 * Makes a self-contained token (RFC 7635 §6.2), as an authorization server does.
 *
 * @param options.nonce 12 bytes, never twice with the same key
 * @throws RangeError if nonce, key or MAC key has a wrong length, or a time is out of range
 */
export function sealAccessToken(
  claims: AccessTokenClaims,
  options: AccessTokenSealOptions & { readonly nonce: Uint8Array },
): Uint8Array {
  const { macKey, issuedAtUnixMs, lifetimeSeconds } = claims;
  if (options.nonce.length !== NONCE_LENGTH) throw new RangeError("Cannot seal the token: the nonce must be 12 bytes");
  if (macKey.length < MIN_MAC_KEY_LENGTH || macKey.length > MAX_MAC_KEY_LENGTH) {
    throw new RangeError("Cannot seal the token: the MAC key must be 20 to 64 bytes");
  }
  const seconds = Math.floor(issuedAtUnixMs / 1000);
  const block = Buffer.alloc(macKey.length + 14);
  block.writeUInt16BE(macKey.length, 0);
  block.set(macKey, 2);
  block.writeUIntBE(seconds, 2 + macKey.length, 6);
  block.writeUInt16BE(Math.floor((issuedAtUnixMs - seconds * 1000) * FRACTIONS_PER_MS), 8 + macKey.length);
  block.writeUInt32BE(lifetimeSeconds, 10 + macKey.length);

  const cipher = createCipheriv(cipherOf(options), options.key, options.nonce);
  cipher.setAAD(Buffer.from(options.serverName));
  const sealed = Buffer.concat([cipher.update(block), cipher.final(), cipher.getAuthTag()]);
  return Buffer.concat([Uint8Array.of(0, NONCE_LENGTH), options.nonce, sealed]);
}

/** The fraction of a second is counted in 1/64,000. */
const FRACTIONS_PER_MS = 64;

function decrypt(token: Uint8Array, options: AccessTokenSealOptions): Buffer | undefined {
  const nonce = token.subarray(2, 2 + NONCE_LENGTH);
  const decipher = createDecipheriv(cipherOf(options), options.key, nonce, { authTagLength: TAG_LENGTH });
  decipher.setAAD(Buffer.from(options.serverName));
  decipher.setAuthTag(token.subarray(-TAG_LENGTH));
  const opened = decipher.update(token.subarray(2 + NONCE_LENGTH, -TAG_LENGTH));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return opened;
}

function cipherOf({ algorithm }: AccessTokenSealOptions): "aes-256-gcm" | "aes-128-gcm" {
  return algorithm === "A256GCM" ? "aes-256-gcm" : "aes-128-gcm";
}

function refuse(code: AccessTokenError["code"], offset: number): AccessTokenResult {
  return { ok: false, error: { code, offset } };
}
