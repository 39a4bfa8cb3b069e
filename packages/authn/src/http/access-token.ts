import type { ExternalActor } from "../core/actor.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import type { OperationContext } from "../core/operation-context.ts";
import type { SchemeResult } from "../core/scheme.ts";
import { Secret } from "../core/secret.ts";
import type { AccessToken, AccessTokenStore, StoredAccessToken } from "./access-token-store.ts";
import { type HttpScheme, type OpenApiSecurityScheme, quoted } from "./http-scheme.ts";
import { createId, createToken, digestToken, equalConstantTime, type RandomBytes, TOKEN_FORM } from "./opaque-token.ts";
import { authorizationCredentials, type HttpRequest } from "./request.ts";

const SECOND_MS = 1_000;
const DEFAULT_TOUCH_SECONDS = 60;

/** Configuration of {@link AccessTokens}. */
export interface AccessTokensOptions {
  readonly store: AccessTokenStore;
  /**
   * The kind of token: what it begins with, `_` included, such as `tp_`. Tokens of another kind open nothing here,
   * though they may stand in the same store.
   */
  readonly prefix: string;
  /** Use is written down at most this often. Default 60. */
  readonly touchSeconds?: number;
  readonly clock?: Clock;
  readonly random?: RandomBytes;
}

/** What a token is made for. */
export interface AccessTokenRequest {
  readonly actor: ExternalActor;
  /** What its owner calls it. */
  readonly label: string;
  /** Absent: it doesn't end by itself. */
  readonly lifetimeSeconds?: number;
}

/**
 * Access tokens of one kind: makes, lists and revokes them, and is the scheme `access-token`, by
 * `Authorization: Bearer tp_…` (RFC 6750 §2.1). A token in a URL is not looked at: URLs are logged and shared.
 */
export class AccessTokens implements HttpScheme {
  readonly name = "access-token";
  readonly #store: AccessTokenStore;
  readonly #prefix: string;
  readonly #touchMs: number;
  readonly #clock: Clock;
  readonly #random: RandomBytes | undefined;

  /** @throws TypeError if the prefix isn't lower-case letters and digits with a final `_` */
  constructor(options: AccessTokensOptions) {
    if (!/^[a-z][a-z0-9]{0,15}_$/.test(options.prefix)) {
      throw new TypeError(
        `Cannot begin access tokens with "${options.prefix}": use lower-case letters and a "_", as "tp_"`,
      );
    }
    this.#store = options.store;
    this.#prefix = options.prefix;
    this.#touchMs = (options.touchSeconds ?? DEFAULT_TOUCH_SECONDS) * SECOND_MS;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random;
  }

  /**
   * Makes a token. Only here is it known in the clear: show it once.
   *
   * @throws RangeError if the lifetime isn't positive
   */
  async create(
    ctx: OperationContext,
    { actor, label, lifetimeSeconds }: AccessTokenRequest,
  ): Promise<{ readonly token: Secret; readonly accessToken: AccessToken }> {
    if (lifetimeSeconds !== undefined && !(lifetimeSeconds > 0)) {
      throw new RangeError(`Cannot make an access token for ${lifetimeSeconds} s: its lifetime must be more than 0`);
    }
    const token = `${this.#prefix}${createToken(this.#random)}`;
    const createdAtUnixMs = this.#clock.unixMs();
    const accessToken: AccessToken = {
      id: createId(this.#random),
      prefix: this.#prefix,
      actor,
      label,
      createdAtUnixMs,
      ...(lifetimeSeconds === undefined ? {} : { expiresAtUnixMs: createdAtUnixMs + lifetimeSeconds * SECOND_MS }),
    };
    await this.#store.insert(ctx, { ...accessToken, tokenDigest: digestToken(token) });
    return { token: new Secret(token), accessToken };
  }

  /** The tokens of this kind, of an actor or of everyone, expired ones too; newest first. */
  async list(ctx: OperationContext, filter: { readonly actorId?: string } = {}): Promise<readonly AccessToken[]> {
    const tokens = await this.#store.list(ctx, filter);
    return tokens.filter((token) => token.prefix === this.#prefix);
  }

  /** Ends a token by its id, if it is the actor's that the filter names; tells whether it was there. */
  async revoke(ctx: OperationContext, id: string, filter: { readonly actorId?: string } = {}): Promise<boolean> {
    return this.#store.delete(ctx, id, filter);
  }

  async authenticate(ctx: OperationContext, request: HttpRequest): Promise<SchemeResult> {
    const token = authorizationCredentials(request, "bearer");
    if (token === undefined) return { kind: "notRequested" };
    if (!token.startsWith(this.#prefix)) {
      // Another kind of bearer token, for a later scheme to own.
      return { kind: "notRequested", unproven: { kind: "badCredentials", note: "not an access token of this kind" } };
    }
    if (!TOKEN_FORM.test(token.slice(this.#prefix.length))) {
      const detail = `the access token is not "${this.#prefix}" and 43 characters of base64url`;
      return { kind: "failed", reason: { kind: "badFormat", detail } };
    }
    const tokenDigest = digestToken(token);
    const stored = await this.#store.findByTokenDigest(ctx, tokenDigest);
    if (stored === undefined || !equalConstantTime(stored.tokenDigest, tokenDigest)) {
      return { kind: "failed", reason: { kind: "badCredentials", note: "no such access token" } };
    }
    const nowUnixMs = this.#clock.unixMs();
    const { expiresAtUnixMs } = stored;
    if (expiresAtUnixMs !== undefined && nowUnixMs >= expiresAtUnixMs) {
      return { kind: "failed", reason: { kind: "expired", attemptedActor: stored.actor.id } };
    }
    await this.#touch(ctx, stored, nowUnixMs);
    return {
      kind: "authenticated",
      actor: stored.actor,
      details: { credentialId: stored.id, ...(expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs }) },
    };
  }

  /** Each token by itself: a client that goes on with a dead one is slowed down, its neighbours aren't. */
  claimedUser(request: HttpRequest): string | undefined {
    const token = authorizationCredentials(request, "bearer");
    return token?.startsWith(this.#prefix) === true ? `${this.#prefix}${digestToken(token).slice(0, 12)}` : undefined;
  }

  challenges(realm: string): readonly string[] {
    return [`Bearer realm=${quoted(realm)}`];
  }

  get openApi(): Readonly<Record<string, OpenApiSecurityScheme>> {
    return {
      accessToken: {
        type: "http",
        scheme: "bearer",
        bearerFormat: `${this.#prefix}…`,
        description: "Access token in the header `Authorization`.",
      },
    };
  }

  async #touch(ctx: OperationContext, stored: StoredAccessToken, nowUnixMs: number): Promise<void> {
    if (nowUnixMs - (stored.lastUsedAtUnixMs ?? -Infinity) >= this.#touchMs) {
      await this.#store.touch(ctx, stored.id, nowUnixMs);
    }
  }
}
