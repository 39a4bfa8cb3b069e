import type { JSONWebKeySet } from "jose";
import type { Clock } from "../core/clock.ts";
import type { Secret } from "../core/secret.ts";
import { secureUrl } from "../http/secure-url.ts";

/** Access tokens that are JSON Web Tokens of an issuer. */
export interface JwtAccessTokenOptions {
  /** `iss` must be this. */
  readonly issuer: string;
  /** `aud` must be, or contain, one of these. Default: {@link OauthOptions.serverName}. */
  readonly audience?: string | readonly string[];
  /** Where the issuer's public keys are, or the keys themselves. Default: found by OpenID Connect Discovery. */
  readonly jwks?: string | JSONWebKeySet;
  /** Signatures that are accepted. Default: RS256, PS256, ES256, ES384, EdDSA, Ed25519. Never HMAC or `none`. */
  readonly algorithms?: readonly string[];
  /** Keys for the encrypted parts, by `kid` of their header. Symmetric keys of 16 or 32 bytes. */
  readonly decryptionKeys: readonly { readonly kid: string; readonly key: Secret }[];
}

/** What a verified token says. */
export interface JwtAccessTokenClaims {
  readonly subject: string;
  readonly macKey: Uint8Array;
  readonly expiresAtUnixMs: number;
  readonly tokenId?: string;
}

/** A token that is wrong, as a value: `expired` is a proven token that has ended. */
export type JwtAccessTokenResult =
  | { readonly ok: true; readonly claims: JwtAccessTokenClaims }
  | { readonly ok: false; readonly code: "badFormat" | "badCredentials" | "expired"; readonly note: string };

/** Verifies a token at a moment in wall-clock milliseconds. Rejects if the issuer's keys can't be had. */
export type VerifyJwt = (token: string, at: { readonly unixMs: number }) => Promise<JwtAccessTokenResult>;

const SIGNATURES: readonly string[] = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"];

/**
 * Verifies JWT access tokens: a signed token whose `cnf` claim holds the session's key (RFC 7800), encrypted to the
 * relay: either `cnf.jwe` (§3.3), or the whole signed token inside a JWE and `cnf.jwk` in it (§3.2). A symmetric key
 * that stands in clear in a signed token is refused, since everybody on the way could read it.
 *
 * The returned function throws if the issuer's keys can't be had.
 *
 * @throws TypeError if the configuration would let anybody in, or a URL is neither https nor on loopback.
 */
export function createJwtVerifier(
  options: JwtAccessTokenOptions & {
    readonly audience: string | readonly string[];
    readonly clock: Clock;
    readonly clockToleranceSeconds: number;
  },
): VerifyJwt {
  const { algorithms = SIGNATURES, issuer, jwks } = options;
  if (algorithms.length === 0 || algorithms.some((algorithm) => !SIGNATURES.includes(algorithm))) {
    throw new TypeError(`Cannot verify JWT access tokens: algorithms must be some of ${SIGNATURES.join(", ")}`);
  }
  const keys = new Map(options.decryptionKeys.map(({ kid, key }) => [kid, key.revealBytes()]));
  if (keys.size === 0 || [...keys.values()].some((key) => key.length !== 16 && key.length !== 32)) {
    throw new TypeError("Cannot verify JWT access tokens: decryptionKeys must be keys of 16 or 32 bytes");
  }
  if (typeof jwks === "object") checkKeySet(jwks);
  else for (const url of jwks === undefined ? [issuer] : [issuer, jwks]) secureUrl(url);
  // JOSE and its schemas are loaded by those alone who verify: each thread of a relay would pay for them.
  const verifier = import("./jwt-verification.ts").then(({ createVerification }) =>
    createVerification({ ...options, keys, algorithms }),
  );
  return async (token, at) => (await verifier)(token, at);
}

function checkKeySet({ keys }: JSONWebKeySet): void {
  if (Array.isArray(keys) && keys.every((key) => typeof key === "object" && key !== null)) return;
  throw new TypeError("Cannot verify JWT access tokens: jwks is no JSON Web Key Set");
}
