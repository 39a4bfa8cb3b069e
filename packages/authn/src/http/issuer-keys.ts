import { createRemoteJWKSet, customFetch, errors, type FetchImplementation, type JWTVerifyGetKey } from "jose";
import type { Clock } from "../core/clock.ts";
import { secureUrl } from "./secure-url.ts";

const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_COOLDOWN_MS = 30_000;
const DEFAULT_KEYS_MAX_AGE_MS = 600_000;
const DEFAULT_RETRY_AFTER_MS = 2_000;

/** How the keys of issuers are had. */
export interface IssuerKeysOptions {
  /** How long an issuer may take to answer. Default 5,000. */
  readonly timeoutMs?: number;
  /** An unknown key makes the key set be fetched again, at most this often. Default 30,000. */
  readonly cooldownMs?: number;
  /** The key set is fetched again when it is this old. Default 600,000. */
  readonly keysMaxAgeMs?: number;
  /** An issuer that couldn't be reached is left alone for this long. Default 2,000. */
  readonly retryAfterMs?: number;
  /** Default: the global `fetch`. */
  readonly fetch?: FetchImplementation;
}

/** The key set couldn't be had: nothing is known of the token. */
export class KeysUnavailableError extends Error {
  override readonly name = "KeysUnavailableError";
}

/**
 * The keys of an issuer: its key set is found by discovery unless it is known, cached, and fetched again when a token
 * names a key that isn't in it. Rejects with a {@link KeysUnavailableError} if the issuer can't be reached.
 *
 * @throws TypeError if the issuer's URL is neither https nor on loopback
 */
export function issuerKeys(
  { issuer, jwksUri }: { readonly issuer: string; readonly jwksUri?: string },
  options: IssuerKeysOptions & { readonly clock: Clock },
): JWTVerifyGetKey {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const fetchIt = withBackOff(options.fetch ?? fetch, {
    clock: options.clock,
    retryAfterMs: options.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS,
  });
  const keySetAt = (uri: string): JWTVerifyGetKey =>
    createRemoteJWKSet(secureUrl(uri), {
      timeoutDuration: timeoutMs,
      cooldownDuration: options.cooldownMs ?? DEFAULT_COOLDOWN_MS,
      cacheMaxAge: options.keysMaxAgeMs ?? DEFAULT_KEYS_MAX_AGE_MS,
      [customFetch]: fetchIt,
    });
  secureUrl(issuer);
  let found: Promise<JWTVerifyGetKey> | undefined =
    jwksUri === undefined ? undefined : Promise.resolve(keySetAt(jwksUri));
  const find = async (): Promise<JWTVerifyGetKey> => {
    try {
      return keySetAt(await discover(issuer, { fetchIt, timeoutMs }));
    } catch (error) {
      found = undefined;
      throw error;
    }
  };
  return async (header, token) => {
    try {
      found ??= find();
      const keys = await found;
      return await keys(header, token);
    } catch (error) {
      if (
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys ||
        error instanceof errors.JOSENotSupported
      ) {
        throw error;
      }
      throw new KeysUnavailableError(`Cannot fetch the keys of ${issuer}: ${messageOf(error)}`, { cause: error });
    }
  };
}

/** Where an issuer describes itself (OpenID Connect Discovery §4). */
export function discoveryUrl(issuer: string): string {
  return `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
}

async function discover(
  issuer: string,
  { fetchIt, timeoutMs }: { readonly fetchIt: FetchImplementation; readonly timeoutMs: number },
): Promise<string> {
  const response = await fetchIt(secureUrl(discoveryUrl(issuer)).href, {
    method: "GET",
    headers: new Headers({ accept: "application/json" }),
    redirect: "manual",
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (response.status !== 200) throw new Error(`discovery answered ${response.status}`);
  const document: unknown = await response.json();
  if (typeof document !== "object" || document === null || !("issuer" in document) || !("jwks_uri" in document)) {
    throw new Error("discovery gave no jwks_uri");
  }
  // OpenID Connect Discovery §4.3: otherwise one issuer could speak for another.
  if (document.issuer !== issuer) throw new Error("discovery names another issuer");
  if (typeof document.jwks_uri !== "string") throw new Error("discovery gave no jwks_uri");
  return document.jwks_uri;
}

/** Whoever sends rubbish tokens must not make us hammer an issuer that is down. */
function withBackOff(
  fetchIt: FetchImplementation,
  { clock, retryAfterMs }: { readonly clock: Clock; readonly retryAfterMs: number },
): FetchImplementation {
  let failedAtMs = -Infinity;
  return async (url, init) => {
    if (clock.monotonicMs() - failedAtMs < retryAfterMs) throw new Error("it failed a moment ago");
    try {
      const response = await fetchIt(url, init);
      if (response.status !== 200) failedAtMs = clock.monotonicMs();
      return response;
    } catch (error) {
      failedAtMs = clock.monotonicMs();
      throw error;
    }
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
