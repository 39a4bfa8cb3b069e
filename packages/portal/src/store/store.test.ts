import { OperationContext, Secret } from "@turnpike/authn";
import { accessTokenStoreContract, ManualClock, sessionStoreContract } from "@turnpike/authn/testing";
import type { LinkRevocation } from "@turnpike/link";
import { describe, expect, it } from "vitest";
import { listAudit } from "./audit.ts";
import { Credentials } from "./credentials.ts";
import { lastMessage, messagesAfter, trimOutbox } from "./outbox.ts";
import { Relays } from "./relays.ts";
import { SessionStore } from "./session-store.ts";
import { claimOnce, createSignInCode, takeSignInCode } from "./settings.ts";
import { FleetSecrets } from "./fleet-secrets.ts";
import { openStore, type Store } from "./store.ts";
import { TokenStore } from "./token-store.ts";
import { Users } from "./users.ts";

const ctx = OperationContext.internal("test");

async function allOf(credentials: Credentials): Promise<LinkRevocation[]> {
  const all: LinkRevocation[] = [];
  for await (const part of credentials.revocations(ctx)) all.push(...part);
  return all;
}

async function empty(): Promise<Store> {
  return openStore({ location: ":memory:", clock: new ManualClock() });
}

async function withUsers(): Promise<Store> {
  const store = await empty();
  const users = new Users(store);
  await users.create(ctx, { id: "alice", kind: "user", roles: ["admin"] });
  await users.create(ctx, { id: "bob", kind: "user", roles: [] });
  await users.create(ctx, { id: "shop", kind: "service", roles: [] });
  return store;
}

describe("the contracts of authentication's stores", () => {
  const sessions = sessionStoreContract(async () => new SessionStore(await withUsers()));
  it.each(sessions.map((each) => [each.name, each] as const))("sessions: %s", (_, each) => each.run());
  const tokens = accessTokenStoreContract(async () => new TokenStore(await withUsers()));
  it.each(tokens.map((each) => [each.name, each] as const))("tokens: %s", (_, each) => each.run());

  it("finds nothing of who is disabled, and today's roles of who isn't", async () => {
    const store = await withUsers();
    const tokens = new TokenStore(store);
    const actor = { kind: "user", id: "bob", roles: ["admin"] } as const;
    await tokens.insert(ctx, { id: "t", tokenDigest: "d", prefix: "tp_", actor, label: "", createdAtUnixMs: 1 });
    expect((await tokens.findByTokenDigest(ctx, "d"))?.actor).toEqual({ kind: "user", id: "bob", roles: [] });
    await new Users(store).update(ctx, "bob", { disabled: true });
    expect(await tokens.findByTokenDigest(ctx, "d")).toBeUndefined();
    expect(await tokens.list(ctx, { actorId: "bob" })).toEqual([]);
  });
});

describe("changes", () => {
  it("stand in the audit log with who made them, and without secrets", async () => {
    const store = await withUsers();
    const users = new Users(store);
    await users.update(ctx, "bob", { password: new Secret("hunter2"), roles: ["viewer"] });
    await expect(users.update(ctx, "nobody", { disabled: true })).rejects.toThrow(/no user/);
    await expect(users.create(ctx, { id: "bob", kind: "user", roles: [] })).rejects.toThrow(/already/);
    expect(await new Relays(store).remove(ctx, "nothing")).toBe(false);
    const entries = await listAudit(ctx, store, { limit: 10 });
    expect(entries.map(({ action, target, actor }) => [action, target, actor])).toEqual([
      ["user.changed", "bob", "builtIn:test"],
      ["user.created", "shop", "builtIn:test"],
      ["user.created", "bob", "builtIn:test"],
      ["user.created", "alice", "builtIn:test"],
    ]);
    expect(JSON.stringify(entries)).not.toContain("hunter2");
    expect(await listAudit(ctx, store, { limit: 10, before: 2 })).toHaveLength(1);
  });

  it("do nothing without a genuine context", async () => {
    const store = await withUsers();
    const forged: OperationContext = Object.create(ctx);
    const users = new Users(store);
    await expect(users.create(forged, { id: "x", kind: "user", roles: [] })).rejects.toThrow(TypeError);
    await expect(users.list(forged, { limit: 1 })).rejects.toThrow(TypeError);
    await expect(new Relays(store).create(forged, "r")).rejects.toThrow(TypeError);
    await expect(new Credentials(store).revoke(forged, "1:a")).rejects.toThrow(TypeError);
    await expect(new FleetSecrets(store).rotate(forged, { keepSeconds: 1 })).rejects.toThrow(TypeError);
    expect(await listAudit(ctx, store, { limit: 10 })).toHaveLength(3);
  });

  it("leave an administrator", async () => {
    const users = new Users(await withUsers());
    await expect(users.update(ctx, "alice", { roles: ["viewer"] })).rejects.toThrow(/administrator/);
    await expect(users.update(ctx, "alice", { disabled: true })).rejects.toThrow(/administrator/);
    await expect(users.remove(ctx, "alice")).rejects.toThrow(/administrator/);
    expect((await users.find(ctx, "alice"))?.roles).toEqual(["admin"]);
    await users.update(ctx, "bob", { roles: ["admin"] });
    await users.remove(ctx, "alice");
    expect(await users.find(ctx, "alice")).toBeUndefined();
  });
});

