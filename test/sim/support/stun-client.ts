import {
  attribute,
  decodeMessage,
  encodeMessage,
  errorCode,
  getAttribute,
  longTermKey,
  nonce,
  passwordAlgorithm,
  passwordAlgorithms,
  realm,
  userhash,
  userhashOf,
  username,
  type EncodedAttribute,
  type Method,
  type StunMessage,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import type { SeededRandom } from "./random.ts";

/** How a test client authenticates. */
export interface ClientCredentials {
  readonly username: string;
  readonly password: string;
  /** Which PASSWORD-ALGORITHM to use; absent: none is named, as RFC 5389 clients do. */
  readonly algorithm?: "md5" | "sha256";
  readonly anonymous?: boolean;
}

/** Makes requests byte by byte, so that tests may also make wrong ones. */
export class StunClient {
  readonly credentials: ClientCredentials;
  readonly #random: SeededRandom;
  realm = "";
  nonce = "";
  offered: readonly { readonly algorithm: number; readonly parameters: Uint8Array }[] = [];

  constructor(credentials: ClientCredentials, random: SeededRandom) {
    this.credentials = credentials;
    this.#random = random;
  }

  /** A request without credentials. */
  plain(method: Method, attributes: readonly EncodedAttribute[] = [], fingerprint = false): Uint8Array {
    return encodeMessage({
      class: "request",
      method,
      transactionId: this.#random.bytes(12),
      attributes,
      fingerprint,
    });
  }

  /** A request with credentials, after `learn` took a challenge. */
  signed(
    method: Method,
    attributes: readonly EncodedAttribute[] = [],
    overrides: Partial<{ username: string; password: string; nonce: string; realm: string }> = {},
  ): Uint8Array {
    const { algorithm, anonymous } = this.credentials;
    const name = overrides.username ?? this.credentials.username;
    const usedRealm = overrides.realm ?? this.realm;
    const all: EncodedAttribute[] = [...attributes];
    if (anonymous === true) {
      all.push(attribute(userhash, userhashOf({ username: name, realm: usedRealm, crypto: nodeCrypto })));
    } else {
      all.push(attribute(username, name));
    }
    all.push(attribute(realm, usedRealm), attribute(nonce, overrides.nonce ?? this.nonce));
    if (algorithm !== undefined) {
      all.push(
        attribute(passwordAlgorithms, this.offered),
        attribute(passwordAlgorithm, { algorithm: algorithm === "md5" ? 1 : 2, parameters: new Uint8Array(0) }),
      );
    }
    return encodeMessage({
      class: "request",
      method,
      transactionId: this.#random.bytes(12),
      attributes: all,
      integrity: {
        algorithm: algorithm === undefined ? "sha1" : "sha256",
        key: this.key(name, overrides.password ?? this.credentials.password),
        crypto: nodeCrypto,
      },
    });
  }

  /** An indication. */
  indication(method: Method, attributes: readonly EncodedAttribute[]): Uint8Array {
    return encodeMessage({
      class: "indication",
      method,
      transactionId: this.#random.bytes(12),
      attributes,
      fingerprint: false,
    });
  }

  key(name: string = this.credentials.username, password: string = this.credentials.password): Uint8Array {
    return longTermKey({
      algorithm: this.credentials.algorithm ?? "md5",
      username: name,
      realm: this.realm,
      password,
      crypto: nodeCrypto,
    });
  }

  /** Takes realm, nonce and offered algorithms from a 401 or 438. */
  learn(message: StunMessage): void {
    const givenRealm = getAttribute(message, realm);
    const givenNonce = getAttribute(message, nonce);
    const offered = getAttribute(message, passwordAlgorithms);
    if (givenRealm?.ok) this.realm = givenRealm.value;
    if (givenNonce?.ok) this.nonce = givenNonce.value;
    if (offered?.ok) this.offered = offered.value;
  }
}

/** Decodes what must be a STUN message. */
export function stunOf(bytes: Uint8Array): StunMessage {
  const decoded = decodeMessage(bytes);
  if (!decoded.ok) throw new Error(`Not a STUN message: ${decoded.error.code} at ${decoded.error.offset}`);
  return decoded.message;
}

/** `success` or the error code of an answer. */
export function outcomeOf(message: StunMessage): "success" | number {
  if (message.class === "success") return "success";
  const code = getAttribute(message, errorCode);
  if (!code?.ok) throw new Error("An error answer must carry ERROR-CODE");
  return code.value.code;
}
