import type { StunCrypto, TransportAddress } from "@turnpike/stun";
import { readBase64, writeBase64 } from "./base64.ts";

/** RFC 8489 §9.2: what a nonce of a server that knows that specification begins with. */
const NONCE_COOKIE = "obMatJos2";
const COOKIE_LENGTH = NONCE_COOKIE.length + 4;
const MAC_LENGTH = 12;
/** 22 digits for time and MAC. */
const NONCE_LENGTH = COOKIE_LENGTH + 22;

/** RFC 8489 §18.1: bits of the STUN Security Features. */
const FEATURE_PASSWORD_ALGORITHMS = 0x800000;
const FEATURE_USERNAME_ANONYMITY = 0x400000;

/** What a nonce told: `stale` ones were ours, `forged` ones never were, or belong to another address. */
export type NonceState = "valid" | "stale" | "forged";

/**
 * Stateless nonces: the time and a keyed hash of it, the security features and the client's address and port
 * (RFC 8489 §9.2.4: no two addresses may share one). Whoever has the key can check what any other engine gave out.
 */
export class Nonces {
  readonly #key: Uint8Array;
  readonly #crypto: StunCrypto;
  readonly #lifetimeMs: number;
  /** In ASCII. */
  readonly #cookie = new Uint8Array(COOKIE_LENGTH);
  /** Scratch: what a nonce says in Base64. */
  readonly #body = new Uint8Array(4 + MAC_LENGTH);
  /** Scratch: seconds (4), address (16), port (2), listener is left out so that a client may change transport. */
  readonly #input = new Uint8Array(22 + COOKIE_LENGTH);
  readonly #view = new DataView(this.#input.buffer);
  readonly #chunks = [this.#input];

  constructor(options: {
    readonly key: Uint8Array;
    readonly crypto: StunCrypto;
    readonly lifetimeSeconds: number;
    readonly usernameAnonymity: boolean;
  }) {
    if (options.key.length < 32) throw new RangeError("The nonce key must have at least 32 bytes");
    this.#key = options.key;
    this.#crypto = options.crypto;
    this.#lifetimeMs = options.lifetimeSeconds * 1000;
    const features = FEATURE_PASSWORD_ALGORITHMS | (options.usernameAnonymity ? FEATURE_USERNAME_ANONYMITY : 0);
    const bytes = Uint8Array.of(features >>> 16, (features >>> 8) & 0xff, features & 0xff);
    for (let i = 0; i < NONCE_COOKIE.length; i++) this.#cookie[i] = NONCE_COOKIE.charCodeAt(i);
    // The same digits in both alphabets: no set of these bits has one of the last two.
    writeBase64(bytes, this.#cookie, NONCE_COOKIE.length);
    this.#input.set(this.#cookie, 22);
  }

  /** The value of a NONCE for a client, good for the configured lifetime. */
  issue(client: TransportAddress, unixMs: number): Uint8Array {
    const seconds = Math.floor(unixMs / 1000) >>> 0;
    const value = new Uint8Array(NONCE_LENGTH);
    value.set(this.#cookie);
    writeUint32(this.#body, seconds);
    const mac = this.#mac(client, seconds);
    for (let i = 0; i < MAC_LENGTH; i++) this.#body[4 + i] = mac[i]!;
    writeBase64(this.#body, value, COOKIE_LENGTH);
    return value;
  }

  /** What the NONCE of a client that stands in `bytes[offset, offset + length)` is worth. */
  check(bytes: Uint8Array, offset: number, length: number, client: TransportAddress, unixMs: number): NonceState {
    if (length !== NONCE_LENGTH) return "forged";
    for (let i = 0; i < COOKIE_LENGTH; i++) if (bytes[offset + i] !== this.#cookie[i]) return "forged";
    const body = this.#body;
    if (!readBase64(bytes, offset + COOKIE_LENGTH, body)) return "forged";
    const seconds = readUint32(body);
    const expected = this.#mac(client, seconds);
    let difference = 0;
    for (let i = 0; i < MAC_LENGTH; i++) difference |= expected[i]! ^ body[4 + i]!;
    return difference === 0 ? this.#ageOf(seconds, unixMs) : "forged";
  }

  /** What a client's NONCE is worth at this moment that {@link Nonces.check} knew as one of ours before. */
  checkAgain(nonce: Uint8Array, unixMs: number): NonceState {
    return readBase64(nonce, COOKIE_LENGTH, this.#body) ? this.#ageOf(readUint32(this.#body), unixMs) : "forged";
  }

  #ageOf(seconds: number, unixMs: number): NonceState {
    const ageMs = unixMs - seconds * 1000;
    return ageMs >= 0 && ageMs < this.#lifetimeMs ? "valid" : "stale";
  }

  /** Of which the first {@link MAC_LENGTH} bytes count. */
  #mac(client: TransportAddress, seconds: number): Uint8Array {
    const view = this.#view;
    view.setUint32(0, seconds);
    view.setInt32(4, client.w0);
    view.setInt32(8, client.w1);
    view.setInt32(12, client.w2);
    view.setInt32(16, client.w3);
    view.setUint16(20, client.port);
    return this.#crypto.hmac("sha256", this.#key, this.#chunks);
  }
}

function readUint32(bytes: Uint8Array): number {
  return ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
}

function writeUint32(bytes: Uint8Array, value: number): void {
  bytes[0] = value >>> 24;
  bytes[1] = value >>> 16;
  bytes[2] = value >>> 8;
  bytes[3] = value;
}
