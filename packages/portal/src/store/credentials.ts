import type { OperationContext } from "@turnpike/authn";
import { type LinkRevocation, MAX_REVOCATIONS_PER_MESSAGE } from "@turnpike/link";
import type { Transaction } from "kysely";
import { putMessage } from "./outbox.ts";
import type { CredentialsTable, Database } from "./schema.ts";
import type { Store } from "./store.ts";

/** A credential that was minted. Its password is not kept. */
export interface MintedCredential {
  readonly username: string;
  readonly actor: string;
  /** What links the entries of one mint, and of mints that name the same. */
  readonly label: string;
  /** Absent: every relay accepts it. */
  readonly relayId?: string;
  readonly expiresAtUnixMs: number;
}

/** The credentials that a portal minted. */
export class Credentials {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Keeps what was minted, so that it can be revoked. */
  async insert(ctx: OperationContext, minted: readonly MintedCredential[]): Promise<void> {
    const [first] = minted;
    if (first === undefined) return;
    const details = { usernames: minted.map(({ username }) => username), label: first.label };
    await this.#store.mutate(ctx, { action: "credential.minted", target: first.actor, details }, async (trx) => {
      const now = this.#store.clock.unixMs();
      const rows = minted.map((each): CredentialsTable => ({
        username: each.username,
        actor: each.actor,
        label: each.label,
        relay_id: each.relayId ?? null,
        minted_by: ctx.actor?.id ?? "nobody",
        created_at: now,
        expires_at: each.expiresAtUnixMs,
        revoked_at: null,
      }));
      await trx
        .insertInto("credentials")
        .values(rows)
        // A name of the TURN REST form has no salt: minted twice in one second it is the same credential.
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      return true;
    });
  }

  async find(ctx: OperationContext, username: string): Promise<{ actor: string; mintedBy: string } | undefined> {
    const row = await this.#store
      .reader(ctx)
      .selectFrom("credentials")
      .select(["actor", "minted_by"])
      .where("username", "=", username)
      .executeTakeFirst();
    return row && { actor: row.actor, mintedBy: row.minted_by };
  }

  /** Revokes a credential and all that share its label, or of those what one minted. Tells whether it is known. */
  async revoke(
    ctx: OperationContext,
    username: string,
    { mintedBy }: { readonly mintedBy?: string | undefined } = {},
  ): Promise<boolean> {
    return this.#store.mutate(ctx, { action: "credential.revoked", target: username }, async (trx) => {
      const row = await trx
        .selectFrom("credentials")
        .select(["actor", "label"])
        .where("username", "=", username)
        .executeTakeFirst();
      if (row === undefined) return false;
      await revokeWhere(this.#store, trx, {
        actor: row.actor,
        label: row.label,
        ...(mintedBy === undefined ? {} : { mintedBy }),
      });
      return true;
    });
  }

  /** Refuses a time-limited name that this portal didn't mint, but whose form says when it ends. */
  async revokeForeign(ctx: OperationContext, username: string, expiresAtUnixMs: number): Promise<void> {
    await this.#store.mutate(ctx, { action: "credential.revoked", target: username }, async (trx) => {
      const now = this.#store.clock.unixMs();
      const row: CredentialsTable = {
        username,
        actor: "",
        label: username,
        relay_id: null,
        minted_by: "nobody",
        created_at: now,
        expires_at: expiresAtUnixMs,
        revoked_at: now,
      };
      await trx
        .insertInto("credentials")
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      await tell(this.#store, trx, [row]);
      return true;
    });
  }

  /** Revocations that haven't ended, in parts that fit a message: for a relay that joins. */
  async *revocations(ctx: OperationContext): AsyncIterable<readonly LinkRevocation[]> {
    let after = "";
    for (;;) {
      const rows = await this.#store
        .reader(ctx)
        .selectFrom("credentials")
        .select(["username", "expires_at"])
        .where("revoked_at", "is not", null)
        .where("expires_at", ">", this.#store.clock.unixMs())
        .where("username", ">", after)
        .orderBy("username")
        .limit(MAX_REVOCATIONS_PER_MESSAGE)
        .execute();
      if (rows.length === 0) return;
      yield rows.map(revocationOf);
      after = rows.at(-1)?.username ?? "";
    }
  }

  /** Forgets what has ended. */
  async cleanUp(ctx: OperationContext): Promise<void> {
    await this.#store.note(ctx, (db) =>
      db.deleteFrom("credentials").where("expires_at", "<", this.#store.clock.unixMs()).execute(),
    );
  }
}

/** Revokes an actor's credentials, or those of one label or of one who minted them, and tells the relays. */
export async function revokeWhere(
  store: Store,
  trx: Transaction<Database>,
  { actor, label, mintedBy }: { readonly actor: string; readonly label?: string; readonly mintedBy?: string },
): Promise<void> {
  const now = store.clock.unixMs();
  let living = trx
    .selectFrom("credentials")
    .select(["username", "expires_at"])
    .where("actor", "=", actor)
    .where("revoked_at", "is", null)
    .where("expires_at", ">", now);
  let update = trx.updateTable("credentials").set({ revoked_at: now }).where("actor", "=", actor);
  if (label !== undefined) {
    living = living.where("label", "=", label);
    update = update.where("label", "=", label);
  }
  if (mintedBy !== undefined) {
    living = living.where("minted_by", "=", mintedBy);
    update = update.where("minted_by", "=", mintedBy);
  }
  const rows = await living.execute();
  await update.where("revoked_at", "is", null).execute();
  await tell(store, trx, rows);
}

async function tell(
  store: Store,
  trx: Transaction<Database>,
  rows: readonly { readonly username: string; readonly expires_at: number }[],
): Promise<void> {
  for (let start = 0; start < rows.length; start += MAX_REVOCATIONS_PER_MESSAGE) {
    const revocations = rows.slice(start, start + MAX_REVOCATIONS_PER_MESSAGE).map(revocationOf);
    await putMessage(store, trx, { message: { event: "revoke", payload: { revocations } } });
  }
}

function revocationOf(row: { readonly username: string; readonly expires_at: number }): LinkRevocation {
  return { by: "username", value: row.username, until_unix_ms: row.expires_at };
}
