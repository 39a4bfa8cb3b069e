import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createClient } from "@redis/client";
import { RedisAdmissionStore, type RedisAdmissionStoreOptions } from "@turnpike/relay/redis";
import { parseTransportAddress } from "@turnpike/stun";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { admissionStoreContract } from "../contract/support/admission-store-contract.ts";
import { startChild } from "../support/child.ts";
import { ALICE, keep, openClient, startTestRelay } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";
import { startRedis, type RedisServer } from "./support/redis.ts";

let redis: RedisServer;
let prefixes = 0;
/** How long something may take that is there soon. */
const SOON = { timeout: 60_000, interval: 50 };

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

/** A relay of four reactors in a process of its own. */
async function startRelayProcess(prefix: string, leaseSeconds: number) {
  const script = fileURLToPath(new URL("support/quota-relay.ts", import.meta.url));
  const args = ["--conditions=@turnpike/source", script, redis.url, prefix, "3", `${leaseSeconds}`];
  const child = startChild({ command: "node", args });
  await child.waitFor((each) => each.stdout().includes("\n"), 60_000);
  const lines = (): readonly string[] => child.stdout().trim().split("\n");
  const server = parseTransportAddress(lines()[0] ?? "");
  if (server === undefined) throw new TypeError(`No address: ${lines()[0]}`);
  return {
    child,
    open: async () => keep(await UdpTurnClient.open(server, ALICE)),
    /** The reactors that have made allocations. */
    reactors: () =>
      new Set(
        lines()
          .slice(1)
          .map((id) => id.split("-")[0]),
      ),
  };
}

describe("two relays with one Redis", () => {
  const LEASE_SECONDS = 4;

  test("ten clients race for a quota of 3 on two relays of four reactors: never more at any instant, never fewer in the end; kill -9 of a relay frees its share when its lease ends, and not while it lives", async () => {
    const prefix = `race${++prefixes}`;
    const relays = await Promise.all([0, 1].map(() => startRelayProcess(prefix, LEASE_SECONDS)));
    const client = createClient({ url: redis.url });
    try {
      await client.connect();
      const taken = (): Promise<number> => client.zCard(`{${prefix}}:quota:user alice`);
      // Counted where it is known for certain: from a client's success until it gives its allocation up.
      let [living, most, mostTaken] = [0, 0, 0];
      const race = async (clients: readonly UdpTurnClient[]): Promise<readonly UdpTurnClient[]> => {
        const outcomes = await Promise.all(
          clients.map(async (each) => {
            const outcome = await each.allocate();
            if (typeof outcome !== "number") most = Math.max(most, ++living);
            else expect(outcome).toBe(486);
            mostTaken = Math.max(mostTaken, await taken());
            return outcome;
          }),
        );
        return clients.filter((_, index) => typeof outcomes[index] !== "number");
      };
      const giveUp = async (clients: readonly UdpTurnClient[]): Promise<void> => {
        living -= clients.length;
        expect(await Promise.all(clients.map((each) => each.refresh(0)))).toEqual(clients.map(() => "success"));
      };
      for (let round = 0; round < 8; round++) {
        const clients = await Promise.all(Array.from({ length: 10 }, (_, i) => relays[i % 2]!.open()));
        const winners = [...(await race(clients))];
        expect(winners).toHaveLength(3);
        // One gives up its share, the others race for it.
        await giveUp(winners.splice(0, 1));
        const losers = clients.filter((each) => !winners.includes(each));
        await expect
          .poll(async () => winners.push(...(await race(losers.filter((each) => !winners.includes(each))))), SOON)
          .toBe(3);
        await giveUp(winners);
        await expect.poll(taken, SOON).toBe(0);
        for (const each of clients) await each.close();
      }
      expect([most, mostTaken]).toEqual([3, 3]);
      for (const relay of relays) expect(relay.reactors().size).toBeGreaterThan(1);

      const [doomed, survivor] = relays;
      for (let i = 0; i < 3; i++) expect(await (await doomed!.open()).allocate()).toMatchObject({ family: 4 });
      const heirs = await Promise.all([0, 1, 2].map(() => survivor!.open()));
      // Longer than the lease: it is renewed.
      await sleep(LEASE_SECONDS * 1500);
      expect(await heirs[0]!.allocate()).toBe(486);
      doomed!.child.signal("SIGKILL");
      await doomed!.child.ended;
      for (const heir of heirs) await expect.poll(async () => typeof (await heir.allocate()), SOON).toBe("object");
      expect(await (await survivor!.open()).allocate()).toBe(486);
    } finally {
      client.destroy();
      for (const { child } of relays) child.signal("SIGKILL");
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
