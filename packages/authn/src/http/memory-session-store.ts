import { BoundedPriorityQueue } from "../cache/bounded-priority-queue.ts";
import { OperationContext } from "../core/operation-context.ts";
import { type Session, type SessionStore, type StoredSession, withoutDigest } from "./session.ts";

const DEFAULT_CAPACITY = 10_000;

/** Sessions in memory, for tests and for programs that forget them when they end. */
export class MemorySessionStore implements SessionStore {
  readonly #byDigest: BoundedPriorityQueue<string, StoredSession>;
  readonly #digestOf = new Map<string, string>();

  /** @param options.capacity how many sessions are kept; one more ends the one that is unused for longest. Default 10,000 */
  constructor({ capacity = DEFAULT_CAPACITY }: { capacity?: number } = {}) {
    this.#byDigest = new BoundedPriorityQueue({ capacity });
  }

  async insert(ctx: OperationContext, session: StoredSession): Promise<void> {
    OperationContext.assert(ctx);
    const evicted = this.#byDigest.set(session.tokenDigest, session, session.lastUsedAtUnixMs);
    if (evicted !== undefined) this.#digestOf.delete(evicted.value.id);
    this.#digestOf.set(session.id, session.tokenDigest);
  }

  async findByTokenDigest(ctx: OperationContext, tokenDigest: string): Promise<StoredSession | undefined> {
    OperationContext.assert(ctx);
    return this.#byDigest.get(tokenDigest);
  }

  async touch(ctx: OperationContext, id: string, lastUsedAtUnixMs: number): Promise<void> {
    OperationContext.assert(ctx);
    const session = this.#byDigest.get(this.#digestOf.get(id) ?? "");
    if (session === undefined || session.lastUsedAtUnixMs >= lastUsedAtUnixMs) return;
    this.#byDigest.set(session.tokenDigest, { ...session, lastUsedAtUnixMs }, lastUsedAtUnixMs);
  }

  async delete(ctx: OperationContext, id: string, filter: { readonly actorId?: string } = {}): Promise<boolean> {
    OperationContext.assert(ctx);
    const session = this.#byDigest.get(this.#digestOf.get(id) ?? "");
    if (session === undefined || (filter.actorId ?? session.actor.id) !== session.actor.id) return false;
    this.#digestOf.delete(id);
    return this.#byDigest.delete(session.tokenDigest);
  }

  async list(ctx: OperationContext, { actorId }: { readonly actorId?: string }): Promise<readonly Session[]> {
    OperationContext.assert(ctx);
    return [...this.#byDigest.entries()]
      .map((entry) => withoutDigest(entry.value))
      .filter((session) => actorId === undefined || session.actor.id === actorId)
      .toSorted((a, b) => b.createdAtUnixMs - a.createdAtUnixMs);
  }

  async deleteExpired(
    ctx: OperationContext,
    { nowUnixMs, idleSinceUnixMs }: { readonly nowUnixMs: number; readonly idleSinceUnixMs: number },
  ): Promise<number> {
    OperationContext.assert(ctx);
    const ended = [...this.#byDigest.entries()]
      .map((entry) => entry.value)
      .filter((session) => session.expiresAtUnixMs <= nowUnixMs || session.lastUsedAtUnixMs <= idleSinceUnixMs);
    for (const session of ended) await this.delete(ctx, session.id);
    return ended.length;
  }
}
