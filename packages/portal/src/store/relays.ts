import { randomBytes } from "node:crypto";
import type { OperationContext } from "@turnpike/authn";
import { ConflictError } from "../errors.ts";
import { putMessage } from "./outbox.ts";
import type { Store } from "./store.ts";

/** A relay that may link to this fleet. */
export interface RegisteredRelay {
  readonly id: string;
  readonly name: string;
  readonly createdAtUnixMs: number;
}

/** The relays of the fleet, linked or not. */
export class Relays {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async list(ctx: OperationContext): Promise<readonly RegisteredRelay[]> {
    const rows = await this.#store.reader(ctx).selectFrom("relays").selectAll().orderBy("name").limit(10_000).execute();
    return rows.map((row) => ({ id: row.id, name: row.name, createdAtUnixMs: row.created_at }));
  }

  async find(ctx: OperationContext, id: string): Promise<RegisteredRelay | undefined> {
    const row = await this.#store.reader(ctx).selectFrom("relays").selectAll().where("id", "=", id).executeTakeFirst();
    return row && { id: row.id, name: row.name, createdAtUnixMs: row.created_at };
  }

  async findByName(ctx: OperationContext, name: string): Promise<RegisteredRelay | undefined> {
    return (await this.list(ctx)).find((relay) => relay.name === name);
  }

  /** @throws ConflictError if the name is taken */
  async create(ctx: OperationContext, name: string): Promise<RegisteredRelay> {
    const relay = { id: `r-${randomBytes(9).toString("hex")}`, name, createdAtUnixMs: this.#store.clock.unixMs() };
    return this.#store.mutate(ctx, { action: "relay.created", target: relay.id, details: { name } }, async (trx) => {
      const { numInsertedOrUpdatedRows } = await trx
        .insertInto("relays")
        .values({ id: relay.id, name, created_at: relay.createdAtUnixMs })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      if (numInsertedOrUpdatedRows === 0n) throw new ConflictError(`There is a relay "${name}" already.`);
      return relay;
    });
  }

  /** Removes a relay with its tokens; tells whether it was there. */
  async remove(ctx: OperationContext, id: string): Promise<boolean> {
    return this.#store.mutate(ctx, { action: "relay.removed", target: id }, async (trx) => {
      const { numDeletedRows } = await trx.deleteFrom("relays").where("id", "=", id).executeTakeFirst();
      await trx.deleteFrom("tokens").where("actor_kind", "=", "relay").where("actor_id", "=", id).execute();
      return numDeletedRows > 0n;
    });
  }

  /** Has a relay refuse new allocations; tells whether there is such a relay. */
  async drain(ctx: OperationContext, id: string): Promise<boolean> {
    return this.#store.mutate(ctx, { action: "relay.drained", target: id }, async (trx) => {
      const row = await trx.selectFrom("relays").select("id").where("id", "=", id).executeTakeFirst();
      if (row === undefined) return false;
      await putMessage(this.#store, trx, { relayId: id, message: { event: "drain", payload: {} } });
      return true;
    });
  }

  /** Has a relay end one allocation. */
  async endAllocation(ctx: OperationContext, relayId: string, allocation: string): Promise<void> {
    const details = { relay: relayId };
    await this.#store.mutate(ctx, { action: "allocation.ended", target: allocation, details }, async (trx) => {
      await putMessage(this.#store, trx, { relayId, message: { event: "end_allocation", payload: { allocation } } });
      return true;
    });
  }
}
