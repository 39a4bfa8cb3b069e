import {
  accessToken,
  attribute,
  getAttribute,
  longTermKey,
  nonce,
  opaqueString,
  passwordAlgorithm,
  passwordAlgorithmNumbers,
  passwordAlgorithms,
  realm,
  thirdPartyAuthorization,
  userhash,
  userhashOf,
  username,
  type EncodedAttribute,
  type MessageIntegrity,
  type PasswordAlgorithm,
  type StunCrypto,
  type StunMessage,
} from "@turnpike/stun";
import type { ClientCredentials } from "./contract.ts";
import type { ClientFailure } from "./failure.ts";

/** What makes a request an authenticated one. */
export interface Signature {
  readonly attributes: readonly EncodedAttribute[];
  readonly integrity: MessageIntegrity;
  /** Which challenge it rests on: whether a 401 says something new. */
  readonly realm: string;
}

/** What a challenge taught: nothing, if the request may be tried again. */
export type Learned = ClientFailure | undefined;

/** The client's side of the long-term credential mechanism with one server (RFC 8489 §9.2). */
export class Session {
  readonly #crypto: StunCrypto;
  readonly #credentials: ClientCredentials | undefined;
  #challenge: Challenge | undefined;
  #key: { readonly realm: string; readonly algorithm: "md5" | "sha256"; readonly key: Uint8Array } | undefined;

  /**
   * @throws TypeError if user name or password is not an OpaqueString (RFC 8265 §4).
   */
  constructor(options: { readonly crypto: StunCrypto; readonly credentials: ClientCredentials | undefined }) {
    this.#crypto = options.crypto;
    this.#credentials = options.credentials === undefined ? undefined : prepare(options.credentials);
  }

