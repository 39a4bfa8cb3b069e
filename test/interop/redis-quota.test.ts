import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createClient } from "@redis/client";
import { RedisAdmissionStore, type RedisAdmissionStoreOptions } from "@turnpike/relay/redis";
import { parseTransportAddress, type TransportAddress } from "@turnpike/stun";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { admissionStoreContract } from "../contract/support/admission-store-contract.ts";
import { startChild } from "../support/child.ts";
import { ALICE, keep, openClient, startTestRelay } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";
import { startRedis, type RedisServer } from "./support/redis.ts";

let redis: RedisServer;
let prefixes = 0;

beforeAll(async () => {
  redis = await startRedis();
});

afterAll(async () => {
  await redis.stop();
});

/** A store with keys of its own, or those of `prefix`. */
function connect(options: Partial<RedisAdmissionStoreOptions> = {}): Promise<RedisAdmissionStore> {
  return RedisAdmissionStore.connect({ url: redis.url, prefix: `test${++prefixes}`, ...options });
}

admissionStoreContract("quotas in Redis", async () => {
  const prefix = `contract${++prefixes}`;
  const [first, second] = [await connect({ prefix }), await connect({ prefix })];
  return {
    first,
    second,
    close: async () => {
      await first.close();
      await second.close();
    },
  };
});

describe("two relays with one Redis", () => {
  test("ten clients race for a quota of 3: never more at any instant, never fewer in the end", async () => {
    const prefix = `race${++prefixes}`;
    let living = 0;
    let most = 0;
    const start = async () =>
      startTestRelay({
        limits: { quotas: { user: 3 } },
        admissionStore: await connect({ prefix }),
        events: {
          allocationCreated: () => {
            most = Math.max(most, ++living);
          },
          allocationDeleted: () => living--,
        },
      });
    const relays = [await start(), await start()];
    for (let round = 0; round < 10; round++) {
      const clients = await Promise.all(Array.from({ length: 10 }, (_, i) => openClient(relays[i % 2]!)));
      const outcomes = await Promise.all(clients.map((client) => client.allocate()));
      expect(outcomes.filter((each) => typeof each !== "number")).toHaveLength(3);
      expect(outcomes.filter((each) => typeof each === "number")).toEqual(Array.from({ length: 7 }, () => 486));
      // One gives up its share, the others race for it.
      const winner = outcomes.findIndex((each) => typeof each !== "number");
      expect(await clients[winner]!.refresh(0)).toBe("success");
      const losers = clients.filter((_, index) => typeof outcomes[index] === "number");
      const again = await Promise.all(losers.map((client) => client.allocate()));
      expect(again.filter((each) => typeof each !== "number")).toHaveLength(1);
      await Promise.all(clients.map((client) => client.refresh(0)));
      await expect.poll(() => living).toBe(0);
      expect(most).toBe(3);
    }
  });

  test("kill -9 of one relay frees its share when its lease ends, and not while it lives", async () => {
    const script = fileURLToPath(new URL("support/quota-relay.ts", import.meta.url));
    const args = ["--conditions=@turnpike/source", script, redis.url, "3", "2"];
    const child = startChild({ command: "node", args });
    try {
      await child.waitFor((each) => each.stdout().includes("\n"), 30_000);
      const doomed = parseTransportAddress(child.stdout().trim()) as TransportAddress;
      for (let i = 0; i < 3; i++) {
        const client = keep(await UdpTurnClient.open(doomed, ALICE));
        expect(await client.allocate()).toMatchObject({ family: 4 });
      }
      const store = await RedisAdmissionStore.connect({ url: redis.url, leaseSeconds: 2 });
      const relay = await startTestRelay({ limits: { quotas: { user: 3 } }, admissionStore: store });
      const client = await openClient(relay);
      // Twice the lease: it is renewed.
      await sleep(4000);
      expect(await client.allocate()).toBe(486);
      child.signal("SIGKILL");
      await child.ended;
      await expect
        .poll(async () => typeof (await client.allocate()), { timeout: 30_000, interval: 100 })
        .toBe("object");
    } finally {
      child.signal("SIGKILL");
    }
  });

  test("stopping a relay frees its share at once", async () => {
    const prefix = `stop${++prefixes}`;
    const [first, second] = [
      await startTestRelay({ limits: { quotas: { user: 1 } }, admissionStore: await connect({ prefix }) }),
      await startTestRelay({ limits: { quotas: { user: 1 } }, admissionStore: await connect({ prefix }) }),
    ];
    expect(await (await openClient(first)).allocate()).toMatchObject({ family: 4 });
    const client = await openClient(second);
    expect(await client.allocate()).toBe(486);
    await first.stop();
    expect(await client.allocate()).toMatchObject({ family: 4 });
  });
});

describe("while Redis is away", () => {
  test("new allocations are refused, living ones are served, and all is well when it is back", async () => {
    const own = await startRedis();
    const store = await RedisAdmissionStore.connect({ url: own.url, leaseSeconds: 1, timeoutMs: 300 });
    const relay = await startTestRelay({ limits: { quotas: { user: 2 } }, admissionStore: store });
    const [old, fresh] = [await openClient(relay), await openClient(relay)];
    expect(await old.allocate()).toMatchObject({ family: 4 });
    own.child.signal("SIGSTOP");
    expect(await fresh.allocate()).toBe(508);
    expect(await old.refresh(600)).toBe("success");
    own.child.signal("SIGCONT");
    await expect.poll(async () => typeof (await fresh.allocate()), { timeout: 30_000 }).toBe("object");
    expect(await (await openClient(relay)).allocate()).toBe(486);
    await relay.stop();
    await own.stop();
  });

  test("connecting fails with the reason", async () => {
    await expect(RedisAdmissionStore.connect({ url: "redis://127.0.0.1:1" })).rejects.toThrow("ECONNREFUSED");
    await expect(RedisAdmissionStore.connect({ url: redis.url, leaseSeconds: 0 })).rejects.toThrow(RangeError);
  });
});

test("what was never committed ends by itself; keys don't stay", async () => {
  const prefix = `lease${++prefixes}`;
  const [first, second] = [await connect({ prefix, leaseSeconds: 0.3 }), await connect({ prefix, leaseSeconds: 0.3 })];
  const quotas = [{ key: "user alice", limit: 1 }];
  expect(await first.reserve({ lease: "1", quotas })).toEqual({ granted: true });
  await expect.poll(async () => (await second.reserve({ lease: "2", quotas })).granted, { timeout: 10_000 }).toBe(true);
  await second.close();
  const client = createClient({ url: redis.url });
  await client.connect();
  await expect.poll(() => client.keys(`*${prefix}*`), { timeout: 10_000 }).toEqual([]);
  await first.close();
  client.destroy();
});
