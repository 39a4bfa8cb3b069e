import { encodeUtf8, type StunCrypto } from "@turnpike/stun";

const HANDLE_LENGTH = 4;
const TOKEN_LENGTH = 8;

/**
 * RESERVATION-TOKENs (RFC 8656 §18.10): the handle under which the relay holds a port, and a keyed hash of it and of
 * the actor. Any engine with the key can read one, so a reservation is the relay's and not an engine's; another
 * user's token opens nothing.
 */
export class ReservationTokens {
  readonly #key: Uint8Array;
  readonly #crypto: StunCrypto;

  constructor(options: { readonly key: Uint8Array; readonly crypto: StunCrypto }) {
    this.#key = options.key;
    this.#crypto = options.crypto;
  }

  /** A token for the holder of `handle` (an unsigned 32-bit integer). */
  issue(handle: number, actor: string): Uint8Array {
    const token = new Uint8Array(TOKEN_LENGTH);
    new DataView(token.buffer).setUint32(0, handle);
    token.set(this.#mac(token.subarray(0, HANDLE_LENGTH), actor), HANDLE_LENGTH);
    return token;
  }

  /** The handle of a token that this relay gave to this actor, or undefined. */
  open(token: Uint8Array, actor: string): number | undefined {
    if (token.length !== TOKEN_LENGTH) return undefined;
    const handle = token.subarray(0, HANDLE_LENGTH);
    const expected = this.#mac(handle, actor);
    let difference = 0;
    for (let i = 0; i < expected.length; i++) {
      difference |= expected[i]! ^ token[HANDLE_LENGTH + i]!;
    }
    return difference === 0 ? new DataView(token.buffer, token.byteOffset).getUint32(0) : undefined;
  }

  #mac(handle: Uint8Array, actor: string): Uint8Array {
    const label = encodeUtf8(`reservation:${actor}`);
    return this.#crypto.hmac("sha256", this.#key, [handle, label]).subarray(0, TOKEN_LENGTH - HANDLE_LENGTH);
  }
}
