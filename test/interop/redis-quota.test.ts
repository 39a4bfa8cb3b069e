import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createClient } from "@redis/client";
import { redirectToLeastLoaded } from "@turnpike/relay";
import { RedisAdmissionStore, type RedisAdmissionStoreOptions, RedisFleetLoads } from "@turnpike/relay/redis";
import { alternateServer, formatTransportAddress, getAttribute, parseTransportAddress } from "@turnpike/stun";
import { loadConfiguration } from "turnpike";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCredentials } from "../../packages/turnpike/src/config/credentials.ts";
import { createLogger } from "../../packages/turnpike/src/log.ts";
import { startConfiguredRelay } from "../../packages/turnpike/src/wiring/start-relay.ts";
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

test("relays tell each other how full they are; one that drains, dies or is cut off is left out", async () => {
  const prefix = `loads${++prefixes}`;
  const loads: (number | undefined)[] = [50, 10, 3];
  const open = (index: number, url = redis.url) =>
    RedisFleetLoads.connect({
      url,
      prefix,
      relayId: `r${index}`,
      own: { servers: [`192.0.2.${index}:3478`], domain: "relay.example" },
      allocations: () => loads[index],
      intervalSeconds: 0.2,
    });
  const [first, second, third] = [await open(0), await open(1), await open(2)];
  const seen = () =>
    first
      .relays()
      .map(({ servers, allocations }) => `${servers[0]} ${allocations}`)
      .toSorted();
  await expect.poll(seen, SOON).toEqual(["192.0.2.1:3478 10", "192.0.2.2:3478 3"]);
  expect(first.relays()[0]?.domain).toBe("relay.example");
  const redirect = redirectToLeastLoaded({ relays: first.relays });
  const question = { ...ALICE, actor: "alice", client: address("198.51.100.1:1"), transport: "udp" as const };
  expect(redirect({ ...question, load: { allocations: 50, draining: false } })?.servers).toEqual(["192.0.2.2:3478"]);
  loads[2] = undefined;
  await expect.poll(seen, SOON).toEqual(["192.0.2.1:3478 10"]);
  loads[2] = 7;
  await expect.poll(seen, SOON).toHaveLength(2);
  await third.close();
  await expect.poll(seen, SOON).toEqual(["192.0.2.1:3478 10"]);
  // What a relay that was killed said last ends by itself.
  const client = createClient({ url: redis.url });
  await client.connect();
  await client.hSet(`{${prefix}}:loads`, "dead", `${Date.now() + 1000} {"servers":["192.0.2.9:1"],"allocations":1}`);
  await expect.poll(seen, SOON).toHaveLength(2);
  await expect.poll(seen, SOON).toHaveLength(1);
  client.destroy();
  await Promise.all([first.close(), second.close()]);
  expect(first.relays()).toEqual([]);
  await expect(open(0, "redis://127.0.0.1:1")).rejects.toThrow("ECONNREFUSED");
});

test("a fleet by configuration: who comes to the fuller relay is sent to the emptier one", async () => {
  const start = async (name: string) => {
    const text = `
[relay]
listen = ["udp:127.0.0.1:0"]
relay_addresses = ["127.0.0.1"]
[[turn.user]]
name = "alice"
password = "wonderland"
[quota]
store = "${redis.url}/7"
[redirect]
least_loaded = true
advertise = ["${name}:3478"]
`;
    const loaded = loadConfiguration({ file: { name: "turnpike.toml", text }, environment: {}, flags: new Map() });
    const { relay } = await startConfiguredRelay({
      configuration: loaded.configuration,
      credentials: readCredentials(loaded, { readFile: () => "", reasonOf: String }),
      logger: createLogger({ level: "silent", format: "json", colors: false, write: () => {} }),
    });
    keep({ [Symbol.asyncDispose]: () => relay.stop() });
    return relay;
  };
  const [full, other] = [await start("192.0.2.1"), await start("192.0.2.2")];
  // A relay that has fewer than ten keeps all of them.
  for (let i = 0; i < 10; i++) expect(await (await openClient(full)).allocate()).toMatchObject({ family: 4 });
  await expect.poll(async () => (await openClient(full)).allocate(), SOON).toBe(300);
  const answer = await (await openClient(full)).allocateAnswer();
  const server = getAttribute(answer, alternateServer);
  expect(server?.ok ? formatTransportAddress(server.value) : server).toBe("192.0.2.2:3478");
  expect(await (await openClient(other)).allocate()).toMatchObject({ family: 4 });
  // Draining, it is no place to be sent to.
  void other.drain();
  await expect.poll(async () => typeof (await (await openClient(full)).allocate()), SOON).toBe("object");
});

function address(text: string) {
  const parsed = parseTransportAddress(text);
  if (parsed === undefined) throw new TypeError(text);
  return parsed;
}
