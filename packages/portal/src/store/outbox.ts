import type { OperationContext } from "@turnpike/authn";
import { type PortalMessage, readPortalMessage } from "@turnpike/link";
import type { Transaction } from "kysely";
import type { Database } from "./schema.ts";
import type { Store } from "./store.ts";

/** A message for relays, whichever portal they are linked to. */
export interface OutboxEntry {
  readonly seq: number;
  /** Absent: for every relay. */
  readonly relayId?: string;
  readonly message: PortalMessage;
}

/** How many messages are read at once. */
const BATCH = 500;

/**
 * Puts a message for relays into the transaction of the change that it tells of: it is sent if and only if the change
 * was made, by every portal of the fleet.
 */
export async function putMessage(
  store: Store,
  trx: Transaction<Database>,
  { relayId, message }: { readonly relayId?: string; readonly message: PortalMessage },
): Promise<void> {
  await store.serialize(trx);
  const row = { at: store.clock.unixMs(), relay_id: relayId ?? null, message: JSON.stringify(message) };
  await trx.insertInto("outbox").values(row).execute();
}

/** The number of the last message. */
export async function lastMessage(ctx: OperationContext, store: Store): Promise<number> {
  const { last } = await store
    .reader(ctx)
    .selectFrom("outbox")
    .select((row) => row.fn.max("seq").as("last"))
    .executeTakeFirstOrThrow();
  return last ?? 0;
}

/** Messages after number `seq`, in their order. */
export async function messagesAfter(ctx: OperationContext, store: Store, seq: number): Promise<readonly OutboxEntry[]> {
  const rows = await store
    .reader(ctx)
    .selectFrom("outbox")
    .selectAll()
    .where("seq", ">", seq)
    .orderBy("seq")
    .limit(BATCH)
    .execute();
  return rows.map((row) => {
    const stored: unknown = JSON.parse(row.message);
    const frame = isFrame(stored) ? readPortalMessage(stored) : { kind: "unknown" as const };
    if (frame.kind !== "message") throw new Error(`The message ${row.seq} of the outbox can't be read`);
    return { seq: row.seq, ...(row.relay_id === null ? {} : { relayId: row.relay_id }), message: frame.message };
  });
}

/** Removes messages that every portal has read by now. */
export async function trimOutbox(ctx: OperationContext, store: Store, olderThanMs: number): Promise<void> {
  await store.note(ctx, (db) =>
    db
      .deleteFrom("outbox")
      .where("at", "<", store.clock.unixMs() - olderThanMs)
      .execute(),
  );
}

function isFrame(value: unknown): value is { readonly event: string; readonly payload: unknown } {
  return (
    typeof value === "object" &&
    value !== null &&
    "event" in value &&
    typeof value.event === "string" &&
    "payload" in value
  );
}
