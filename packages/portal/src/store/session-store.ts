import type { OperationContext, Session, SessionStore as SessionStoreLike, StoredSession } from "@turnpike/authn";
import { actorFinder, findActor } from "./actors.ts";
import type { SessionsTable } from "./schema.ts";
import type { Store } from "./store.ts";

/** Sessions of browsers in the database. */
export class SessionStore implements SessionStoreLike {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async insert(ctx: OperationContext, session: StoredSession): Promise<void> {
    const { id, actor } = session;
    const details = { actor: `${actor.kind}:${actor.id}` };
    await this.#store.mutate(ctx, { action: "session.started", target: id, details }, async (trx) => {
      await trx
        .insertInto("sessions")
        .values({
          id,
          token_digest: session.tokenDigest,
          actor_kind: actor.kind,
          actor_id: actor.id,
          created_at: session.createdAtUnixMs,
          last_used_at: session.lastUsedAtUnixMs,
          expires_at: session.expiresAtUnixMs,
        })
        .execute();
      return true;
    });
  }

  async findByTokenDigest(ctx: OperationContext, tokenDigest: string): Promise<StoredSession | undefined> {
    const db = this.#store.reader(ctx);
    const row = await db.selectFrom("sessions").selectAll().where("token_digest", "=", tokenDigest).executeTakeFirst();
    const actor = row && (await findActor(db, { kind: row.actor_kind, id: row.actor_id }));
    return row && actor && { ...sessionOf(row), actor, tokenDigest: row.token_digest };
  }

  async touch(ctx: OperationContext, id: string, lastUsedAtUnixMs: number): Promise<void> {
    await this.#store.note(ctx, (db) =>
      db
        .updateTable("sessions")
        .set({ last_used_at: lastUsedAtUnixMs })
        .where("id", "=", id)
        .where("last_used_at", "<", lastUsedAtUnixMs)
        .execute(),
    );
  }

  async delete(ctx: OperationContext, id: string, { actorId }: { readonly actorId?: string } = {}): Promise<boolean> {
    return this.#store.mutate(ctx, { action: "session.ended", target: id }, async (trx) => {
      let removal = trx.deleteFrom("sessions").where("id", "=", id);
      if (actorId !== undefined) removal = removal.where("actor_id", "=", actorId);
      const { numDeletedRows } = await removal.executeTakeFirst();
      return numDeletedRows > 0n;
    });
  }

  async list(ctx: OperationContext, { actorId }: { readonly actorId?: string }): Promise<readonly Session[]> {
    const db = this.#store.reader(ctx);
    let query = db.selectFrom("sessions").selectAll().orderBy("created_at", "desc").orderBy("id").limit(10_000);
    if (actorId !== undefined) query = query.where("actor_id", "=", actorId);
    const sessions: Session[] = [];
    const actorOf = actorFinder(db);
    for (const row of await query.execute()) {
      const actor = await actorOf({ kind: row.actor_kind, id: row.actor_id });
      if (actor !== undefined) sessions.push({ ...sessionOf(row), actor });
    }
    return sessions;
  }

  async deleteExpired(
    ctx: OperationContext,
    { nowUnixMs, idleSinceUnixMs }: { readonly nowUnixMs: number; readonly idleSinceUnixMs: number },
  ): Promise<number> {
    return this.#store.note(ctx, async (db) => {
      const { numDeletedRows } = await db
        .deleteFrom("sessions")
        .where((row) => row.or([row("expires_at", "<=", nowUnixMs), row("last_used_at", "<=", idleSinceUnixMs)]))
        .executeTakeFirst();
      return Number(numDeletedRows);
    });
  }
}

function sessionOf(row: SessionsTable): Omit<Session, "actor"> {
  return {
    id: row.id,
    createdAtUnixMs: row.created_at,
    lastUsedAtUnixMs: row.last_used_at,
    expiresAtUnixMs: row.expires_at,
  };
}
