import { randomBytes, randomInt } from "node:crypto";
import { setImmediate as turnOfLoop } from "node:timers/promises";
import {
  HairpinMap,
  type Opened,
  PortablePlane,
  PortLeases,
  PortTable,
  Reactor,
  RelaySockets,
  silentLogger,
} from "@turnpike/relay";
import { attribute, getAttribute, reservationToken, transportAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { createPeerPolicy, TurnServer } from "@turnpike/turn";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "../../packages/relay/src/testing/virtual-clock.ts";
import { staticUsers } from "../sim/support/authentication.ts";
import { freePorts } from "../support/free-ports.ts";
import { allocated, BOB, keep, openClient, openPeer, startTestRelay } from "../support/relay.ts";
import { evenPairWanted, evenWanted, relayedOf, UdpTurnClient } from "../support/udp-turn-client.ts";

describe("case 13: relay ports", () => {
  test("are all used, refused with 508 only then, and come back", async () => {
    const first = (await freePorts(7)) + 1;
    const relay = await startTestRelay({ portRange: { min: first, max: first + 5 } });
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
    const relay = await startTestRelay({ portRange: { min: first, max: first + 3 } });
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
    const relay = await startTestRelay({ portRange: { min: first, max: first + 3 } });
    const client = await openClient(relay);
    expect((await allocated(client)).port).toBe(first + 2);
    expect(taken.map(({ unread }) => unread)).toEqual([0, 0, 0]);
  });
});

test("case 13: ports come back when allocations expire and reservations are not claimed", async () => {
  const clock = new VirtualClock();
  const loopback = transportAddress("127.0.0.1", 0);
  const relayAddresses = [{ local: loopback, relayed: loopback }];
  const first = await freePorts(4);
  const plane = new PortablePlane();
  const table = new PortTable({ range: { min: first, max: first + 3 }, spaces: 1 });
  const leases = new PortLeases({ table, reactor: 0, randomInteger: (bound) => randomInt(bound) });
  const hairpin = new HairpinMap({ relayAddresses, ownAddresses: [] });
  const relaySockets = new RelaySockets({
    plane,
    leases,
    addresses: relayAddresses,
    hairpin,
    logger: silentLogger,
    randomInteger: (bound) => randomInt(bound),
    monotonicMs: () => clock.now().monotonicMs,
  });
  const opened = await new Promise<Opened>((done) => plane.openListener(0, loopback, done));
  if (opened.kind !== "opened") {
    throw new Error(opened.code);
  }
  const reactor = new Reactor({
    engine: new TurnServer({
      crypto: nodeCrypto,
      random: (length) => randomBytes(length),
      realm: "example.org",
      listeners: [{ id: 0, transport: "udp", local: opened.local }],
      authenticate: staticUsers({ [BOB.username]: BOB.password }),
      peerPolicy: createPeerPolicy(),
      hairpin,
      nonceKey: randomBytes(32),
    }),
    plane,
    relaySockets,
    clock,
    logger: silentLogger,
    admit: () => ({ admitted: true }),
    release: () => {},
  });
  plane.start(reactor);
  for (let turn = 0; turn < 3; turn++) {
    const client = keep(await UdpTurnClient.open(opened.local, BOB));
    await allocated(client, evenPairWanted);
    const held = (): readonly number[] => [relaySockets.liveCount, relaySockets.heldCount, leases.inUse];
    expect(held()).toEqual([1, 1, 2]);
    clock.advance(60_000);
    await turnOfLoop();
    expect(held()).toEqual([1, 0, 1]);
    clock.advance(600_000);
    await turnOfLoop();
    expect(held()).toEqual([0, 0, 0]);
  }
  expect(reactor.internalErrors).toBe(0);
  reactor.stop();
  expect(clock.pending).toBe(0);
  await plane.stop();
});
