import { readdirSync } from "node:fs";
import { formatTransportAddress, sameTransportAddress } from "@turnpike/stun";
import type { AuthenticationDecision, LifecycleEvent } from "@turnpike/turn";
import { describe, expect, test } from "vitest";
import { staticUsers } from "../sim/support/authentication.ts";
import { freePorts } from "../support/free-ports.ts";
import { type EitherPlaneOptions, PLANES } from "../support/both-planes.ts";
import { ALICE, allocated, BOB, bytes, keep, openClient, openPeer, startTestRelay } from "../support/relay.ts";
import { UdpPeer } from "../support/udp-peer.ts";
import { evenPairWanted, ipv6Wanted, UdpTurnClient } from "../support/udp-turn-client.ts";

describe.each(PLANES)("a relay on loopback, on the $plane plane", ({ start }) => {
  test.each([
    [4, "127.0.0.1", []],
    [6, "::1", [ipv6Wanted]],
  ] as const)("relays both ways, by indications and by channels, over IPv%i", async (family, address, attributes) => {
    const relay = await start();
    const client = await openClient(relay, ALICE, family);
    const peer = await openPeer(address);
    const relayed = await allocated(client, ...attributes);
    expect(await client.permit(peer.local)).toBe("success");
    client.sendTo(peer.local, bytes(100));
    const arrived = await peer.receive();
    expect(arrived.bytes).toEqual(Buffer.from(bytes(100)));
    expect(sameTransportAddress(arrived.from, relayed)).toBe(true);
    for (const length of [0, 1, 2, 3, 4, 1200]) {
      peer.send(bytes(length, 2), relayed);
      const indication = await client.receiveData();
      expect([...indication.bytes]).toEqual([...bytes(length, 2)]);
      expect(sameTransportAddress(indication.peer, peer.local)).toBe(true);
    }
    expect(await client.bind(0x4001, peer.local)).toBe("success");
    for (const length of [0, 1, 1200, 40_000]) {
      client.sendOn(0x4001, bytes(length, 3));
      expect([...(await peer.receive()).bytes]).toEqual([...bytes(length, 3)]);
      peer.send(bytes(length, 4), relayed);
      const onChannel = (await client.receive()).bytes;
      expect([...onChannel.subarray(0, 4)]).toEqual([0x40, 0x01, length >> 8, length & 0xff]);
      expect([...onChannel.subarray(4)]).toEqual([...bytes(length, 4)]);
    }
    expect(await client.refresh(0)).toBe("success");
    expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, portsInUse: 0 });
  });

  test("answers a wrong password with 401 and opens nothing", async () => {
    const relay = await start({ penalties: { delay: { kind: "constant", minSeconds: 0.05, maxSeconds: 0.05 } } });
    const client = await openClient(relay, { username: "alice", password: "wrong" });
    expect(await client.allocate()).toBe(401);
    expect(relay.stats()).toMatchObject({ allocations: 0, portsInUse: 0 });
  });

  test("answers from the address that was asked, on every address of a wildcard", async () => {
    const relay = await start({ listen: ["udp:0.0.0.0:0", "udp:[::]:0"] });
    const local = relay.listening.map(({ local }) => local);
    expect(local.some(({ family }) => family === 4)).toBe(true);
    expect(new Set(local.filter(({ family }) => family === 4).map(({ port }) => port)).size).toBe(1);
    for (const server of local) {
      const client = keep(await UdpTurnClient.open(server, ALICE));
      client.send(client.stun.plain("binding"));
      const answer = await client.receive();
      expect(sameTransportAddress(answer.from, server)).toBe(true);
    }
  });

  test("listens once on what is named twice", async () => {
    const port = await freePorts(1);
    const relay = await start({ listen: [`udp:127.0.0.1:${port}`, `udp:0.0.0.0:${port}`] });
    const ids = relay.listening.map(({ id }) => id);
    expect(ids).toEqual(ids.map((_, index) => index));
    const texts = relay.listening.map(({ local }) => formatTransportAddress(local));
    expect(texts.filter((text) => text === `127.0.0.1:${port}`)).toHaveLength(1);
    expect(await (await openClient(relay)).allocate()).toMatchObject({ family: 4 });
  });
});

describe("an authentication by function", () => {
  test("takes an authentication that is decided later", async () => {
    const users = staticUsers({ alice: "wonderland" });
    const questions: (() => void)[] = [];
    const relay = await startTestRelay({
      authenticate: (request, settle): AuthenticationDecision => {
        const decision = users(request);
        questions.push(() => settle(decision));
        queueMicrotask(() => questions.shift()?.());
        return { kind: "pending" };
      },
    });
    const client = await openClient(relay);
    expect((await allocated(client)).family).toBe(4);
  });
});

