import { readdirSync } from "node:fs";
import { startRelay, type Relay, type RelayOptions } from "@turnpike/relay";
import {
  attribute,
  type EncodedAttribute,
  getAttribute,
  parseIpAddress,
  reservationToken,
  sameTransportAddress,
  type TransportAddress,
  withPort,
} from "@turnpike/stun";
import type { AuthenticationDecision, LifecycleEvent } from "@turnpike/turn";
import { afterEach, describe, expect, test } from "vitest";
import { staticUsers } from "../sim/support/authentication.ts";
import { freePorts } from "../support/free-ports.ts";
import { UdpPeer } from "../support/udp-peer.ts";
import { evenPairWanted, evenWanted, ipv6Wanted, relayedOf, UdpTurnClient } from "../support/udp-turn-client.ts";

const ALICE = { username: "alice", password: "wonderland" };
const BOB = { username: "bob", password: "builder" };
const LOOPBACK = ["127.0.0.0/8", "::1"];

const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) {
    await each[Symbol.asyncDispose]();
  }
});

function keep<T extends AsyncDisposable>(each: T): T {
  open.push(each);
  return each;
}

async function start(options: Partial<RelayOptions> = {}): Promise<Relay> {
  const relay = await startRelay({
    listen: ["udp:127.0.0.1:0", "udp:[::1]:0"],
    relayAddresses: ["127.0.0.1", "::1"],
    authenticate: staticUsers({ alice: "wonderland", bob: "builder" }),
    peers: { allow: LOOPBACK },
    ...options,
  });
  keep({
    async [Symbol.asyncDispose]() {
      await relay.stop();
      expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, reservedPorts: 0, portsInUse: 0 });
      expect(relay.stats().internalErrors).toBe(0);
    },
  });
  return relay;
}

function serverOf(relay: Relay, family: 4 | 6 = 4): TransportAddress {
  const listener = relay.listening.find(({ local }) => local.family === family);
  if (listener === undefined) {
    throw new Error(`The relay does not listen on IPv${family}`);
  }
  return listener.local;
}

async function openClient(relay: Relay, credentials = ALICE, family: 4 | 6 = 4): Promise<UdpTurnClient> {
  return keep(await UdpTurnClient.open(serverOf(relay, family), credentials));
}

async function openPeer(address = "127.0.0.1", port = 0): Promise<UdpPeer> {
  return keep(await UdpPeer.open(address, port));
}

async function allocated(client: UdpTurnClient, ...attributes: readonly EncodedAttribute[]) {
  const relayed = await client.allocate(...attributes);
  if (typeof relayed === "number") {
    throw new TypeError(`Not allocated: ${relayed}`);
  }
  return relayed;
}

const bytes = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 7 + seed) & 0xff);

