import { createHash, randomBytes } from "node:crypto";
import type { OperationContext } from "@turnpike/authn";
import type { Store } from "./store.ts";

const SIGN_IN_SECONDS = 3_600;

/** Takes something that only the first portal of a fleet may do; false: another one has it. */
export async function claimOnce(ctx: OperationContext, store: Store, key: string): Promise<boolean> {
  return store.note(ctx, async (db) => {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto("settings")
      .values({ key, value: String(store.clock.unixMs()) })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst();
    return numInsertedOrUpdatedRows === 1n;
  });
}

/** A code that signs somebody in once, within an hour. */
export async function createSignInCode(ctx: OperationContext, store: Store, userId: string): Promise<string> {
  const code = randomBytes(32).toString("base64url");
  const row = { digest: digestOf(code), user_id: userId, expires_at: store.clock.unixMs() + SIGN_IN_SECONDS * 1_000 };
  await store.mutate(ctx, { action: "sign-in-code.created", target: userId }, async (trx) => {
    await trx.insertInto("sign_in_codes").values(row).execute();
    return true;
  });
  return code;
}

/** Whose code that is. It is used up by that. */
export async function takeSignInCode(ctx: OperationContext, store: Store, code: string): Promise<string | undefined> {
  return store.note(ctx, async (db) => {
    const row = await db
      .deleteFrom("sign_in_codes")
      .where("digest", "=", digestOf(code))
      .returning(["user_id", "expires_at"])
      .executeTakeFirst();
    return row !== undefined && row.expires_at > store.clock.unixMs() ? row.user_id : undefined;
  });
}

function digestOf(code: string): string {
  return createHash("sha256").update(code).digest("base64url");
}