describe("passwords", () => {
  it("are verified, and stored as a salted hash only", async () => {
    const store = await withUsers();
    const users = new Users(store);
    await users.update(ctx, "bob", { password: new Secret("correct horse") });
    expect((await users.verifyPassword(ctx, "bob", new Secret("correct horse")))?.id).toBe("bob");
    expect(await users.verifyPassword(ctx, "bob", new Secret("wrong"))).toBeUndefined();
    expect(await users.verifyPassword(ctx, "alice", new Secret(""))).toBeUndefined();
    expect(await users.verifyPassword(ctx, "nobody", new Secret("x"))).toBeUndefined();
    await users.update(ctx, "bob", { password: null });
    expect(await users.verifyPassword(ctx, "bob", new Secret("correct horse"))).toBeUndefined();
  });
});

describe("credentials", () => {
  const minted = (username: string, label: string, actor = "alice") => ({
    username,
    actor,
    label,
    relayId: "r1",
    expiresAtUnixMs: 1_800_000_000_000,
  });

  it("revokes all of a label, tells the relays once, and replays what hasn't ended", async () => {
    const store = await withUsers();
    const credentials = new Credentials(store);
    await credentials.insert(ctx, [minted("1:a", "phone"), minted("1:b", "phone")]);
    await credentials.insert(ctx, [minted("1:c", "phone")]);
    await credentials.insert(ctx, [minted("1:d", "laptop"), minted("1:e", "phone", "bob")]);
    expect(await credentials.revoke(ctx, "1:zzz")).toBe(false);
    expect(await credentials.revoke(ctx, "1:b")).toBe(true);
    expect(await credentials.revoke(ctx, "1:b")).toBe(true);
    const messages = await messagesAfter(ctx, store, 0);
    expect(messages.map(({ message }) => message)).toEqual([
      {
        event: "revoke",
        payload: {
          revocations: ["1:a", "1:b", "1:c"].map((value) => ({
            by: "username",
            value,
            until_unix_ms: 1_800_000_000_000,
          })),
        },
      },
    ]);
    const replayed = await allOf(credentials);
    expect(replayed.map(({ value }) => value)).toEqual(["1:a", "1:b", "1:c"]);
  });

  it("are revoked with their user", async () => {
    const store = await withUsers();
    const credentials = new Credentials(store);
    await credentials.insert(ctx, [minted("1:a", "phone", "bob")]);
    await new Users(store).update(ctx, "bob", { disabled: true });
    expect((await messagesAfter(ctx, store, 0)).map(({ message }) => message.event)).toEqual([
      "revoke",
      "disconnect_user",
    ]);
  });

  it("of others are refused by their name", async () => {
    const store = await withUsers();
    const credentials = new Credentials(store);
    await credentials.revokeForeign(ctx, "1800000000:eve", 1_800_000_000_000);
    expect(await allOf(credentials)).toHaveLength(1);
    expect(await messagesAfter(ctx, store, 0)).toHaveLength(1);
  });
});

describe("what the fleet shares", () => {
  it("is made once", async () => {
    const store = await empty();
    const [one, other] = [new FleetSecrets(store), new FleetSecrets(store)];
    await Promise.all([one.prepare(ctx), other.prepare(ctx)]);
    expect(await one.minting(ctx)).toBe(await other.minting(ctx));
    expect(await one.minting(ctx)).toMatch(/^[\w-]{43}$/);
    expect(await Promise.all([claimOnce(ctx, store, "x"), claimOnce(ctx, store, "x")])).toEqual([true, false]);
  });

  it("lets a sign-in code be used once, within an hour", async () => {
    const clock = new ManualClock();
    const store = await openStore({ location: ":memory:", clock });
    const code = await createSignInCode(ctx, store, "alice");
    expect(await takeSignInCode(ctx, store, `${code}x`)).toBeUndefined();
    expect(await takeSignInCode(ctx, store, code)).toBe("alice");
    expect(await takeSignInCode(ctx, store, code)).toBeUndefined();
    const late = await createSignInCode(ctx, store, "alice");
    clock.advance(3_600_001);
    expect(await takeSignInCode(ctx, store, late)).toBeUndefined();
  });

  it("keeps messages for relays in order, until they are old", async () => {
    const clock = new ManualClock();
    const store = await openStore({ location: ":memory:", clock });
    const relays = new Relays(store);
    const { id } = await relays.create(ctx, "eu-1");
    await expect(relays.create(ctx, "eu-1")).rejects.toThrow(/already/);
    expect(await lastMessage(ctx, store)).toBe(0);
    expect(await relays.drain(ctx, "nothing")).toBe(false);
    expect(await relays.drain(ctx, id)).toBe(true);
    await relays.endAllocation(ctx, id, "a1");
    expect(await messagesAfter(ctx, store, 0)).toMatchObject([
      { seq: 1, relayId: id, message: { event: "drain" } },
      { seq: 2, relayId: id, message: { event: "end_allocation", payload: { allocation: "a1" } } },
    ]);
    expect(await messagesAfter(ctx, store, 2)).toEqual([]);
    clock.advance(10_000);
    await trimOutbox(ctx, store, 5_000);
    expect(await messagesAfter(ctx, store, 0)).toEqual([]);
    await relays.drain(ctx, id);
    expect(await lastMessage(ctx, store)).toBe(3);
  });
});
