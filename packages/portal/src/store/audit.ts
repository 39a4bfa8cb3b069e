import type { OperationContext } from "@turnpike/authn";
import type { Store } from "./store.ts";

/** One change that was made. */
export interface AuditEntry {
  readonly seq: number;
  readonly atUnixMs: number;
  /** Such as `user:alice` or `builtIn:first-start`. */
  readonly actor: string;
  readonly scheme?: string;
  /** Of the token or session that it was done with. */
  readonly credentialId?: string;
  readonly action: string;
  readonly target: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly requestId: string;
}

/** The newest changes before number `before`, newest first. */
export async function listAudit(
  ctx: OperationContext,
  store: Store,
  { before, limit }: { readonly before?: number | undefined; readonly limit: number },
): Promise<readonly AuditEntry[]> {
  let query = store.reader(ctx).selectFrom("audit").selectAll().orderBy("seq", "desc").limit(limit);
  if (before !== undefined) query = query.where("seq", "<", before);
  return (await query.execute()).map((row) => ({
    seq: row.seq,
    atUnixMs: row.at,
    actor: row.actor,
    ...(row.scheme === null ? {} : { scheme: row.scheme }),
    ...(row.credential_id === null ? {} : { credentialId: row.credential_id }),
    action: row.action,
    target: row.target,
    details: detailsOf(row.details),
    requestId: row.request_id,
  }));
}

/** How many of the oldest entries are looked at in one statement. */
const BATCH = 1_000;
/** How many statements a call of {@link trimAudit} makes. */
const MAX_BATCHES = 20;

/**
 * Removes the oldest entries that are older than that, at most 20,000 in a call; tells how many. An entry that a clock
 * ahead of its time wrote stays until it is old.
 */
export async function trimAudit(ctx: OperationContext, store: Store, olderThanMs: number): Promise<number> {
  const limit = store.clock.unixMs() - olderThanMs;
  let removed = 0;
  for (let batch = 0; batch < MAX_BATCHES; batch++) {
    const { numDeletedRows } = await store.note(ctx, (db) =>
      db
        .deleteFrom("audit")
        // By their numbers, which stand in an index: whether an entry is old enough is asked of these alone.
        .where("seq", "in", db.selectFrom("audit").select("seq").orderBy("seq").limit(BATCH))
        .where("at", "<", limit)
        .executeTakeFirst(),
    );
    removed += Number(numDeletedRows);
    if (numDeletedRows < BATCH) break;
  }
  return removed;
}

function detailsOf(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null ? { ...value } : {};
}
