import assert from "node:assert/strict";
import { OperationContext } from "../core/operation-context.ts";
import type { AccessTokenStore, StoredAccessToken } from "../http/access-token-store.ts";
import type { SessionStore, StoredSession } from "../http/session.ts";

/** One rule of a contract. Run it in any test framework: it rejects if the implementation breaks the rule. */
export interface ContractCase {
  readonly name: string;
  readonly run: () => Promise<void>;
}

const ctx = (): OperationContext => OperationContext.internal("store-contract");

/** A look-alike, whose type says nothing of the forgery. */
const forged = (): OperationContext => Object.create(ctx());

function session(id: string, rest: Partial<StoredSession> = {}): StoredSession {
  return {
    id,
    tokenDigest: `digest-${id}`,
    actor: { kind: "user", id: "alice", roles: ["admin"] },
    createdAtUnixMs: 1_000,
    lastUsedAtUnixMs: 1_000,
    expiresAtUnixMs: 9_000,
    ...rest,
  };
}

function token(id: string, rest: Partial<StoredAccessToken> = {}): StoredAccessToken {
  return {
    id,
    tokenDigest: `digest-${id}`,
    prefix: "tp_",
    actor: { kind: "service", id: "shop", roles: [] },
    label: "the shop's back end",
    createdAtUnixMs: 1_000,
    ...rest,
  };
}

const bob = { kind: "user", id: "bob", roles: [] } as const;

/** The rules that every {@link SessionStore} keeps. `create` makes an empty store that knows the users alice and bob. */
export function sessionStoreContract(create: () => SessionStore | Promise<SessionStore>): readonly ContractCase[] {
  const rule = (name: string, check: (store: SessionStore) => Promise<void>): ContractCase => ({
    name,
    run: async () => check(await create()),
  });
  return [
    rule("finds what was inserted by its token's digest, and nothing else", async (store) => {
      await store.insert(ctx(), session("a"));
      assert.deepEqual(await store.findByTokenDigest(ctx(), "digest-a"), session("a"));
      assert.equal(await store.findByTokenDigest(ctx(), "digest-b"), undefined);
      assert.equal(await store.findByTokenDigest(ctx(), "a"), undefined);
      assert.equal(await store.findByTokenDigest(ctx(), ""), undefined);
    }),
    rule("touch moves the time of use forwards only", async (store) => {
      await store.insert(ctx(), session("a"));
      await store.touch(ctx(), "a", 3_000);
      await store.touch(ctx(), "a", 2_000);
      assert.equal((await store.findByTokenDigest(ctx(), "digest-a"))?.lastUsedAtUnixMs, 3_000);
    }),
    rule("touch doesn't bring back what was deleted", async (store) => {
      await store.insert(ctx(), session("a"));
      assert.equal(await store.delete(ctx(), "a"), true);
      await store.touch(ctx(), "a", 3_000);
      assert.equal(await store.findByTokenDigest(ctx(), "digest-a"), undefined);
      assert.equal(await store.delete(ctx(), "a"), false);
    }),
    rule("lists an actor's sessions or all, newest first, without digests", async (store) => {
      await store.insert(ctx(), session("a"));
      await store.insert(ctx(), session("b", { createdAtUnixMs: 2_000 }));
      await store.insert(ctx(), session("c", { actor: bob, createdAtUnixMs: 3_000 }));
      const idsOf = async (filter: { actorId?: string }): Promise<readonly string[]> =>
        (await store.list(ctx(), filter)).map((each) => each.id);
      assert.deepEqual(await idsOf({}), ["c", "b", "a"]);
      assert.deepEqual(await idsOf({ actorId: "alice" }), ["b", "a"]);
      assert.deepEqual(await idsOf({ actorId: "nobody" }), []);
      assert.ok(!JSON.stringify(await store.list(ctx(), {})).includes("digest-"));
    }),
    rule("ends a session of somebody's only if it is theirs", async (store) => {
      await store.insert(ctx(), session("a"));
      assert.equal(await store.delete(ctx(), "a", { actorId: "bob" }), false);
      assert.equal((await store.findByTokenDigest(ctx(), "digest-a"))?.id, "a");
      assert.equal(await store.delete(ctx(), "a", { actorId: "alice" }), true);
      assert.equal(await store.findByTokenDigest(ctx(), "digest-a"), undefined);
    }),
    rule("removes what has expired or is idle, the limits included", async (store) => {
      await store.insert(ctx(), session("absolute", { expiresAtUnixMs: 5_000, lastUsedAtUnixMs: 4_999 }));
      await store.insert(ctx(), session("idle", { lastUsedAtUnixMs: 2_000 }));
      await store.insert(ctx(), session("alive", { lastUsedAtUnixMs: 2_001, expiresAtUnixMs: 5_001 }));
      assert.equal(await store.deleteExpired(ctx(), { nowUnixMs: 5_000, idleSinceUnixMs: 2_000 }), 2);
      assert.deepEqual(
        (await store.list(ctx(), {})).map((each) => each.id),
        ["alive"],
      );
    }),
    rule("does nothing without a genuine context", async (store) => {
      await assert.rejects(async () => store.insert(forged(), session("a")), TypeError);
      await assert.rejects(async () => store.findByTokenDigest(forged(), "digest-a"), TypeError);
      await assert.rejects(async () => store.touch(forged(), "a", 1), TypeError);
      await assert.rejects(async () => store.delete(forged(), "a"), TypeError);
      await assert.rejects(async () => store.list(forged(), {}), TypeError);
      await assert.rejects(async () => store.deleteExpired(forged(), { nowUnixMs: 1, idleSinceUnixMs: 1 }), TypeError);
      assert.deepEqual(await store.list(ctx(), {}), []);
    }),
  ];
}

