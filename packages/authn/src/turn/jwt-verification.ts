import * as jose from "jose";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { issuerKeys } from "../http/issuer-keys.ts";
import type { JwtAccessTokenOptions, JwtAccessTokenResult, VerifyJwt } from "./jwt-access-token.ts";

/** What {@link createVerification} takes: checked options. */
export interface VerificationOptions extends Omit<JwtAccessTokenOptions, "decryptionKeys"> {
  readonly audience: string | readonly string[];
  readonly algorithms: readonly string[];
  /** Of the encrypted parts, by `kid`. */
  readonly keys: ReadonlyMap<string, Uint8Array>;
  readonly clock: Clock;
  readonly clockToleranceSeconds: number;
}

const KEY_WRAPS = ["dir", "A256GCMKW", "A128GCMKW", "A256KW", "A128KW"];
const CONTENT_CIPHERS = ["A256GCM", "A128GCM"];

const MALFORMED: readonly string[] = ["ERR_JWS_INVALID", "ERR_JWE_INVALID", "ERR_JWT_INVALID"];

const octetKey = z.object({ kty: z.literal("oct"), k: z.string().min(1).max(128) });
const confirmation = z.union([z.object({ jwe: z.string() }), z.object({ jwk: octetKey })]);

/** Verifies tokens as `createJwtVerifier` says. @throws TypeError if a URL is neither https nor on loopback. */
export function createVerification(options: VerificationOptions): VerifyJwt {
  const { algorithms, issuer, jwks, keys } = options;
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
