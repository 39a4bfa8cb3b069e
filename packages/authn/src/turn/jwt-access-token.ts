import * as jose from "jose";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import type { Secret } from "../core/secret.ts";
import { issuerKeys } from "../http/issuer-keys.ts";

/** Access tokens that are JSON Web Tokens of an issuer. */
export interface JwtAccessTokenOptions {
  /** `iss` must be this. */
  readonly issuer: string;
  /** `aud` must be, or contain, one of these. Default: {@link OauthOptions.serverName}. */
  readonly audience?: string | readonly string[];
  /** Where the issuer's public keys are, or the keys themselves. Default: found by OpenID Connect Discovery. */
  readonly jwks?: string | jose.JSONWebKeySet;
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
const KEY_WRAPS = ["dir", "A256GCMKW", "A128GCMKW", "A256KW", "A128KW"];
const CONTENT_CIPHERS = ["A256GCM", "A128GCM"];

const MALFORMED: readonly string[] = ["ERR_JWS_INVALID", "ERR_JWE_INVALID", "ERR_JWT_INVALID"];

const octetKey = z.object({ kty: z.literal("oct"), k: z.string().min(1).max(128) });
const confirmation = z.union([z.object({ jwe: z.string() }), z.object({ jwk: octetKey })]);

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
  const publicKeys =
    typeof jwks === "object"
      ? jose.createLocalJWKSet(jwks)
      : issuerKeys({ issuer, ...(jwks === undefined ? {} : { jwksUri: jwks }) }, options);

  const decrypt = async (jwe: string): Promise<string> => {
    const { plaintext } = await jose.compactDecrypt(
      jwe,
      (header) => {
        const key = keys.get(header.kid ?? "");
        if (key === undefined) throw new jose.errors.JWEDecryptionFailed("no such key");
        return key;
      },
      { keyManagementAlgorithms: KEY_WRAPS, contentEncryptionAlgorithms: CONTENT_CIPHERS },
    );
    return new TextDecoder().decode(plaintext);
  };

  const macKeyOf = async (cnf: unknown, wasEncrypted: boolean): Promise<Uint8Array | undefined> => {
    const parsed = confirmation.safeParse(cnf);
    if (!parsed.success) return undefined;
    if ("jwk" in parsed.data) return wasEncrypted ? jose.base64url.decode(parsed.data.jwk.k) : undefined;
    const inner: unknown = JSON.parse(await decrypt(parsed.data.jwe));
    return jose.base64url.decode(octetKey.parse(inner).k);
  };

  const verify = async (token: string, unixMs: number): Promise<JwtAccessTokenResult> => {
    const wasEncrypted = token.split(".").length === 5;
    const signed = wasEncrypted ? await decrypt(token) : token;
    const { payload } = await jose.jwtVerify(signed, publicKeys, {
      issuer,
      audience: typeof options.audience === "string" ? options.audience : [...options.audience],
      algorithms: [...algorithms],
      clockTolerance: options.clockToleranceSeconds,
      currentDate: new Date(unixMs),
      requiredClaims: ["exp", "sub", "cnf"],
    });
    const macKey = await macKeyOf(payload["cnf"], wasEncrypted);
    if (macKey === undefined || macKey.length < 20 || macKey.length > 64) {
      return { ok: false, code: "badCredentials", note: "cnf has no encrypted key of 20 to 64 bytes" };
    }
    const { sub = "", exp = 0, jti } = payload;
    if (sub === "") return { ok: false, code: "badCredentials", note: "sub is empty" };
    const tokenId = jti === undefined ? {} : { tokenId: jti };
    return { ok: true, claims: { subject: sub, macKey, expiresAtUnixMs: exp * 1000, ...tokenId } };
  };

  return async (token, { unixMs }) => verify(token, unixMs).catch(refuse);
}

/** Errors that the token is to blame for are an answer; the rest (no keys, no network) is none. */
function refuse(error: unknown): JwtAccessTokenResult {
  if (error instanceof jose.errors.JWTExpired) return { ok: false, code: "expired", note: error.code };
  if (error instanceof jose.errors.JOSEError && MALFORMED.includes(error.code)) {
    return { ok: false, code: "badFormat", note: "ACCESS-TOKEN is no well-formed JSON Web Token" };
  }
  if (error instanceof jose.errors.JOSEError) return { ok: false, code: "badCredentials", note: error.code };
  if (error instanceof SyntaxError || error instanceof z.ZodError) {
    return { ok: false, code: "badCredentials", note: "cnf is malformed" };
  }
  throw error;
}
