import type { ExternalActor } from "../core/actor.ts";
import type { OperationContext } from "../core/operation-context.ts";

/** A signed-in browser. Nothing of it opens anything: the cookie's token is known by its digest only. */
export interface Session {
  /** Public name, for listing and ending it. */
  readonly id: string;
  /** Who signed in, as that actor is today: a store looks name and roles up when it reads. */
  readonly actor: ExternalActor;
  /** Wall-clock milliseconds since 1970. */
  readonly createdAtUnixMs: number;
  /** When it was last used, as precisely as writes are bounded. */
  readonly lastUsedAtUnixMs: number;
  /** The absolute end, however much it is used. */
  readonly expiresAtUnixMs: number;
}

/** A session as it is stored. */
export interface StoredSession extends Session {
  /** SHA-256 of the token, base64url: unique. */
  readonly tokenDigest: string;
}

/** A session as others may see it: without the digest. */
export function withoutDigest(stored: StoredSession): Session {
  const { id, actor, createdAtUnixMs, lastUsedAtUnixMs, expiresAtUnixMs } = stored;
  return { id, actor, createdAtUnixMs, lastUsedAtUnixMs, expiresAtUnixMs };
}

/**
 * Where sessions are kept. Every method takes a genuine {@link OperationContext} first and throws a TypeError without
 * one; what else it throws makes authentication `unavailable`. `sessionStoreContract` of `@turnpike/authn/testing`
 * holds an implementation to this.
 */
export interface SessionStore {
  /** Adds a session; `id` and `tokenDigest` are fresh. */
  insert(ctx: OperationContext, session: StoredSession): Promise<void>;
  /** The session of a token. A disabled actor's sessions aren't found. */
  findByTokenDigest(ctx: OperationContext, tokenDigest: string): Promise<StoredSession | undefined>;
  /** Notes the time of use, unless a later one stands there; a session that is gone stays gone. */
  touch(ctx: OperationContext, id: string, lastUsedAtUnixMs: number): Promise<void>;
  /** Ends a session, if it is the actor's that the filter names; tells whether it was there. */
  delete(ctx: OperationContext, id: string, filter?: { readonly actorId?: string }): Promise<boolean>;
  /** The sessions of an actor, or of everyone, newest first. */
  list(ctx: OperationContext, filter: { readonly actorId?: string }): Promise<readonly Session[]>;
  /** Removes sessions that ended by `expiresAtUnixMs` ≤ now or weren't used since `idleSinceUnixMs`; tells how many. */
  deleteExpired(
    ctx: OperationContext,
    limits: { readonly nowUnixMs: number; readonly idleSinceUnixMs: number },
  ): Promise<number>;
}
