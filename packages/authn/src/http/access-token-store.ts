import type { ExternalActor } from "../core/actor.ts";
import { OperationContext } from "../core/operation-context.ts";

/** An access token, as its owner sees it after it was made. */
export interface AccessToken {
  /** Public name, for listing and revoking it. */
  readonly id: string;
  /** What it begins with; names its kind. */
  readonly prefix: string;
  /** Whose it is, as that actor is today: a store looks name and roles up when it reads. */
  readonly actor: ExternalActor;
  /** What its owner calls it. */
  readonly label: string;
  /** Wall-clock milliseconds since 1970. */
  readonly createdAtUnixMs: number;
  /** Absent: it doesn't end by itself. */
  readonly expiresAtUnixMs?: number;
  /** When it was last used, as precisely as writes are bounded. Absent: never. */
  readonly lastUsedAtUnixMs?: number;
}

/** An access token as it is stored. */
export interface StoredAccessToken extends AccessToken {
  /** SHA-256 of the whole token, base64url: unique. */
  readonly tokenDigest: string;
}

/**
 * Where access tokens are kept. Every method takes a genuine {@link OperationContext} first and throws a TypeError
 * without one; what else it throws makes authentication `unavailable`. `accessTokenStoreContract` of
 * `@turnpike/authn/testing` holds an implementation to this.
 */
export interface AccessTokenStore {
  /** Adds a token; `id` and `tokenDigest` are fresh. */
  insert(ctx: OperationContext, token: StoredAccessToken): Promise<void>;
  /** The token with this digest. A disabled actor's tokens aren't found. */
  findByTokenDigest(ctx: OperationContext, tokenDigest: string): Promise<StoredAccessToken | undefined>;
  /** Notes the time of use, unless a later one stands there; a token that is gone stays gone. */
  touch(ctx: OperationContext, id: string, lastUsedAtUnixMs: number): Promise<void>;
  /** Removes a token, if it is the actor's that the filter names; tells whether it was there. */
  delete(ctx: OperationContext, id: string, filter?: { readonly actorId?: string }): Promise<boolean>;
  /** The tokens of an actor, or of everyone, newest first. */
  list(ctx: OperationContext, filter: { readonly actorId?: string }): Promise<readonly AccessToken[]>;
}

const DEFAULT_CAPACITY = 10_000;

/** Access tokens in memory, for tests and for programs that forget them when they end. */
export class MemoryAccessTokenStore implements AccessTokenStore {
  readonly #byDigest = new Map<string, StoredAccessToken>();
  readonly #capacity: number;
  readonly #digestOf = new Map<string, string>();

  /** @param options.capacity how many tokens are kept; one more is refused. Default 10,000 */
  constructor({ capacity = DEFAULT_CAPACITY }: { capacity?: number } = {}) {
    this.#capacity = capacity;
  }

  async insert(ctx: OperationContext, token: StoredAccessToken): Promise<void> {
    OperationContext.assert(ctx);
    if (this.#byDigest.size >= this.#capacity) {
      throw new RangeError("Cannot keep another access token: the store is full, revoke one first");
    }
    this.#byDigest.set(token.tokenDigest, token);
    this.#digestOf.set(token.id, token.tokenDigest);
  }

  async findByTokenDigest(ctx: OperationContext, tokenDigest: string): Promise<StoredAccessToken | undefined> {
    OperationContext.assert(ctx);
    return this.#byDigest.get(tokenDigest);
  }

  async touch(ctx: OperationContext, id: string, lastUsedAtUnixMs: number): Promise<void> {
    OperationContext.assert(ctx);
    const token = this.#byDigest.get(this.#digestOf.get(id) ?? "");
    if (token === undefined || (token.lastUsedAtUnixMs ?? -Infinity) >= lastUsedAtUnixMs) return;
    this.#byDigest.set(token.tokenDigest, { ...token, lastUsedAtUnixMs });
  }

  async delete(ctx: OperationContext, id: string, filter: { readonly actorId?: string } = {}): Promise<boolean> {
    OperationContext.assert(ctx);
    const token = this.#byDigest.get(this.#digestOf.get(id) ?? "");
    if (token === undefined || (filter.actorId ?? token.actor.id) !== token.actor.id) return false;
    this.#digestOf.delete(id);
    return this.#byDigest.delete(token.tokenDigest);
  }

  async list(ctx: OperationContext, { actorId }: { readonly actorId?: string }): Promise<readonly AccessToken[]> {
    OperationContext.assert(ctx);
    return [...this.#byDigest.values()]
      .map(withoutDigest)
      .filter((token) => actorId === undefined || token.actor.id === actorId)
      .toSorted((a, b) => b.createdAtUnixMs - a.createdAtUnixMs);
  }
}

function withoutDigest(stored: StoredAccessToken): AccessToken {
  const { id, prefix, actor, label, createdAtUnixMs, expiresAtUnixMs, lastUsedAtUnixMs } = stored;
  return {
    id,
    prefix,
    actor,
    label,
    createdAtUnixMs,
    ...(expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs }),
    ...(lastUsedAtUnixMs === undefined ? {} : { lastUsedAtUnixMs }),
  };
}
