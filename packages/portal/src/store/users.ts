import { Secret, type OperationContext, type UserActor } from "@turnpike/authn";
import { MAX_QUOTAS_PER_MESSAGE } from "@turnpike/link";
import { hashPassword, verifyPassword } from "../access/password.ts";
import type { Role } from "../access/roles.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import { findActor, readRoles } from "./actors.ts";
import { putMessage } from "./outbox.ts";
import { revokeWhere } from "./credentials.ts";
import type { UsersTable } from "./schema.ts";
import type { Store } from "./store.ts";

/** Somebody, or some program, that may use the portal. */
export interface User {
  readonly id: string;
  readonly kind: "user" | "service";
  readonly name?: string;
  readonly roles: readonly Role[];
  readonly disabled: boolean;
  /** Whether they can sign in by password. */
  readonly hasPassword: boolean;
  /** Whether an external verifier vouched for them first: their roles follow it. */
  readonly isExternal: boolean;
  /** How many allocations they may have at once. Absent: the fleet's default. */
  readonly maxAllocations?: number;
  readonly createdAtUnixMs: number;
}

/** What a user is made of. */
export interface NewUser {
  readonly id: string;
  readonly kind: "user" | "service";
  readonly name?: string | undefined;
  readonly roles: readonly Role[];
  readonly password?: Secret | undefined;
  readonly maxAllocations?: number | undefined;
  readonly isExternal?: boolean;
}

/** What can be changed; null takes it away. */
export interface UserChanges {
  readonly name?: string | null | undefined;
  readonly roles?: readonly Role[] | undefined;
  readonly disabled?: boolean | undefined;
  readonly password?: Secret | null | undefined;
  readonly maxAllocations?: number | null | undefined;
}