describe("a relay on loopback", () => {
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
    const relay = await start();
    const client = await openClient(relay, { username: "alice", password: "wrong" });
    expect(await client.allocate()).toBe(401);
    expect(relay.stats()).toMatchObject({ allocations: 0, portsInUse: 0 });
  });

  test("takes an authentication that is decided later", async () => {
    const users = staticUsers({ alice: "wonderland" });
    const questions: (() => void)[] = [];
    const relay = await start({
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
});

describe("hairpin behind a 1:1 NAT, under the default policy", () => {
  const nat: Partial<RelayOptions> = {
    listen: ["udp:127.0.0.1:0"],
    relayAddresses: ["127.0.0.1"],
    externalAddresses: ["203.0.113.5/127.0.0.1"],
    peers: {},
  };

  test("two clients of one relay reach each other by their public relayed addresses", async () => {
    const relay = await start(nat);
    const [alice, bob] = [await openClient(relay, ALICE), await openClient(relay, BOB)];
    const [ofAlice, ofBob] = [await allocated(alice), await allocated(bob)];
    expect(ofAlice).toMatchObject({ ...parseIpAddress("203.0.113.5") });
    expect(await alice.bind(0x4000, ofBob)).toBe("success");
    expect(await bob.permit(ofAlice)).toBe("success");
    alice.sendOn(0x4000, bytes(50));
    const atBob = await bob.receiveData();
    expect([...atBob.bytes]).toEqual([...bytes(50)]);
    expect(sameTransportAddress(atBob.peer, ofAlice)).toBe(true);
    bob.sendTo(ofAlice, bytes(60));
    expect([...(await alice.receive()).bytes.subarray(4)]).toEqual([...bytes(60)]);
  });

  test("nothing but live relayed addresses is reached at the relay's own", async () => {
    const relay = await start(nat);
    const service = await openPeer();
    const [alice, bob] = [await openClient(relay, ALICE), await openClient(relay, BOB)];
    const [ofAlice, ofBob] = [await allocated(alice), await allocated(bob)];
    expect(await alice.permit(service.local)).toBe(403);
    expect(await alice.permit(ofBob)).toBe("success");
    expect(await bob.permit(ofAlice)).toBe("success");
    alice.sendTo(withPort(ofBob, service.local.port), bytes(10));
    alice.sendTo(withPort(ofBob, serverOf(relay).port), alice.stun.plain("binding"));
    service.send(bytes(11), withPort(serverOf(relay), ofAlice.port));
    expect(await bob.refresh(0)).toBe("success");
    alice.sendTo(ofBob, bytes(12));
    const again = await openClient(relay, BOB);
    const next = await allocated(again);
    await again.permit(ofAlice);
    alice.sendTo(next, bytes(13));
    expect((await again.receiveData()).bytes.length).toBe(13);
    expect([service.unread, alice.peer.unread, bob.peer.unread]).toEqual([0, 0, 0]);
    expect(relay.stats().traffic.packetsToPeers).toBe(1);
  });
});

describe("relay ports (security case 13)", () => {
  test("are all used, refused with 508 only then, and come back", async () => {
    const first = (await freePorts(7)) + 1;
    const relay = await start({ portRange: { min: first, max: first + 5 } });
    const clients = await Promise.all(Array.from({ length: 7 }, () => openClient(relay)));
    const ports = new Set<number>();
    for (const client of clients.slice(0, 6)) {
      ports.add((await allocated(client)).port);
    }
    expect([...ports].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5].map((index) => first + index));
    const last = clients.at(-1);
    expect(await last?.allocate()).toBe(508);
    expect(await clients.at(2)?.refresh(0)).toBe("success");
    expect(await last?.allocate()).toMatchObject({ family: 4 });
  });

  test("EVEN-PORT takes even ports, a pair holds the next one, and nothing leaks", async () => {
    const first = await freePorts(4);
    const relay = await start({ portRange: { min: first, max: first + 3 } });
    for (let turn = 0; turn < 20; turn++) {
      const even = await openClient(relay);
      expect((await allocated(even, evenWanted)).port % 2).toBe(0);
      const pair = await openClient(relay);
      const answer = await pair.allocateAnswer(evenPairWanted);
      const relayed = relayedOf(answer);
      expect(relayed).toMatchObject({ family: 4 });
      const token = getAttribute(answer, reservationToken);
      if (!token?.ok || typeof relayed === "number") {
        throw new Error("RESERVATION-TOKEN is missing");
      }
      expect(relay.stats()).toMatchObject({ reservedPorts: 1, portsInUse: 3 });
      const thief = await openClient(relay, BOB);
      expect(await thief.allocate(attribute(reservationToken, token.value))).toBe(508);
      const next = await openClient(relay);
      const reserved = await allocated(next, attribute(reservationToken, token.value));
      expect(reserved.port).toBe(relayed.port + 1);
      const reuse = await openClient(relay);
      expect(await reuse.allocate(attribute(reservationToken, token.value))).toBe(508);
      for (const client of [even, pair, next]) {
        expect(await client.refresh(0)).toBe("success");
      }
      expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, portsInUse: 0 });
    }
  });

  test("that other processes have are passed over", async () => {
    const first = await freePorts(4);
    const taken = await Promise.all([0, 1, 3].map((index) => openPeer("127.0.0.1", first + index)));
    const relay = await start({ portRange: { min: first, max: first + 3 } });
    const client = await openClient(relay);
    expect((await allocated(client)).port).toBe(first + 2);
    expect(taken.map(({ unread }) => unread)).toEqual([0, 0, 0]);
  });
});

