import { describe, expect, test } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { accessTokenStoreContract, sessionStoreContract } from "../testing/store-contract.ts";
import { MemoryAccessTokenStore } from "./access-token-store.ts";
import { MemorySessionStore } from "./memory-session-store.ts";
import type { StoredSession } from "./session.ts";

const ctx = OperationContext.internal("test");

describe("MemorySessionStore", () => {
  for (const { name, run } of sessionStoreContract(() => new MemorySessionStore())) test(name, run);

  test("is bounded: the session that is unused for longest makes room", async () => {
    const store = new MemorySessionStore({ capacity: 2 });
    const session = (id: string, lastUsedAtUnixMs: number): StoredSession => ({
      id,
      tokenDigest: `digest-${id}`,
      actor: { kind: "user", id: "alice", roles: [] },
      createdAtUnixMs: 0,
      lastUsedAtUnixMs,
      expiresAtUnixMs: 9_000,
    });
    await store.insert(ctx, session("a", 1));
    await store.insert(ctx, session("b", 2));
    await store.touch(ctx, "a", 3);
    await store.insert(ctx, session("c", 4));
    expect((await store.list(ctx, {})).map((each) => each.id).toSorted()).toEqual(["a", "c"]);
    expect(await store.delete(ctx, "b")).toBe(false);
  });
});

describe("MemoryAccessTokenStore", () => {
  for (const { name, run } of accessTokenStoreContract(() => new MemoryAccessTokenStore())) test(name, run);

  test("is bounded: one token more is refused", async () => {
    const store = new MemoryAccessTokenStore({ capacity: 1 });
    const token = { prefix: "tp_", label: "", createdAtUnixMs: 0, actor: { kind: "relay", id: "r" } } as const;
    await store.insert(ctx, { ...token, id: "a", tokenDigest: "a" });
    await expect(store.insert(ctx, { ...token, id: "b", tokenDigest: "b" })).rejects.toThrow(/revoke one first/);
  });
});
