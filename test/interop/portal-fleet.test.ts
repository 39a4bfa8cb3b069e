/** Portals on a real PostgreSQL and a real Redis, which are killed in turn. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { accessTokenStoreContract, sessionStoreContract } from "@turnpike/authn/testing";
import { transportAddress } from "@turnpike/stun";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SessionStore } from "../../packages/portal/src/store/session-store.ts";
import { openStore, type Store } from "../../packages/portal/src/store/store.ts";
import { TokenStore } from "../../packages/portal/src/store/token-store.ts";
import { Users } from "../../packages/portal/src/store/users.ts";
import {
  type IceServer,
  internal,
  type LinkedTestRelay,
  startLinkedRelay,
  startTestPortal,
  type TestPortal,
} from "../support/portal.ts";
import { keep } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";
import { ensureDebianPackages } from "./support/debian.ts";
import { type KillableServer, postgresServer, redisServer } from "./support/fleet-servers.ts";

let postgres: KillableServer;
let redis: KillableServer;
beforeAll(async () => {
  ensureDebianPackages({ packages: ["postgresql", "redis-server"], commands: ["pg_lsclusters", "redis-server"] });
  postgres = await postgresServer();
  redis = await redisServer();
});
afterAll(async () => {
  await redis.remove();
  await postgres.remove();
});

async function emptied(): Promise<Store> {
  const store = await openStore({ location: postgres.url });
  keep({ [Symbol.asyncDispose]: () => store.close() });
  const db = store.reader(internal);
  for (const table of ["users", "tokens", "sessions"] as const) await db.deleteFrom(table).execute();
  const users = new Users(store);
  await users.create(internal, { id: "alice", kind: "user", roles: ["admin"] });
  await users.create(internal, { id: "bob", kind: "user", roles: [] });
  await users.create(internal, { id: "shop", kind: "service", roles: [] });
  return store;
}

describe("PostgreSQL keeps the contracts of authentication's stores", () => {
  const sessions = sessionStoreContract(async () => new SessionStore(await emptied()));
  it.each(sessions.map((each) => [each.name, each] as const))("sessions: %s", (_, each) => each.run());
  const tokens = accessTokenStoreContract(async () => new TokenStore(await emptied()));
  it.each(tokens.map((each) => [each.name, each] as const))("tokens: %s", (_, each) => each.run());
});

describe("a connection to PostgreSQL that breaks", () => {
  it("between two statements of a transaction fails the transaction, and neither the portal nor the next one", async () => {
    const store = await emptied();
    const outside = new Client({ connectionString: postgres.url });
    await outside.connect();
    const inTransaction = "pg_stat_activity where state = 'idle in transaction'";
    const asked = store.mutate(internal, { action: "test", target: "test" }, async (trx) => {
      await trx.insertInto("settings").values({ key: "half", value: "done" }).execute();
      expect((await outside.query(`select pg_terminate_backend(pid) from ${inTransaction}`)).rowCount).toBe(1);
      await expect.poll(async () => (await outside.query(`select pid from ${inTransaction}`)).rowCount).toBe(0);
      await nextTurn();
      await trx.insertInto("settings").values({ key: "other half", value: "done" }).execute();
    });
    await expect(asked).rejects.toThrow();
    await outside.end();
    const kept = store.reader(internal).selectFrom("settings").select("key").where("key", "in", ["half", "other half"]);
    expect(await kept.execute()).toEqual([]);
    const carol = await new Users(store).create(internal, { id: "carol", kind: "user", roles: [] });
    expect(carol).toMatchObject({ id: "carol" });
  });
});

async function clientOf([entry]: readonly IceServer[]): Promise<UdpTurnClient> {
  const { urls, username = "", credential = "" } = entry!;
  const [, port = ""] = /^turn:127\.0\.0\.1:(\d+)/.exec(urls[0]!) ?? [];
  return keep(
    await UdpTurnClient.open(transportAddress("127.0.0.1", Number(port)), { username, password: credential }),
  );
}

describe("two portals and three relays", () => {
  it("mint, revoke and list for each other, and lose nothing when Redis or PostgreSQL is killed", async () => {
    const store = await openStore({ location: postgres.url });
    const db = store.reader(internal);
    for (const table of ["users", "tokens", "settings", "relays"] as const) await db.deleteFrom(table).execute();
    await store.close();
    const shared = { store: postgres.url, fleet: redis.url };
    const [one, two] = [await startTestPortal(shared), await startTestPortal(shared)];
    const admin = one.admin;
    expect(two.admin).toBe("");
    const mint = async (test: TestPortal, body: unknown = {}): Promise<readonly IceServer[] | number> => {
      const answer = await test.request("POST", "/v1/credentials", { token: admin, body });
      return answer.status === 201 ? answer.body.iceServers : answer.status;
    };
    const relays: LinkedTestRelay[] = [];
    for (const [name, test] of [
      ["a", one],
      ["b", one],
      ["c", two],
    ] as const) {
      relays.push(await startLinkedRelay(test.portal.url, await test.portal.createRelayToken(internal, name)));
    }
    const linked = async (test: TestPortal): Promise<number> =>
      (await test.portal.services.fleet.relays()).filter(
        ({ urls }) => urls.length > 0 && urls[0]!.includes("127.0.0.1"),
      ).length;
    for (const test of [one, two]) await expect.poll(() => linked(test)).toBe(3);

    const clients: UdpTurnClient[] = [];
    for (let count = 0; count < 50; count++) {
      const minted = (await mint(count % 2 === 0 ? one : two, {
        user: `u${count % 5}`,
        label: `l${count}`,
      })) as readonly IceServer[];
      const client = await clientOf(minted);
      expect(typeof (await client.allocate())).toBe("object");
      clients.push(client);
    }
    const living = (): number => relays.reduce((sum, { relay }) => sum + relay.stats().allocations, 0);
    expect(living()).toBe(50);
    for (const test of [one, two]) {
      await expect
        .poll(async () => (await test.request("GET", "/v1/allocations", { token: admin })).body.allocations.length)
        .toBe(50);
    }

    // Revoked at one portal, ended at relays of both.
    const mine = (await mint(one, { user: "eve" })) as readonly IceServer[];
    expect((await two.request("POST", `/v1/credentials/${mine[0]!.username}/revoke`, { token: admin })).status).toBe(
      204,
    );
    for (const { revoked } of relays) await expect.poll(() => revoked).toContain(mine[0]!.username);

    await redis.kill();
    await expect.poll(() => one.portal.services.fleet.isWhole).toBe(false);
    expect(await mint(one)).toBeInstanceOf(Array);
    const withoutRedis = (await mint(two)) as readonly IceServer[];
    expect(
      (await one.request("POST", `/v1/credentials/${withoutRedis[0]!.username}/revoke`, { token: admin })).status,
    ).toBe(204);
    for (const { revoked } of relays) await expect.poll(() => revoked).toContain(withoutRedis[0]!.username);
    await redis.start();
    await expect.poll(() => one.portal.services.fleet.isWhole, { timeout: 10_000 }).toBe(true);
    for (const test of [one, two]) await expect.poll(() => linked(test), { timeout: 20_000 }).toBe(3);

    const accepted = (await mint(one, { user: "kept" })) as readonly IceServer[];
    await postgres.kill();
    expect(await mint(one)).toBe(503);
    expect((await two.request("GET", "/readyz")).status).toBe(503);
    expect(await clients[0]!.refresh(600)).toBe("success");
    await postgres.start();
    await expect.poll(() => mint(two), { timeout: 20_000 }).toBeInstanceOf(Array);
    expect(
      (await one.request("POST", `/v1/credentials/${accepted[0]!.username}/revoke`, { token: admin })).status,
    ).toBe(204);
    for (const { revoked } of relays) await expect.poll(() => revoked).toContain(accepted[0]!.username);

    await one.portal.stop();
    await expect.poll(() => relays[0]!.link.isUp).toBe(false);
    await expect.poll(() => mint(two)).toBeInstanceOf(Array);
    for (const client of clients) expect(await client.refresh(600)).toBe("success");
    expect(living()).toBe(50);
  });
});