/** The users of a portal. */
export class Users {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** In the order of their ids, after one. */
  async list(
    ctx: OperationContext,
    { after = "", limit }: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<readonly User[]> {
    const all = this.#store.reader(ctx).selectFrom("users").selectAll();
    const rows = await all.where("id", ">", after).orderBy("id").limit(limit).execute();
    return rows.map(userOf);
  }

  async find(ctx: OperationContext, id: string): Promise<User | undefined> {
    const row = await this.#store.reader(ctx).selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
    return row && userOf(row);
  }

  /** @throws ConflictError if the name is taken */
  async create(ctx: OperationContext, user: NewUser): Promise<User> {
    const row: UsersTable = {
      id: user.id,
      kind: user.kind,
      name: user.name ?? null,
      roles: JSON.stringify(user.roles),
      disabled: 0,
      password_hash: user.password === undefined ? null : await hashPassword(user.password),
      max_allocations: user.maxAllocations ?? null,
      is_external: Number(user.isExternal ?? false),
      created_at: this.#store.clock.unixMs(),
    };
    const details = { kind: user.kind, roles: user.roles };
    return this.#store.mutate(ctx, { action: "user.created", target: user.id, details }, async (trx) => {
      const { numInsertedOrUpdatedRows } = await trx
        .insertInto("users")
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      if (numInsertedOrUpdatedRows === 0n) throw new ConflictError(`There is a user "${user.id}" already.`);
      if (row.max_allocations !== null) await this.#announceQuota(trx, user.id, row.max_allocations);
      return userOf(row);
    });
  }

  /**
   * Changes a user. Who is disabled is signed out everywhere, and loses their credentials and allocations.
   *
   * @throws NotFoundError, or ConflictError if no administrator would be left
   */
  async update(ctx: OperationContext, id: string, changes: UserChanges): Promise<User> {
    const { password, ...rest } = changes;
    const hash = password instanceof Secret ? await hashPassword(password) : password;
    const details = { ...rest, ...(password === undefined ? {} : { password: password === null ? "removed" : "set" }) };
    return this.#store.mutate(ctx, { action: "user.changed", target: id, details }, async (trx) => {
      await this.#store.serialize(trx);
      const row = await trx.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
      if (row === undefined) throw new NotFoundError(`There is no user "${id}".`);
      const changed: UsersTable = {
        ...row,
        ...(changes.name === undefined ? {} : { name: changes.name }),
        ...(changes.roles === undefined ? {} : { roles: JSON.stringify(changes.roles) }),
        ...(changes.disabled === undefined ? {} : { disabled: Number(changes.disabled) }),
        ...(hash === undefined ? {} : { password_hash: hash }),
        ...(changes.maxAllocations === undefined ? {} : { max_allocations: changes.maxAllocations }),
      };
      await trx.updateTable("users").set(changed).where("id", "=", id).execute();
      await this.#keepAnAdministrator(trx);
      // A changed password ends what the old one opened.
      if (changed.disabled === 1 || hash !== undefined) {
        await trx.deleteFrom("sessions").where("actor_id", "=", id).where("actor_kind", "!=", "relay").execute();
      }
      if (changed.disabled === 1 && row.disabled === 0) await this.#shutOut(trx, id);
      if (changed.max_allocations !== row.max_allocations) await this.#announceQuota(trx, id, changed.max_allocations);
      return userOf(changed);
    });
  }

  /** @throws NotFoundError, or ConflictError if no administrator would be left */
  async remove(ctx: OperationContext, id: string): Promise<void> {
    await this.#store.mutate(ctx, { action: "user.removed", target: id }, async (trx) => {
      await this.#store.serialize(trx);
      const { numDeletedRows } = await trx.deleteFrom("users").where("id", "=", id).executeTakeFirst();
      if (numDeletedRows === 0n) throw new NotFoundError(`There is no user "${id}".`);
      await this.#keepAnAdministrator(trx);
      for (const table of ["sessions", "tokens"] as const) {
        await trx.deleteFrom(table).where("actor_id", "=", id).where("actor_kind", "!=", "relay").execute();
      }
      await this.#shutOut(trx, id);
      await this.#announceQuota(trx, id, null);
      return true;
    });
  }

  /** Who signs in with that password. An unknown user takes as long as a known one. */
  async verifyPassword(ctx: OperationContext, id: string, password: Secret): Promise<UserActor | undefined> {
    const db = this.#store.reader(ctx);
    const row = await db.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
    const isRight = await verifyPassword(password, row?.password_hash ?? undefined);
    const actor = isRight && row?.kind === "user" ? await findActor(db, { kind: "user", id }) : undefined;
    return actor?.kind === "user" ? actor : undefined;
  }

  /** How many allocations each user may have at once, where that is said; in parts that fit a message. */
  async *quotas(ctx: OperationContext): AsyncIterable<Readonly<Record<string, number>>> {
    let after = "";
    for (;;) {
      const rows = await this.#store
        .reader(ctx)
        .selectFrom("users")
        .select(["id", "max_allocations"])
        .where("max_allocations", "is not", null)
        .where("id", ">", after)
        .orderBy("id")
        .limit(MAX_QUOTAS_PER_MESSAGE)
        .execute();
      if (rows.length === 0) return;
      yield Object.fromEntries(rows.map((row) => [row.id, row.max_allocations ?? 0]));
      after = rows.at(-1)?.id ?? "";
    }
  }

  /** Tells all relays, whichever portal they are linked to. */
  async #announceQuota(trx: Parameters<typeof putMessage>[1], id: string, quota: number | null): Promise<void> {
    const payload = { users: { [id]: quota }, partial: true };
    await putMessage(this.#store, trx, { message: { event: "quota", payload } });
  }

  async #shutOut(trx: Parameters<typeof putMessage>[1], id: string): Promise<void> {
    await revokeWhere(this.#store, trx, { actor: id });
    await putMessage(this.#store, trx, { message: { event: "disconnect_user", payload: { actor: id } } });
  }

  async #keepAnAdministrator(trx: Parameters<typeof putMessage>[1]): Promise<void> {
    const rows = await trx.selectFrom("users").select("roles").where("disabled", "=", 0).execute();
    if (!rows.some(({ roles }) => readRoles(roles).includes("admin"))) {
      throw new ConflictError("This would leave no administrator: give somebody else the role first.");
    }
  }
}

function userOf(row: UsersTable): User {
  return {
    id: row.id,
    kind: row.kind === "service" ? "service" : "user",
    ...(row.name === null ? {} : { name: row.name }),
    roles: readRoles(row.roles),
    disabled: row.disabled !== 0,
    hasPassword: row.password_hash !== null,
    isExternal: row.is_external !== 0,
    ...(row.max_allocations === null ? {} : { maxAllocations: row.max_allocations }),
    createdAtUnixMs: row.created_at,
  };
}
