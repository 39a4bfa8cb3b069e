import { OperationContext } from "@turnpike/authn";
import { type BatchedRelay, type BatchedRelayOptions, loadLibc, prefixSubject } from "@turnpike/relay";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, expect, test } from "vitest";
import { RecordingLogger } from "../../packages/relay/src/testing/recording-logger.ts";
import { Ledger } from "../sim/model/ledger.ts";
import { startBatchedTestRelay } from "../support/batched-relay.ts";
import { LinkTurnClient } from "../support/link-turn-client.ts";
import { allocated, ALICE, BOB, bytes, keep, openClient, openPeer } from "../support/relay.ts";

const libc = loadLibc();
const ctx = OperationContext.internal("test");
/** How long something may take that is there soon. */
const SOON = { timeout: 20_000 };

if ("unavailable" in libc) {
  test("elsewhere than on linux-x64 with glibc, the reason is told", () => {
    expect(libc.unavailable.length).toBeGreaterThan(20);
  });
} else {
  const start = (options: Partial<BatchedRelayOptions> = {}): Promise<BatchedRelay> =>
    startBatchedTestRelay({ libc, ...options });
  describe("four reactors on threads", () => {
    test("ten clients race for a quota of 3: never more at any instant, never fewer in the end", async () => {
      let [living, most] = [0, 0];
      const relay = await start({
        limits: { quotas: { user: 3 } },
        events: {
          allocationCreated: () => {
            most = Math.max(most, ++living);
          },
          allocationDeleted: () => living--,
        },
      });
      for (let round = 0; round < 10; round++) {
        const clients = await Promise.all(Array.from({ length: 10 }, () => openClient(relay)));
        const outcomes = await Promise.all(clients.map((client) => client.allocate()));
        expect(outcomes.filter((each) => each === 486)).toHaveLength(7);
        expect(outcomes.filter((each) => typeof each !== "number")).toHaveLength(3);
        await Promise.all(clients.map((client) => client.refresh(0)));
        await expect.poll(() => living, SOON).toBe(0);
        await Promise.all(clients.map((client) => client.close()));
      }
      expect(most).toBe(3);
    });

    test("administration reaches all of them", async () => {
      const relay = await start();
      const clients = await Promise.all(Array.from({ length: 16 }, (_, i) => openClient(relay, i < 12 ? ALICE : BOB)));
      const relayed = await Promise.all(clients.map((client) => allocated(client)));
      const described = await relay.allocations({ user: "bob" });
      expect(described.map(({ context }) => context.actor)).toEqual(["bob", "bob", "bob", "bob"]);
      const one = described.find(({ context }) => context.relayed[0]?.port === relayed[12]?.port);
      expect(await relay.end(ctx, one?.context.allocationId ?? "")).toBe(true);
      expect(await relay.endUser(ctx, "alice")).toBe(12);
      expect(relay.stats().allocations).toBe(3);
      relay.configure({ maxPermissionsPerAllocation: 0 });
      const { local } = await openPeer();
      // Threads hear of it a moment later.
      await expect.poll(() => clients[15]!.permit(local), SOON).toBe(508);
    });

    test("failures on all of them count together; a ban holds on all, other addresses are untouched", async () => {
      const relay = await start({
        penalties: {
          delay: { kind: "constant", minSeconds: 0, maxSeconds: 0 },
          automaticBan: { failures: 12, windowSeconds: 60, banSeconds: 60 },
        },
      });
      const elsewhere = await openClient(relay, ALICE, 6);
      for (let i = 0; i < 12; i++) {
        const guesser = await openClient(relay, { username: "alice", password: `wrong${i}` });
        expect(await guesser.allocate()).toBe(401);
      }
      await expect.poll(() => relay.bans(), SOON).toMatchObject([{ subject: { prefix: "127.0.0.1/32" } }]);
      const banned = await Promise.all(Array.from({ length: 16 }, () => openClient(relay)));
      await expect
        .poll(async () => {
          for (const client of banned) {
            client.send(client.stun.plain("refresh"));
          }
          return relay.stats().penalties.discarded;
        }, SOON)
        .toBeGreaterThan(16);
      await allocated(elsewhere);
      expect(relay.unban(ctx, prefixSubject("127.0.0.1"))).toBe(true);
      await expect.poll(async () => (await relay.allocations()).length, SOON).toBe(1);
      await allocated(await openClient(relay));
    });

    test("streams stand under the same quotas, administration and bans as datagrams", async () => {
      const types: string[] = [];
      const relay = await start({
        listen: ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
        limits: { quotas: { user: 2 } },
        onEvent: ({ type }) => types.push(type),
      });
      const server = relay.listening.find(({ transport }) => transport === "tcp")?.local;
      if (server === undefined) throw new Error("There is no TCP listener");
      const connect = async (credentials = ALICE): Promise<LinkTurnClient> =>
        keep(await LinkTurnClient.open({ transport: "tcp", server, ca: undefined, credentials }));
      const [stream, datagrams] = [await connect(), await openClient(relay)];
      expect(await stream.allocate()).toMatchObject({ family: 4 });
      await allocated(datagrams);
      expect(await (await connect()).allocate()).toBe(486);
      expect(await (await openClient(relay)).allocate()).toBe(486);
      expect(await relay.allocations({ user: "alice" })).toHaveLength(2);
      expect(types.filter((type) => type === "allocationCreated")).toHaveLength(2);
      expect(await relay.endUser(ctx, "alice")).toBe(2);
      expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0 });
      expect(await stream.allocate()).toMatchObject({ family: 4 });
      expect(await relay.ban(ctx, { subject: { kind: "user", user: "alice" }, seconds: 60, reason: "test" })).toBe(1);
      expect(relay.stats().allocations).toBe(0);
    });

    test("a user's rate holds for all allocations together, wherever they are", async () => {
      const relay = await start({ limits: { userRate: { packetsPerSecond: 10, burstSeconds: 2 } } });
      const peer = await openPeer();
      const clients = await Promise.all(Array.from({ length: 12 }, () => openClient(relay)));
      await Promise.all(clients.map((client) => allocated(client)));
      for (const client of clients) expect(await client.bind(0x4000, peer.local)).toBe("success");
      const startMs = performance.now();
      for (let i = 0; i < 240; i++) clients[i % 12]!.sendOn(0x4000, bytes(10));
      const sum = async (): Promise<number> =>
        (await relay.allocations()).reduce((all, { totals }) => all + totals.packetsToPeers + totals.drops.rate, 0);
      await expect.poll(sum, SOON).toBe(240);
      const relayed = (await relay.allocations()).reduce((all, { totals }) => all + totals.packetsToPeers, 0);
      const seconds = (performance.now() - startMs) / 1000;
      expect(relayed).toBeGreaterThanOrEqual(20);
      expect(relayed).toBeLessThanOrEqual(20 + 10 * seconds + 1);
    });

    test("limits change for those who relay, on all threads", async () => {
      const relay = await start({ listen: ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"] });
      const peer = await openPeer();
      const server = relay.listening.find(({ transport }) => transport === "tcp")?.local;
      if (server === undefined) throw new Error("There is no TCP listener");
      const stream = keep(await LinkTurnClient.open({ transport: "tcp", server, ca: undefined, credentials: ALICE }));
      expect(await stream.allocate()).toMatchObject({ family: 4 });
      const clients = await Promise.all(Array.from({ length: 8 }, () => openClient(relay)));
      await Promise.all(clients.map((client) => allocated(client)));
      for (const client of [...clients, stream]) expect(await client.bind(0x4000, peer.local)).toBe("success");
      relay.configure({
        limitsFor: async () => ({ allocationRate: { packetsPerSecond: 0.001 }, maxLifetimeSeconds: 60 }),
      });
      // Each has one packet in its bucket, and then none for long.
      await expect
        .poll(async () => {
          for (const client of clients) client.sendOn(0x4000, bytes(10));
          stream.sendOn(0x4000, bytes(10));
          return (await relay.allocations()).filter(({ totals }) => totals.drops.rate > 0).length;
        }, SOON)
        .toBe(9);
      expect((await relay.allocations()).filter(({ context }) => context.actor === "alice")).toHaveLength(9);
      expect(await clients[0]!.refresh(600)).toBe("success");
      expect((await relay.allocations()).filter(({ expiresInSeconds }) => expiresInSeconds <= 60)).toHaveLength(1);
      relay.configure({});
      await expect
        .poll(async () => {
          for (const client of clients) client.sendOn(0x4000, bytes(10));
          return Math.min(
            ...(await relay.allocations())
              .filter(({ context }) => context.fiveTuple.transport === "udp")
              .map(({ totals }) => totals.packetsToPeers),
          );
        }, SOON)
        .toBeGreaterThan(2);
    });

    test("penalties change on all threads", async () => {
      const relay = await start({ penalties: false });
      const guess = async (): Promise<unknown> =>
        (await openClient(relay, { username: "alice", password: "guess" })).allocate();
      for (let i = 0; i < 4; i++) expect(await guess()).toBe(401);
      expect(relay.stats().penalties.failures).toBe(0);
      relay.configure({
        penalties: {
          delay: { kind: "constant", minSeconds: 0, maxSeconds: 0 },
          automaticBan: { failures: 50, windowSeconds: 60, banSeconds: 60 },
        },
      });
      await expect
        .poll(async () => {
          expect(await guess()).toBe(401);
          return relay.stats().penalties.failures;
        }, SOON)
        .toBeGreaterThan(4);
    });

    test("a diagnostics channel is heard soon after somebody subscribes; nothing is built before", async () => {
      const relay = await start();
      const client = await openClient(relay);
      await allocated(client);
      const peer = await openPeer();
      const seen: unknown[] = [];
      const listener = (event: unknown): unknown => seen.push(event);
      subscribe("turnpike:permission-refreshed", listener);
      try {
        await expect
          .poll(async () => {
            expect(await client.permit(peer.local)).toBe("success");
            return seen.length;
          }, SOON)
          .toBeGreaterThan(0);
      } finally {
        unsubscribe("turnpike:permission-refreshed", listener);
      }
    });

    test("created and deleted pair when a reactor crashes; its quota is free again", async () => {
      const ledger = new Ledger();
      const logger = new RecordingLogger();
      const relay = await start({
        logger,
        limits: { quotas: { user: 8 } },
        onEvent: (event) => ledger.take({ kind: "event", event }),
      });
      const peer = await openPeer();
      const clients = await Promise.all(Array.from({ length: 8 }, () => openClient(relay)));
      await Promise.all(clients.map((client) => allocated(client)));
      for (const client of clients) expect(await client.bind(0x4000, peer.local)).toBe("success");
      expect(await (await openClient(relay)).allocate()).toBe(486);
      await expect.poll(() => ledger.living, SOON).toBe(8);
      await Promise.all(relay.reactors.map((reactor) => reactor.kill()));
      await expect.poll(() => ledger.living, SOON).toBe(0);
      const revived = (): number =>
        logger.messages("info").filter((text) => text === "The reactor serves again").length;
      await expect.poll(revived, SOON).toBe(4);
      for (let i = 0; i < 8; i++) await allocated(await openClient(relay));
      expect(await (await openClient(relay)).allocate()).toBe(486);
      await relay.stop();
      ledger.close();
    });
  });
}
