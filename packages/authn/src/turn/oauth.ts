import { createHash } from "node:crypto";
import { userhashOf } from "@turnpike/stun";
import type { Clock } from "../core/clock.ts";
import { Secret } from "../core/secret.ts";
import {
  ACCESS_TOKEN_KEY_LENGTHS,
  type AccessTokenAlgorithm,
  type AccessTokenSealOptions,
  openAccessToken,
} from "./access-token.ts";
import { createJwtVerifier, type JwtAccessTokenOptions, type VerifyJwt } from "./jwt-access-token.ts";
import { QuestionLimiter, type QuestionLimits } from "./question-limiter.ts";
import type { TurnRequest } from "./request.ts";
import {
  PASSWORD_ALGORITHMS,
  proven,
  refused,
  type TurnScheme,
  type TurnSchemeFactory,
  type TurnSchemeResult,
} from "./scheme.ts";

/** A key that authorization server and relay share. */
export interface OauthKey {
  /** Names it: clients send it as USERNAME (RFC 7635 §5). */
  readonly kid: string;
  /** 32 bytes for `A256GCM`, 16 for `A128GCM`; text is base64 of them (of more, the first count, as coturn has it). */
  readonly key: string | Secret;
  /** Default `A256GCM`. */
  readonly algorithm?: AccessTokenAlgorithm;
  /**
   * Whom sessions by its tokens count for: quotas and events know them by it, and a token of one key refreshes the
   * allocation of another's if both have the same. Default: `serverName`, since one authorization server may have
   * several keys.
   */
  readonly actor?: string;
  /** Until when it is good, in wall-clock milliseconds. Default: as long as it is configured. */
  readonly expiresAtUnixMs?: number;
}

/** What {@link oauth} needs. */
export interface OauthOptions extends QuestionLimits {
  /** The relay's name: told to clients by THIRD-PARTY-AUTHORIZATION, and what tokens are bound to. */
  readonly serverName: string;
  /** For self-contained tokens. Give these, or `jwt`, or both. */
  readonly keys?: readonly OauthKey[];
  /** For JSON Web Tokens. */
  /** For JSON Web Tokens: whom to trust, or a function that verifies (such as one that asks another thread). */
  readonly jwt?: JwtAccessTokenOptions | VerifyJwt;
}

/**
 * Verifies JSON Web Tokens as the scheme `oauth` does by itself, for those who do it elsewhere.
 *
 * @throws TypeError if the configuration would let anybody in, or a URL is neither https nor on loopback.
 */
export function jwtVerifier(options: {
  readonly serverName: string;
  readonly jwt: JwtAccessTokenOptions;
  readonly clock: Clock;
}): VerifyJwt {
  const { serverName, jwt, clock } = options;
  return createJwtVerifier({ audience: serverName, ...jwt, clock, clockToleranceSeconds: DELTA_MS / 1000 });
}

/** Longer tokens don't fit into a datagram anyway, and are refused unread. */
const MAX_TOKEN_BYTES = 4096;

/** How far clocks may be apart (RFC 7635 §7, Delta). */
const DELTA_MS = 5000;

interface OpenedKey extends Omit<AccessTokenSealOptions, "key"> {
  readonly kid: string;
  readonly actor: string;
  readonly key: Secret;
  readonly expiresAtUnixMs: number;
}

/**
 * The scheme `oauth` (RFC 7635): the token in ACCESS-TOKEN holds the key of the session, encrypted to this relay. Whoever
 * sends a token is this scheme's alone; without one the answer is `notRequested`.
 *
 * The actor of a self-contained token is that of its key, for it names nobody; that of a JSON Web Token is its `sub`.
 *
 * The factory throws TypeError if there are neither keys nor `jwt`, a key has a wrong length, or a key id is listed twice.
 */
export function oauth(options: OauthOptions): TurnSchemeFactory {
  return ({ realm, crypto, clock }) => {
    const { serverName, jwt } = options;
    if (serverName === "" || Buffer.byteLength(serverName) > 255) {
      throw new TypeError('Cannot configure the scheme "oauth": serverName must be 1 to 255 bytes');
    }
    const keys = readKeys(options);
    const byUserhash = new Map<string, OpenedKey>();
    for (const key of keys.values()) {
      const hash = userhashOf({ username: key.kid, realm, crypto });
      byUserhash.set(Buffer.from(hash).toString("hex"), key);
    }
    const verifyJwt = typeof jwt === "object" ? jwtVerifier({ serverName, jwt, clock }) : jwt;
    const limiter = new QuestionLimiter(options);

    const decideJwt = async (request: TurnRequest, token: string): Promise<TurnSchemeResult> => {
      if (verifyJwt === undefined) return refused("unknownActor", { note: "JSON Web Tokens are not configured" });
      const result = await limiter.run(request.client, async () => verifyJwt(token, request));
      if (!result.ok) {
        if (result.code === "badFormat") return { kind: "failed", reason: { kind: "badFormat", detail: result.note } };
        return refused(result.code, { user: request.username, note: result.note });
      }
      const { subject, macKey, expiresAtUnixMs, tokenId } = result.claims;
      if (!request.checkIntegrity(macKey)) return refused("badCredentials", { user: subject });
      return proven(subject, {
        username: request.username ?? subject,
        key: macKey,
        expiresAtUnixMs: endOf(expiresAtUnixMs, request),
        boundsLifetime: true,
        ...(tokenId === undefined ? {} : { credentialId: tokenId }),
      });
    };

    return {
      name: "oauth",
      // The session's key is in the token, whatever the algorithm for passwords.
      passwordAlgorithms: PASSWORD_ALGORITHMS,
      resolvesUserhash: true,
      thirdPartyAuthorization: serverName,
      authenticate(_ctx, request) {
        const { accessToken, username, userhash } = request;
        if (accessToken === undefined) return { kind: "notRequested" };
        if (accessToken.length === 0 || accessToken.length > MAX_TOKEN_BYTES) {
          return { kind: "failed", reason: { kind: "badFormat", detail: "ACCESS-TOKEN is empty or too long" } };
        }
        if (looksLikeJwt(accessToken)) return decideJwt(request, Buffer.from(accessToken).toString("latin1"));
        const key =
          username === undefined ? byUserhash.get(Buffer.from(userhash ?? []).toString("hex")) : keys.get(username);
        return decideSelfContained(request, accessToken, key);
      },
    } satisfies TurnScheme;
  };
}

