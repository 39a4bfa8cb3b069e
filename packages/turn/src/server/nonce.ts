import type { StunCrypto, TransportAddress } from "@turnpike/stun";
import { fromBase64, STANDARD, toBase64, URL_SAFE } from "./base64.ts";

/** RFC 8489 §9.2: what a nonce of a server that knows that specification begins with. */
const NONCE_COOKIE = "obMatJos2";
const COOKIE_LENGTH = NONCE_COOKIE.length + 4;
const MAC_LENGTH = 12;

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
  readonly #cookie: string;
  /** Scratch: seconds (4), address (16), port (2), listener is left out so that a client may change transport. */
  readonly #input = new Uint8Array(22 + COOKIE_LENGTH);
  readonly #view = new DataView(this.#input.buffer);

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
    this.#cookie = NONCE_COOKIE + toBase64(bytes, STANDARD);
    for (let i = 0; i < COOKIE_LENGTH; i++) this.#input[22 + i] = this.#cookie.charCodeAt(i);
  }

  /** A nonce for a client, good for the configured lifetime. */
  issue(client: TransportAddress, unixMs: number): string {
    const seconds = Math.floor(unixMs / 1000) >>> 0;
    const body = new Uint8Array(4 + MAC_LENGTH);
    new DataView(body.buffer).setUint32(0, seconds);
    body.set(this.#mac(client, seconds), 4);
    return this.#cookie + toBase64(body, URL_SAFE);
  }

  /** What a client's nonce is worth. */
  check(nonce: string, client: TransportAddress, unixMs: number): NonceState {
    if (nonce.length !== COOKIE_LENGTH + 22 || !nonce.startsWith(this.#cookie)) return "forged";
    const body = fromBase64(nonce, COOKIE_LENGTH, 4 + MAC_LENGTH);
    if (body === undefined) return "forged";
    const seconds = new DataView(body.buffer).getUint32(0);
    const expected = this.#mac(client, seconds);
    let difference = 0;
    for (let i = 0; i < MAC_LENGTH; i++) difference |= expected[i]! ^ body[4 + i]!;
    if (difference !== 0) return "forged";
    const ageMs = unixMs - seconds * 1000;
    return ageMs >= 0 && ageMs < this.#lifetimeMs ? "valid" : "stale";
  }

  #mac(client: TransportAddress, seconds: number): Uint8Array {
    const view = this.#view;
    view.setUint32(0, seconds);
    view.setInt32(4, client.w0);
    view.setInt32(8, client.w1);
    view.setInt32(12, client.w2);
    view.setInt32(16, client.w3);
    view.setUint16(20, client.port);
    return this.#crypto.hmac("sha256", this.#key, [this.#input]).subarray(0, MAC_LENGTH);
  }
}
