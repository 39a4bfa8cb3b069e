import type { AccessToken, AccessTokenStore, OperationContext, StoredAccessToken } from "@turnpike/authn";
import { actorFinder, findActor } from "./actors.ts";
import type { TokensTable } from "./schema.ts";
import type { Store } from "./store.ts";

/** Access tokens in the database. */
export class TokenStore implements AccessTokenStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async insert(ctx: OperationContext, token: StoredAccessToken): Promise<void> {
    const { id, actor, prefix, label } = token;
    const details = { actor: `${actor.kind}:${actor.id}`, prefix, label };
    await this.#store.mutate(ctx, { action: "token.created", target: id, details }, async (trx) => {
      await trx
        .insertInto("tokens")
        .values({
          id,
          token_digest: token.tokenDigest,
          prefix,
          actor_kind: actor.kind,
          actor_id: actor.id,
          label,
          created_at: token.createdAtUnixMs,
          expires_at: token.expiresAtUnixMs ?? null,
          last_used_at: token.lastUsedAtUnixMs ?? null,
        })
        .execute();
      return true;
    });
  }

  async findByTokenDigest(ctx: OperationContext, tokenDigest: string): Promise<StoredAccessToken | undefined> {
    const db = this.#store.reader(ctx);
    const row = await db.selectFrom("tokens").selectAll().where("token_digest", "=", tokenDigest).executeTakeFirst();
    const actor = row && (await findActor(db, { kind: row.actor_kind, id: row.actor_id }));
    return row && actor && { ...tokenOf(row), actor, tokenDigest: row.token_digest };
  }

  async touch(ctx: OperationContext, id: string, lastUsedAtUnixMs: number): Promise<void> {
    await this.#store.note(ctx, (db) =>
      db
        .updateTable("tokens")
        .set({ last_used_at: lastUsedAtUnixMs })
        .where("id", "=", id)
        .where((row) => row.or([row("last_used_at", "is", null), row("last_used_at", "<", lastUsedAtUnixMs)]))
        .execute(),
    );
  }

  async delete(ctx: OperationContext, id: string, { actorId }: { readonly actorId?: string } = {}): Promise<boolean> {
    return this.#store.mutate(ctx, { action: "token.revoked", target: id }, async (trx) => {
      let removal = trx.deleteFrom("tokens").where("id", "=", id);
      if (actorId !== undefined) removal = removal.where("actor_id", "=", actorId);
      const { numDeletedRows } = await removal.executeTakeFirst();
      return numDeletedRows > 0n;
    });
  }

  async list(ctx: OperationContext, { actorId }: { readonly actorId?: string }): Promise<readonly AccessToken[]> {
    const db = this.#store.reader(ctx);
    let query = db.selectFrom("tokens").selectAll().orderBy("created_at", "desc").orderBy("id").limit(10_000);
    if (actorId !== undefined) query = query.where("actor_id", "=", actorId);
    const tokens: AccessToken[] = [];
    const actorOf = actorFinder(db);
    for (const row of await query.execute()) {
      const actor = await actorOf({ kind: row.actor_kind, id: row.actor_id });
      if (actor !== undefined) tokens.push({ ...tokenOf(row), actor });
    }
    return tokens;
  }
}

function tokenOf(row: TokensTable): Omit<AccessToken, "actor"> {
  return {
    id: row.id,
    prefix: row.prefix,
    label: row.label,
    createdAtUnixMs: row.created_at,
    ...(row.expires_at === null ? {} : { expiresAtUnixMs: row.expires_at }),
    ...(row.last_used_at === null ? {} : { lastUsedAtUnixMs: row.last_used_at }),
  };
}