function decideSelfContained(request: TurnRequest, token: Uint8Array, shared: OpenedKey | undefined): TurnSchemeResult {
  if (shared === undefined) return refused("unknownActor", { user: request.username, note: "no such key id" });
  const { kid: user } = shared;
  if (!(shared.expiresAtUnixMs > request.unixMs)) return refused("expired", { user, note: "the key has ended" });
  const opened = openAccessToken(token, { ...shared, key: shared.key.revealBytes() });
  if (!opened.ok) {
    const { code } = opened.error;
    if (code === "sealed") return refused("badCredentials", { user, note: code });
    return { kind: "failed", reason: { kind: "badFormat", detail: `ACCESS-TOKEN: ${code}` } };
  }
  const { macKey, issuedAtUnixMs, lifetimeSeconds } = opened.claims;
  const key = provenKey(request, macKey);
  if (key === undefined) return refused("badCredentials", { user });
  // RFC 7635 §7: lifetime + Delta > abs(RDnew - TS)
  const lifetimeMs = lifetimeSeconds * 1000;
  if (!(lifetimeMs + DELTA_MS > Math.abs(request.unixMs - issuedAtUnixMs))) return refused("expired", { user });
  const digest = createHash("sha256").update(token).digest("base64url").slice(0, 22);
  return proven(shared.actor, {
    username: shared.kid,
    key,
    expiresAtUnixMs: endOf(issuedAtUnixMs + lifetimeMs, request),
    boundsLifetime: true,
    credentialId: `${shared.kid}/${digest}`,
  });
}

const SHA1_KEY_BYTES = 20;
/** The key of HMAC-SHA-1 has 20 bytes (RFC 7635 §6.2), of which coturn and its client take so many. */
const COTURN_SHA1_KEY_BYTES = 16;

/** The key that the request was signed with: the token's, or as much of it as coturn's client takes. */
function provenKey(request: TurnRequest, macKey: Uint8Array): Uint8Array | undefined {
  if (request.checkIntegrity(macKey)) return macKey;
  if (macKey.length !== SHA1_KEY_BYTES || request.passwordAlgorithm === "sha256") return undefined;
  const short = macKey.subarray(0, COTURN_SHA1_KEY_BYTES);
  return request.checkIntegrity(short) ? short : undefined;
}

/** A token that is good by the tolerance alone ends with it, not in the past. */
function endOf(expiresAtUnixMs: number, { unixMs }: TurnRequest): number {
  return expiresAtUnixMs > unixMs ? expiresAtUnixMs : expiresAtUnixMs + DELTA_MS;
}

/** A compact JWS or JWE begins with base64url of `{"`; a self-contained token with the two bytes of its nonce's length. */
function looksLikeJwt(token: Uint8Array): boolean {
  return token[0] === 0x65 && token[1] === 0x79 && token[2] === 0x4a;
}

function readKeys({ serverName, keys = [], jwt }: OauthOptions): ReadonlyMap<string, OpenedKey> {
  if (keys.length === 0 && jwt === undefined) {
    throw new TypeError('Cannot configure the scheme "oauth": it needs keys, or jwt');
  }
  const byKid = new Map<string, OpenedKey>();
  for (const { kid, key, algorithm = "A256GCM", actor = serverName, expiresAtUnixMs = Infinity } of keys) {
    const who = `Cannot use OAuth key ${JSON.stringify(kid.slice(0, 80))}`;
    if (kid === "" || byKid.has(kid)) throw new TypeError(`${who}: its id is empty, or listed twice`);
    const bytes = typeof key === "string" ? Buffer.from(key, "base64") : key.revealBytes();
    const length = ACCESS_TOKEN_KEY_LENGTHS[algorithm];
    if (bytes.length < length) throw new TypeError(`${who}: ${algorithm} needs ${String(length)} bytes`);
    byKid.set(kid, { kid, actor, algorithm, serverName, expiresAtUnixMs, key: new Secret(bytes.subarray(0, length)) });
  }
  return byKid;
}