test("what no datagram carries is dropped and counted, never truncated (security case 18)", async () => {
  const relay = await start();
  const client = await openClient(relay);
  const peer = await openPeer();
  const relayed = await allocated(client);
  expect(await client.bind(0x4000, peer.local)).toBe("success");
  for (const length of [65_507, 65_504, 65_503]) {
    peer.send(bytes(length), relayed);
  }
  const largest = (await client.receive()).bytes;
  expect(largest.length).toBe(65_507);
  expect(Buffer.compare(largest.subarray(4), bytes(65_503))).toBe(0);
  expect(relay.stats().traffic.oversized).toBe(2);
  client.sendOn(0x4000, bytes(65_503));
  expect(Buffer.compare((await peer.receive()).bytes, bytes(65_503))).toBe(0);
});

describe("lifecycle", () => {
  test("stopping ends allocations with the reason, and leaves no descriptor and no port", async () => {
    const first = await freePorts(50);
    const before = readdirSync("/dev/fd").length;
    const events: LifecycleEvent[] = [];
    const relay = await start({ onEvent: (event) => events.push(event), portRange: { min: first, max: first + 49 } });
    const clients = await Promise.all(Array.from({ length: 40 }, () => openClient(relay)));
    for (const [index, client] of clients.entries()) {
      await allocated(client, ...(index % 10 === 0 ? [evenPairWanted] : []));
    }
    expect(relay.stats()).toMatchObject({ allocations: 40, relaySockets: 40, reservedPorts: 4, portsInUse: 44 });
    await Promise.all([relay.stop(), relay.stop()]);
    await Promise.all(clients.map((client) => client.close()));
    open.splice(-clients.length);
    expect(readdirSync("/dev/fd").length).toBe(before);
    for (let port = first; port < first + 50; port++) {
      await (await UdpPeer.open("127.0.0.1", port)).close();
    }
    const ended = events.filter((event) => event.type === "allocationDeleted");
    expect(ended.map(({ reason }) => reason)).toEqual(Array.from({ length: 40 }, () => "shutdown"));
    expect(events.filter((event) => event.type === "allocationCreated")).toHaveLength(40);
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

  test("client addresses and secrets are in no line above debug (security case 20)", async () => {
    const lines: string[] = [];
    const add = (fields: object, message: string): number => lines.push(`${JSON.stringify(fields)} ${message}`);
    const relay = await start({ logger: { debug: () => {}, info: add, warn: add, error: add } });
    const client = await openClient(relay);
    const peer = await openPeer();
    await allocated(client);
    await client.permit(peer.local);
    client.sendTo(peer.local, bytes(5));
    await peer.receive();
    expect(await (await openClient(relay, { ...BOB, password: "wrong" })).allocate()).toBe(401);
    await relay.stop();
    expect(lines.length).toBeGreaterThan(1);
    const shown = lines.join("\n");
    for (const secret of [`:${client.peer.local.port}`, `:${peer.local.port}`, "wonderland", "wrong", "alice"]) {
      expect(shown).not.toContain(secret);
    }
  });
});

describe("a start that can't be", () => {
  const authenticate = staticUsers({});

  test.each<[string, Partial<RelayOptions>, string | RegExp]>([
    ["a port in use", {}, /Cannot listen on udp 127\.0\.0\.1:\d+: another program has this port.*\(EADDRINUSE\)/],
    ["a foreign address", { listen: ["udp:203.0.113.9:0"] }, "this machine doesn't have this address (EADDRNOTAVAIL)"],
    ["another transport", { listen: ["carrier-pigeon:127.0.0.1:1"] }, "expected udp:ADDRESS:PORT"],
    ["no relay address", { relayAddresses: ["localhost"] }, 'Cannot parse relay address "localhost"'],
    ["no external address", { externalAddresses: ["1.2.3"] }, 'Cannot parse external address "1.2.3"'],
    ["swapped ports", { portRange: { min: 2, max: 1 } }, "the first port is above the last"],
    ["a wrong range of peers", { peers: { deny: ["10.0.0.0/33"] } }, "10.0.0.0/33"],
    ["nowhere to listen", { listen: [] }, "none of its listening addresses exists on this machine"],
  ])("is told for %s, and leaves nothing open", async (_what, options, message) => {
    const occupied = await openPeer();
    const before = readdirSync("/dev/fd").length;
    const listen = ["udp:127.0.0.1:0", `udp:127.0.0.1:${occupied.local.port}`];
    await expect(startRelay({ listen, relayAddresses: ["127.0.0.1"], authenticate, ...options })).rejects.toThrow(
      message,
    );
    expect(readdirSync("/dev/fd").length).toBe(before);
  });
});
