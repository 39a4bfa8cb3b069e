import { readdirSync } from "node:fs";
import { type BatchedRelay, type BatchedRelayOptions, loadLibc, testLibc } from "@turnpike/relay";
import { getAttribute, icmp, sameTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { LifecycleEvent } from "@turnpike/turn";
import { describe, expect, test } from "vitest";
import { stunOf } from "../sim/support/stun-client.ts";
import { startBatchedTestRelay } from "../support/batched-relay.ts";
import { freePorts } from "../support/free-ports.ts";
import { allocated, ALICE, bytes, openClient, openPeer } from "../support/relay.ts";
import { UdpPeer } from "../support/udp-peer.ts";
import { ipv6Wanted, type UdpTurnClient } from "../support/udp-turn-client.ts";

const libc = loadLibc();
if ("unavailable" in libc) {
  test("elsewhere than on linux-x64 with glibc, the reason is told", () => {
    expect(libc.unavailable.length).toBeGreaterThan(20);
  });
} else {
  const start = (options: Partial<BatchedRelayOptions> = {}): Promise<BatchedRelay> =>
    startBatchedTestRelay({ libc, ...options });

  test("the self-test trusts this machine's calls", () => {
    expect(testLibc(libc)).toMatchObject({ kind: "trusted", aggregates: true });
  });

  describe("a relay of four reactors", () => {
    test("ends the allocations of a user on all of them", async () => {
      const relay = await start();
      const clients = await Promise.all(Array.from({ length: 12 }, () => openClient(relay)));
      for (const client of clients) await allocated(client);
      expect(await relay.endAllocations({ by: "actor", value: "bob" }, "administrator")).toBe(0);
      expect(await relay.endAllocations({ by: "actor", value: "alice" }, "credentialRevoked")).toBe(12);
      for (const client of clients) expect(await client.refresh(600)).toBe(437);
    });

    test("counts guesses, puts answers off by its own timers, and shuts out who goes on", async () => {
      const delay = { kind: "constant", minSeconds: 0.2, maxSeconds: 0.2 } as const;
      const automaticBan = { failures: 2, windowSeconds: 60, banSeconds: 60 };
      const relay = await start({ threads: 1, penalties: { delay, automaticBan } });
      const guesser = await openClient(relay, { username: "alice", password: "wrong" });
      expect(await guesser.allocate()).toBe(401);
      expect(await guesser.allocate()).toBe(401);
      guesser.send(guesser.stun.signed("allocate"));
      await expect
        .poll(() => relay.stats().penalties)
        .toMatchObject({ failures: 2, automaticBans: 1, waiting: 0, sources: 1, bans: 1 });
      // What strays in from a port's former user is discarded too.
      await expect.poll(() => relay.stats().penalties.discarded).toBeGreaterThanOrEqual(1);
    });

    test.each([
      [4, "127.0.0.1", []],
      [6, "::1", [ipv6Wanted]],
    ] as const)("relays both ways, by indications and by channels, over IPv%i", async (family, address, wanted) => {
      const relay = await start();
      const client = await openClient(relay, ALICE, family);
      const peer = await openPeer(address);
      const relayed = await allocated(client, ...wanted);
      expect(await client.permit(peer.local)).toBe("success");
      client.sendTo(peer.local, bytes(100));
      const arrived = await peer.receive();
      expect([...arrived.bytes]).toEqual([...bytes(100)]);
      expect(sameTransportAddress(arrived.from, relayed)).toBe(true);
      for (const length of [0, 1, 2, 3, 4, 1200]) {
        peer.send(bytes(length, 2), relayed);
        expect([...(await client.receiveData()).bytes]).toEqual([...bytes(length, 2)]);
      }
      expect(await client.bind(0x4001, peer.local)).toBe("success");
      for (const length of [0, 1, 1200, 40_000]) {
        client.sendOn(0x4001, bytes(length, 3));
        expect([...(await peer.receive()).bytes]).toEqual([...bytes(length, 3)]);
        peer.send(bytes(length, 4), relayed);
        expect([...(await client.receive()).bytes.subarray(4)]).toEqual([...bytes(length, 4)]);
      }
      expect(await client.refresh(0)).toBe("success");
      expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, portsInUse: 0 });
    });

    test.each([
      [4, "127.0.0.1", [], { icmpType: 3, icmpCode: 3 }],
      [6, "::1", [ipv6Wanted], { icmpType: 1, icmpCode: 4 }],
    ] as const)(
      "tells a client of an unreachable IPv%i peer (RFC 8656 §11.5)",
      async (family, address, wanted, told) => {
        const relay = await start({ threads: 1 });
        const client = await openClient(relay, ALICE, family);
        const gone = await UdpPeer.open(address);
        await gone.close();
        await allocated(client, ...wanted);
        expect(await client.permit(gone.local)).toBe("success");
        client.sendTo(gone.local, bytes(10));
        const report = getAttribute(stunOf((await client.receive()).bytes), icmp);
        expect(report).toMatchObject({ ok: true, value: told });
        const peer = await openPeer(address);
        client.sendTo(peer.local, bytes(11));
        expect((await peer.receive()).bytes.length).toBe(11);
        expect(relay.stats().traffic.icmpErrors).toBe(1);
      },
    );

    test("spreads clients, leases all ports of the range, and leaves nothing behind", async () => {
      const before = readdirSync("/dev/fd").length;
      const first = await freePorts(64);
      const events: LifecycleEvent[] = [];
      const relay = await start({
        onEvent: (event) => events.push(event),
        portRange: { min: first, max: first + 63 },
      });
      const clients = await Promise.all(Array.from({ length: 64 }, () => openClient(relay)));
      const ports = await Promise.all(clients.map(async (client) => (await allocated(client)).port));
      expect(new Set(ports).size).toBe(64);
      expect(relay.stats()).toMatchObject({ allocations: 64, relaySockets: 64, portsInUse: 64 });
      // 64 clients on one reactor of four: once in 10^38 runs.
      expect(relay.reactors.filter((reactor) => reactor.gauge(0) > 0).length).toBeGreaterThan(1);
      const late = await openClient(relay);
      expect(await late.allocate()).toBe(508);
      await relay.stop();
      await Promise.all([...clients, late].map((client) => client.close()));
      expect(readdirSync("/dev/fd").length).toBe(before);
      const ended = events.filter((event) => event.type === "allocationDeleted");
      expect(ended.map(({ reason }) => reason)).toEqual(Array.from({ length: 64 }, () => "shutdown"));
      for (let port = first; port < first + 64; port++) await (await UdpPeer.open("127.0.0.1", port)).close();
    });

    test("a reactor that dies takes only its own allocations, and lives again on the same sockets", async () => {
      const before = readdirSync("/dev/fd").length;
      const events: LifecycleEvent[] = [];
      const relay = await start({ onEvent: (event) => events.push(event) });
      const peer = await openPeer();
      const owned: { client: UdpTurnClient; relayed: TransportAddress; reactor: number }[] = [];
      for (let index = 0; index < 40; index++) {
        const counts = relay.reactors.map((reactor) => reactor.gauge(0));
        const client = await openClient(relay);
        const relayed = await allocated(client);
        const reactor = relay.reactors.findIndex((each, at) => each.gauge(0) !== counts[at]);
        expect(await client.bind(0x4000, peer.local)).toBe("success");
        owned.push({ client, relayed, reactor });
      }
      const victim = owned[0]?.reactor ?? 0;
      const lost = owned.filter(({ reactor }) => reactor === victim);
      const living = owned.filter(({ reactor }) => reactor !== victim);
      expect(living.length).toBeGreaterThan(0);
      const load = setInterval(() => {
        for (const { client } of owned) client.sendOn(0x4000, bytes(1000));
      }, 1);
      const names = relay.reactors.map(({ reactor }) => reactor);
      await relay.reactors[victim]?.kill();
      clearInterval(load);
      expect(relay.reactors.filter(({ reactor }, at) => reactor !== names[at])).toHaveLength(1);
      for (const [index, { client, relayed }] of living.entries()) {
        client.sendOn(0x4000, bytes(20 + index));
        for (;;) {
          const { bytes: arrived, from } = await peer.receive();
          if (arrived.length === 1000) continue;
          expect(arrived.length).toBe(20 + index);
          expect(sameTransportAddress(from, relayed)).toBe(true);
          break;
        }
      }
      const ended = events.filter((event) => event.type === "allocationDeleted");
      expect(ended.map(({ reason }) => reason)).toEqual(lost.map(() => "reactorFailed"));
      const endedAt = new Set(ended.flatMap(({ context }) => context.relayed.map(({ port }) => port)));
      expect(endedAt).toEqual(new Set(lost.map(({ relayed }) => relayed.port)));
      expect(relay.stats()).toMatchObject({ allocations: living.length, portsInUse: living.length });
      for (const { client } of lost) expect(await client.allocate()).toMatchObject({ family: 4 });
      expect(relay.stats()).toMatchObject({ allocations: 40, portsInUse: 40 });
      await relay.stop();
      await Promise.all([peer, ...owned.map(({ client }) => client)].map((each) => each.close()));
      expect(readdirSync("/dev/fd").length).toBe(before);
    });

    test("draining refuses new allocations and ends with the last", async () => {
      const relay = await start({ threads: 2 });
      const old = await openClient(relay);
      await allocated(old);
      let drained = false;
      const draining = relay.drain().then(() => (drained = true));
      expect(await (await openClient(relay)).allocate()).toBe(508);
      expect(drained).toBe(false);
      expect(await old.refresh(0)).toBe("success");
      await draining;
    });
  });

  test.each([
    ["no thread", { threads: 0 }, "threads is 0"],
    ["too much coalescing", { coalesceUs: 1000 }, "coalesceUs is 1000"],
    ["a module that isn't there", { authenticate: { module: "file:///nowhere.js", data: () => 0 } }, "nowhere.js"],
    ["a foreign address", { listen: ["udp:203.0.113.9:0"] }, "this machine doesn't have this address"],
  ] as const)("a start with %s is refused, and leaves nothing open", async (_what, options, message) => {
    const before = readdirSync("/dev/fd").length;
    await expect(start(options)).rejects.toThrow(message);
    expect(readdirSync("/dev/fd").length).toBe(before);
  });
}