  /** A session with the same server on another connection, whose nonces may be others. */
  fork(): Session {
    const session = new Session({ crypto: this.#crypto, credentials: this.#credentials });
    session.#challenge = this.#challenge;
    session.#key = this.#key;
    return session;
  }

  /** Another server: realm and nonce are its own, the credentials stay (RFC 8489 §10). */
  reset(): void {
    this.#challenge = undefined;
    this.#key = undefined;
  }

  /** Undefined before the first challenge: the request goes without credentials (RFC 8489 §9.2.3.1). */
  sign(): Signature | undefined {
    const challenge = this.#challenge;
    const credentials = this.#credentials;
    if (challenge === undefined || credentials === undefined) return undefined;
    const name = credentials.kind === "password" ? credentials.username : credentials.keyId;
    const attributes = [
      challenge.anonymous
        ? attribute(userhash, userhashOf({ username: name, realm: challenge.realm, crypto: this.#crypto }))
        : attribute(username, name),
      attribute(realm, challenge.realm),
      attribute(nonce, challenge.nonce),
    ];
    if (credentials.kind === "accessToken") attributes.push(attribute(accessToken, credentials.accessToken));
    if (challenge.offered !== undefined) {
      attributes.push(
        attribute(passwordAlgorithms, challenge.offered.all),
        attribute(passwordAlgorithm, challenge.offered.chosen),
      );
    }
    return {
      attributes,
      integrity: {
        algorithm: challenge.offered === undefined ? "sha1" : "sha256",
        key: this.#keyFor(challenge, credentials),
        crypto: this.#crypto,
      },
      realm: challenge.realm,
    };
  }

  /**
   * Takes a 401 or 438 (RFC 8489 §9.2.5). `previousRealm` is that of the request which it answers, if that was
   * authenticated.
   */
  learn(message: StunMessage, code: 401 | 438, previousRealm: string | undefined): Learned {
    const givenNonce = getAttribute(message, nonce);
    const givenRealm = getAttribute(message, realm);
    const known = this.#challenge;
    // RFC 8489 §9.2.4 has REALM in both; servers of RFC 5389 may leave it out of a 438.
    const realmText = givenRealm?.ok ? givenRealm.value : code === 438 ? known?.realm : undefined;
    if (!givenNonce?.ok || realmText === undefined) {
      return { code: "malformedResponse", detail: `${code} without REALM or NONCE` };
    }
    if (opaqueString(realmText) === undefined) {
      return { code: "malformedResponse", detail: "REALM is no OpaqueString (RFC 8265)" };
    }
    const features = securityFeatures(givenNonce.value);
    const offers = getAttribute(message, passwordAlgorithms);
    if (features.passwordAlgorithms && offers === undefined) return { code: "bidDown" };
    if (offers !== undefined && !offers.ok) {
      return { code: "malformedResponse", detail: "PASSWORD-ALGORITHMS can't be read" };
    }
    // It goes back as it came, in every request.
    const offeredBytes = offers?.value.reduce((sum, { parameters }) => sum + 4 + parameters.length, 0) ?? 0;
    if (offeredBytes > MAXIMUM_OFFER_BYTES) {
      return { code: "malformedResponse", detail: "PASSWORD-ALGORITHMS is too long" };
    }
    if (this.#credentials === undefined) {
      const authorizationServer = getAttribute(message, thirdPartyAuthorization);
      return {
        code: "credentialsRequired",
        realm: realmText,
        thirdPartyAuthorization: authorizationServer?.ok ? authorizationServer.value : undefined,
      };
    }
    const offered = offers === undefined ? undefined : choose(offers.value);
    if (offered === "none") return { code: "noPasswordAlgorithm" };
    if (code === 401 && previousRealm === realmText) return { code: "unauthenticated", realm: realmText };
    // The algorithms of a server don't get weaker in the middle of a session: somebody else took them out.
    if (known?.offered !== undefined && offered === undefined && known.realm === realmText) return { code: "bidDown" };
    this.#challenge = { realm: realmText, nonce: givenNonce.value, anonymous: features.usernameAnonymity, offered };
    return undefined;
  }

  #keyFor(challenge: Challenge, credentials: ClientCredentials): Uint8Array {
    if (credentials.kind === "accessToken") return credentials.macKey;
    const algorithm = challenge.offered?.chosen.algorithm === passwordAlgorithmNumbers.sha256 ? "sha256" : "md5";
    if (this.#key?.realm !== challenge.realm || this.#key.algorithm !== algorithm) {
      const { username, password } = credentials;
      const key = longTermKey({ algorithm, username, realm: challenge.realm, password, crypto: this.#crypto });
      this.#key = { realm: challenge.realm, algorithm, key };
    }
    return this.#key.key;
  }
}

/** Whether a response that is neither 401 nor 438 betrays a bid-down by its nonce (RFC 8489 §9.2.5). */
export function betraysBidDown(message: StunMessage): boolean {
  const given = getAttribute(message, nonce);
  if (!given?.ok || !securityFeatures(given.value).passwordAlgorithms) return false;
  return getAttribute(message, passwordAlgorithms) === undefined;
}

interface Challenge {
  readonly realm: string;
  readonly nonce: string;
  readonly anonymous: boolean;
  readonly offered: Offered | undefined;
}

interface Offered {
  readonly all: readonly PasswordAlgorithm[];
  readonly chosen: PasswordAlgorithm;
}

/** RFC 8489 §9.2.5: the first algorithm on the list that the client supports. */
function choose(offers: readonly PasswordAlgorithm[]): Offered | "none" {
  const known: readonly number[] = Object.values(passwordAlgorithmNumbers);
  const chosen = offers.find(({ algorithm, parameters }) => known.includes(algorithm) && parameters.length === 0);
  if (chosen === undefined) return "none";
  // The message's buffer is used again.
  const copy = (offer: PasswordAlgorithm): PasswordAlgorithm => ({ ...offer, parameters: offer.parameters.slice() });
  return { all: offers.map((offer) => copy(offer)), chosen: copy(chosen) };
}

function prepare(credentials: ClientCredentials): ClientCredentials {
  if (credentials.kind === "accessToken") return credentials;
  const name = opaqueString(credentials.username);
  if (name === undefined || opaqueString(credentials.password) === undefined) {
    throw new TypeError(
      `Cannot use this ${name === undefined ? "user name" : "password"}: it is empty or has characters that OpaqueString (RFC 8265) rules out`,
    );
  }
  return { ...credentials, username: name };
}

/** What a request still carries with everything else. Two algorithms without parameters have 8. */
const MAXIMUM_OFFER_BYTES = 512;

/** RFC 8489 §9.2: what a nonce of a server that knows that specification begins with. */
const NONCE_COOKIE = "obMatJos2";
const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The STUN Security Features in a nonce (RFC 8489 §9.2, §18.1): bit 0 is the highest of 24. */
function securityFeatures(text: string): { readonly passwordAlgorithms: boolean; readonly usernameAnonymity: boolean } {
  const first = text.startsWith(NONCE_COOKIE) ? BASE64.indexOf(text.charAt(NONCE_COOKIE.length)) : -1;
  // The first of four Base64 characters holds the six highest bits.
  return {
    passwordAlgorithms: first >= 0 && (first & 0x20) !== 0,
    usernameAnonymity: first >= 0 && (first & 0x10) !== 0,
  };
}
