import { decodeJwt, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from "jose";
import type { ExternalActor } from "../core/actor.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import type { OperationContext } from "../core/operation-context.ts";
import type { FailureReason, SchemeResult } from "../core/scheme.ts";
import { discoveryUrl, issuerKeys, type IssuerKeysOptions } from "./issuer-keys.ts";
import { type HttpScheme, type OpenApiSecurityScheme, quoted } from "./http-scheme.ts";
import { authorizationCredentials, type HttpRequest } from "./request.ts";

const DEFAULT_CLOCK_TOLERANCE_SECONDS = 30;
const MAX_TOKEN_LENGTH = 16_384;

/** Signatures by public keys only: with a shared secret every verifier could make tokens. */
const ALGORITHMS = [
  "EdDSA",
  "Ed25519",
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
  "RS256",
  "RS384",
  "RS512",
];

/** An OpenID Connect provider whose tokens are accepted. */
export interface OidcIssuer {
  /** As `iss` says it, to the letter. Its key set is found by OpenID Connect Discovery, unless `jwksUri` says where. */
  readonly issuer: string;
  /** One of these must stand in `aud`. */
  readonly audience: string | readonly string[];
  readonly jwksUri?: string;
  /** Who that is here; `undefined` refuses. Default: a user `ISSUER#SUB` without roles. */
  readonly actorOf?: (
    ctx: OperationContext,
    claims: JWTPayload,
  ) => ExternalActor | undefined | Promise<ExternalActor | undefined>;
}

/** Configuration of {@link BearerScheme}. */
export interface BearerOptions extends IssuerKeysOptions {
  readonly issuers: readonly OidcIssuer[];
  /** The `typ` that tokens must have, such as `at+jwt` (RFC 9068 §2.1). Default: any. */
  readonly tokenType?: string;
  /** How far the issuer's clock may be off. Default 30. */
  readonly clockToleranceSeconds?: number;
  readonly clock?: Clock;
}

/**
 * JWT access tokens of OpenID Connect issuers by `Authorization: Bearer` (RFC 6750, RFC 9068). Keys come from the
 * issuer's key set and follow its rotation. If the keys can't be had, the answer is `unavailable`, never a failure.
 */
export class BearerScheme implements HttpScheme {
  readonly name = "bearer";
  readonly #issuers: ReadonlyMap<string, { readonly issuer: OidcIssuer; readonly keys: JWTVerifyGetKey }>;
  readonly #options: BearerOptions;
  readonly #clock: Clock;

  /** @throws TypeError if there is no issuer, one is named twice, or a URL is neither https nor on loopback */
  constructor(options: BearerOptions) {
    if (options.issuers.length === 0) throw new TypeError('Cannot configure the scheme "bearer": no issuer is named');
    const issuers = new Map<string, { readonly issuer: OidcIssuer; readonly keys: JWTVerifyGetKey }>();
    for (const issuer of options.issuers) {
      if (issuers.has(issuer.issuer)) {
        throw new TypeError(`Cannot configure the scheme "bearer": issuer ${issuer.issuer} is named twice`);
      }
      issuers.set(issuer.issuer, {
        issuer,
        keys: issuerKeys(issuer, { ...options, clock: options.clock ?? systemClock }),
      });
    }
    this.#issuers = issuers;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  async authenticate(ctx: OperationContext, request: HttpRequest): Promise<SchemeResult> {
    const token = authorizationCredentials(request, "bearer");
    if (token === undefined) return { kind: "notRequested" };
    if (token.length > MAX_TOKEN_LENGTH) return failed({ kind: "badFormat", detail: "the bearer token is too long" });
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
      return { kind: "notRequested", unproven: { kind: "badCredentials", note: "not a JWT" } };
    }
    const claimed = unverifiedClaims(token);
    if (claimed === undefined) return failed({ kind: "badFormat", detail: "the bearer token's claims are not JSON" });
    const known = this.#issuers.get(claimed.issuer);
    if (known === undefined) {
      return failed({
        kind: "unknownActor",
        attemptedActor: claimed.subject,
        note: `unknown issuer ${claimed.issuer}`,
      });
    }
    const { issuer, keys } = known;
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: issuer.issuer,
        audience: typeof issuer.audience === "string" ? issuer.audience : [...issuer.audience],
        algorithms: ALGORITHMS,
        clockTolerance: this.#options.clockToleranceSeconds ?? DEFAULT_CLOCK_TOLERANCE_SECONDS,
        currentDate: new Date(this.#clock.unixMs()),
        requiredClaims: ["sub", "exp"],
        ...(this.#options.tokenType === undefined ? {} : { typ: this.#options.tokenType }),
      });
      const actor = await (issuer.actorOf ?? defaultActor(issuer))(ctx, payload);
      if (actor === undefined) return failed({ kind: "unknownActor", attemptedActor: claimed.subject });
      return {
        kind: "authenticated",
        actor,
        details: {
          ...(payload.exp === undefined ? {} : { expiresAtUnixMs: payload.exp * 1_000 }),
          ...(typeof payload.jti === "string" ? { credentialId: payload.jti } : {}),
        },
      };
    } catch (error) {
      return resultOf(error, claimed.subject);
    }
  }

  challenges(realm: string): readonly string[] {
    return [`Bearer realm=${quoted(realm)}`];
  }

  get openApi(): Readonly<Record<string, OpenApiSecurityScheme>> {
    const entries = [...this.#issuers.keys()].map((issuer, index): [string, OpenApiSecurityScheme] => [
      index === 0 ? "bearer" : `bearer${index + 1}`,
      {
        type: "openIdConnect",
        openIdConnectUrl: discoveryUrl(issuer),
        description: `JWT access token of ${issuer}.`,
      },
    ]);
    return Object.fromEntries(entries);
  }
}

function failed(reason: FailureReason): SchemeResult {
  return { kind: "failed", reason };
}

function resultOf(error: unknown, attemptedActor: string): SchemeResult {
  if (error instanceof errors.JWTExpired) return failed({ kind: "expired", attemptedActor });
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) {
    return failed({ kind: "badFormat", detail: "the bearer token is not a valid JWT" });
  }
  if (
    error instanceof errors.JWTClaimValidationFailed ||
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSEAlgNotAllowed ||
    error instanceof errors.JOSENotSupported
  ) {
    return failed({ kind: "badCredentials", attemptedActor, note: error.message });
  }
  return { kind: "unavailable", cause: error, attemptedActor };
}

function defaultActor({
  issuer,
}: OidcIssuer): (ctx: OperationContext, claims: JWTPayload) => ExternalActor | undefined {
  // An issuer is a URL without a fragment (OpenID Connect Core §2), so two issuers' subjects never meet.
  return (_ctx, { sub }) => (sub === undefined ? undefined : { kind: "user", id: `${issuer}#${sub}`, roles: [] });
}

/** What the token says of itself: it chooses the issuer whose keys are asked, and names the attempt in logs. */
function unverifiedClaims(token: string): { readonly issuer: string; readonly subject: string } | undefined {
  try {
    const { iss = "", sub = "" } = decodeJwt(token);
    return { issuer: iss, subject: sub };
  } catch {
    return undefined;
  }
}