describe.each(PLANES)("lifecycle on the $plane plane", ({ start }) => {
  test("stopping ends allocations with the reason, and leaves no descriptor and no port", async () => {
    const first = await freePorts(50);
    const before = readdirSync("/dev/fd").length;
    const events: LifecycleEvent[] = [];
    const relay = await start({
      onEvent: (event) => events.push(event),
      portRange: { min: first, max: first + 49 },
    });
    const clients = await Promise.all(Array.from({ length: 40 }, () => openClient(relay)));
    for (const [index, client] of clients.entries()) {
      await allocated(client, ...(index % 10 === 0 ? [evenPairWanted] : []));
    }
    expect(relay.stats()).toMatchObject({ allocations: 40, relaySockets: 40, reservedPorts: 4, portsInUse: 44 });
    await Promise.all([relay.stop(), relay.stop()]);
    await Promise.all(clients.map((client) => client.close()));
    expect(readdirSync("/dev/fd").length).toBe(before);
    for (let port = first; port < first + 50; port++) {
      await (await UdpPeer.open("127.0.0.1", port)).close();
    }
    const ended = events.filter((event) => event.type === "allocationDeleted");
    expect(ended.map(({ reason }) => reason)).toEqual(Array.from({ length: 40 }, () => "shutdown"));
    expect(events.filter((event) => event.type === "allocationCreated")).toHaveLength(40);
  });

  test("stopping in the middle of everything leaves nothing", async () => {
    const before = readdirSync("/dev/fd").length;
    const relay = await start();
    const clients = await Promise.all(Array.from({ length: 30 }, () => openClient(relay)));
    const peer = await openPeer();
    const busy = clients.map(async (client) => {
      const relayed = await allocated(client);
      await client.permit(peer.local);
      for (let count = 0; count < 20; count++) {
        client.sendTo(peer.local, bytes(100));
        peer.send(bytes(100), relayed);
      }
      return client.refresh(0);
    });
    // The first is done; the others are anywhere. Answers that the stop cut off never come.
    await Promise.race(busy);
    await relay.stop();
    await Promise.all([...clients, peer].map((each) => each.close()));
    expect(readdirSync("/dev/fd").length).toBe(before);
    expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, portsInUse: 0, internalErrors: 0 });
  });

  test("draining refuses new allocations, serves the old ones, and ends with the last", async () => {
    const relay = await start();
    const [old, fresh] = [await openClient(relay, ALICE), await openClient(relay, BOB)];
    await allocated(old);
    let drained = false;
    const draining = relay.drain().then(() => (drained = true));
    expect(await fresh.allocate()).toBe(508);
    expect(await old.refresh(600)).toBe("success");
    expect(drained).toBe(false);
    expect(await old.refresh(0)).toBe("success");
    await draining;
    const stopped = await start();
    await allocated(await openClient(stopped));
    const early = stopped.drain();
    await stopped.stop();
    await early;
  });

  test("an event handler that throws harms nothing", async () => {
    const relay = await start({
      onEvent: () => {
        throw new Error("handler");
      },
    });
    expect((await allocated(await openClient(relay))).family).toBe(4);
  });
});

describe.each(PLANES)("a start that can't be, on the $plane plane", ({ start }) => {
  test.each<[string, EitherPlaneOptions, string | RegExp]>([
    ["a port in use", {}, /Cannot listen on udp 127\.0\.0\.1:\d+: another program has this port.*\(EADDRINUSE\)/],
    ["a foreign address", { listen: ["udp:203.0.113.9:0"] }, "this machine doesn't have this address (EADDRNOTAVAIL)"],
    ["another transport", { listen: ["carrier-pigeon:127.0.0.1:1"] }, "expected TRANSPORT:ADDRESS:PORT"],
    [
      "a foreign relay address",
      { relayAddresses: ["203.0.113.9"] },
      /203\.0\.113\.9: .* name it as an external address/,
    ],
    ["a wildcard to relay from", { relayAddresses: ["::"] }, "Cannot relay from ::"],
    ["no relay address", { relayAddresses: ["localhost"] }, 'Cannot parse relay address "localhost"'],
    ["no external address", { externalAddresses: ["1.2.3"] }, 'Cannot parse external address "1.2.3"'],
    ["swapped ports", { portRange: { min: 2, max: 1 } }, "the first port is above the last"],
    ["a wrong range of peers", { peers: { deny: ["10.0.0.0/33"] } }, "10.0.0.0/33"],
    ["nowhere to listen", { listen: [] }, "none of its listening addresses exists on this machine"],
  ])("is told for %s, and leaves nothing open", async (_what, options, message) => {
    const occupied = await openPeer();
    const before = readdirSync("/dev/fd").length;
    const listen = ["udp:127.0.0.1:0", `udp:127.0.0.1:${occupied.local.port}`];
    await expect(start({ listen, relayAddresses: ["127.0.0.1"], ...options })).rejects.toThrow(message);
    expect(readdirSync("/dev/fd").length).toBe(before);
  });
});