/** The rules that every {@link AccessTokenStore} keeps. `create` makes an empty store that knows the service shop and the user bob. */
export function accessTokenStoreContract(
  create: () => AccessTokenStore | Promise<AccessTokenStore>,
): readonly ContractCase[] {
  const rule = (name: string, check: (store: AccessTokenStore) => Promise<void>): ContractCase => ({
    name,
    run: async () => check(await create()),
  });
  return [
    rule("finds what was inserted by its digest, and nothing else", async (store) => {
      await store.insert(ctx(), token("a"));
      await store.insert(ctx(), token("b", { expiresAtUnixMs: 5_000 }));
      assert.deepEqual(await store.findByTokenDigest(ctx(), "digest-a"), token("a"));
      assert.deepEqual(await store.findByTokenDigest(ctx(), "digest-b"), token("b", { expiresAtUnixMs: 5_000 }));
      assert.equal(await store.findByTokenDigest(ctx(), "digest-"), undefined);
    }),
    rule("touch moves the time of use forwards only, and brings nothing back", async (store) => {
      await store.insert(ctx(), token("a"));
      await store.touch(ctx(), "a", 3_000);
      await store.touch(ctx(), "a", 2_000);
      assert.equal((await store.findByTokenDigest(ctx(), "digest-a"))?.lastUsedAtUnixMs, 3_000);
      assert.equal(await store.delete(ctx(), "a"), true);
      await store.touch(ctx(), "a", 4_000);
      assert.equal(await store.findByTokenDigest(ctx(), "digest-a"), undefined);
      assert.equal(await store.delete(ctx(), "a"), false);
    }),
    rule("lists an actor's tokens or all, newest first, without digests", async (store) => {
      await store.insert(ctx(), token("a"));
      await store.insert(ctx(), token("b", { createdAtUnixMs: 2_000 }));
      await store.insert(ctx(), token("c", { createdAtUnixMs: 3_000, actor: bob }));
      const idsOf = async (filter: { actorId?: string }): Promise<readonly string[]> =>
        (await store.list(ctx(), filter)).map((each) => each.id);
      assert.deepEqual(await idsOf({}), ["c", "b", "a"]);
      assert.deepEqual(await idsOf({ actorId: "shop" }), ["b", "a"]);
      assert.ok(!JSON.stringify(await store.list(ctx(), {})).includes("digest-"));
    }),
    rule("removes a token of somebody's only if it is theirs", async (store) => {
      await store.insert(ctx(), token("a"));
      assert.equal(await store.delete(ctx(), "a", { actorId: "bob" }), false);
      assert.equal((await store.findByTokenDigest(ctx(), "digest-a"))?.id, "a");
      assert.equal(await store.delete(ctx(), "a", { actorId: "shop" }), true);
      assert.equal(await store.findByTokenDigest(ctx(), "digest-a"), undefined);
    }),
    rule("does nothing without a genuine context", async (store) => {
      await assert.rejects(async () => store.insert(forged(), token("a")), TypeError);
      await assert.rejects(async () => store.findByTokenDigest(forged(), "digest-a"), TypeError);
      await assert.rejects(async () => store.touch(forged(), "a", 1), TypeError);
      await assert.rejects(async () => store.delete(forged(), "a"), TypeError);
      await assert.rejects(async () => store.list(forged(), {}), TypeError);
      assert.deepEqual(await store.list(ctx(), {}), []);
    }),
  ];
}
