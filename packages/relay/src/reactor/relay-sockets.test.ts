import { formatTransportAddress, transportAddress } from "@turnpike/stun";
import type { Answer, OpenRelaySocket } from "@turnpike/turn";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HairpinMap } from "../addresses/hairpin-map.ts";
import { PortLeases } from "../ports/port-leases.ts";
import { PortTable } from "../ports/port-table.ts";
import { FakePlane } from "../testing/fake-plane.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { RelaySockets } from "./relay-sockets.ts";

const INSIDE = transportAddress("10.0.0.5", 0);
const OUTSIDE = transportAddress("203.0.113.5", 0);
const SECOND = transportAddress("10.0.0.6", 0);
const IPV6 = transportAddress("2001:db8::5", 0);
const ADDRESSES = [
  { local: INSIDE, relayed: OUTSIDE },
  { local: SECOND, relayed: SECOND },
  { local: IPV6, relayed: IPV6 },
];

function create(range = { min: 50_000, max: 50_003 }, addresses = ADDRESSES) {
  let state = 1;
  const randomInteger = (bound: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % bound;
  };
  const plane = new FakePlane();
  const clock = new VirtualClock();
  const logger = new RecordingLogger();
  const table = new PortTable({ range, spaces: addresses.length });
  const leases = new PortLeases({ table, reactor: 0, randomInteger });
  const hairpin = new HairpinMap({ relayAddresses: addresses, ownAddresses: [] });
  const monotonicMs = (): number => clock.now().monotonicMs;
  const sockets = new RelaySockets({ plane, leases, addresses, hairpin, logger, randomInteger, monotonicMs });
  let questionId = 0;
  const ask = (question: Partial<OpenRelaySocket> = {}): Answer[] => {
    const answers: Answer[] = [];
    const asked = { kind: "openRelaySocket", transport: "udp", families: [4], port: "any", ...question } as const;
    sockets.open({ ...asked, questionId: ++questionId }, (answer) => answers.push(answer));
    return answers;
  };
  return { plane, clock, logger, leases, hairpin, sockets, ask };
}

function opened(answers: readonly Answer[]): Extract<Answer, { kind: "relaySocketOpened" }> {
  const [answer] = answers;
  if (answer?.kind !== "relaySocketOpened") {
    throw new Error(`Not opened: ${JSON.stringify(answer)}`);
  }
  return answer;
}

describe("RelaySockets", () => {
  test("tells the external address, binds the private one, and marks the port live until it is closed", () => {
    const { ask, sockets, hairpin, plane, leases } = create({ min: 50_000, max: 50_000 }, ADDRESSES.slice(0, 1));
    const [socket] = opened(ask()).sockets;
    expect(socket).toMatchObject({ local: { ...INSIDE, port: 50_000 }, relayed: { ...OUTSIDE, port: 50_000 } });
    expect(hairpin.isLive(transportAddress("203.0.113.5", 50_000))).toBe(true);
    plane.deferred = true;
    sockets.close(socket?.socket ?? -1);
    sockets.close(socket?.socket ?? -1);
    expect(hairpin.isLive(transportAddress("203.0.113.5", 50_000))).toBe(false);
    expect(leases.inUse).toBe(1);
    plane.waiting.splice(0).forEach((done) => done());
    expect(leases.inUse).toBe(0);
  });

  test("uses every port of every address of a family, then answers 508", () => {
    const { ask } = create();
    const relayed = new Set(
      Array.from({ length: 8 }, () => opened(ask()).sockets.map((s) => formatTransportAddress(s.relayed))).flat(),
    );
    expect(relayed.size).toBe(8);
    expect(ask()).toMatchObject([{ kind: "relaySocketFailed", code: 508, reason: "No relay port is left" }]);
    expect(opened(ask({ families: [6] })).sockets).toHaveLength(1);
  });

  test("two families: both, or one and why not the other (RFC 8656 §7.2)", () => {
    const both = create();
    expect(opened(both.ask({ families: [4, 6] })).sockets.map((s) => s.local.family)).toEqual([4, 6]);
    const one = create(undefined, ADDRESSES.slice(0, 2));
    expect(one.ask({ families: [4, 6] })).toMatchObject([
      { kind: "relaySocketOpened", sockets: [{ local: { family: 4 } }], failures: [{ family: 6, code: 440 }] },
    ]);
    expect(one.ask({ families: [6] })).toMatchObject([{ kind: "relaySocketFailed", code: 440 }]);
  });

  test("a port that another process has is set aside and another tried, and comes back later", () => {
    const { ask, plane, leases, clock, logger } = create({ min: 50_000, max: 50_063 }, ADDRESSES.slice(0, 1));
    plane.failure = ({ port }) => (port === 50_013 ? undefined : { failure: "inUse", code: "EADDRINUSE" });
    expect(opened(ask()).sockets[0]?.local.port).toBe(50_013);
    expect(leases.inUse).toBe(1);
    expect(ask()[0]?.kind).toBe("relaySocketFailed");
    expect(new Set(plane.tried.map(({ port }) => port)).size).toBe(plane.tried.length);
    plane.failure = () => undefined;
    expect(ask()[0]?.kind).toBe("relaySocketFailed");
    clock.advance(60_000);
    expect(ask()[0]?.kind).toBe("relaySocketOpened");
    expect(leases.setAsideCount).toBe(0);
    expect(logger.messages("warn")).toEqual([]);
  });

  test("gives up after a bounded number of ports", () => {
    const { ask, plane } = create({ min: 49_152, max: 65_535 });
    plane.failure = () => ({ failure: "inUse", code: "EADDRINUSE" });
    expect(ask()).toMatchObject([{ kind: "relaySocketFailed", code: 508 }]);
    // One of each of 256 blocks, then 64 more.
    expect(plane.tried).toHaveLength(320);
    expect(new Set(plane.tried.slice(0, 256).map(({ port }) => port >> 6)).size).toBe(256);
  });

  test("finds a port wherever one block is left by other processes, and leaves theirs alone", () => {
    const block = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(block, fc.uniqueArray(block, { maxLength: 40 }), fc.boolean(), (free, partly, isPair) => {
        const { ask, plane } = create({ min: 49_152, max: 65_535 }, ADDRESSES.slice(0, 1));
        const others = ({ port }: { readonly port: number }): boolean => {
          const index = (port - 49_152) >> 6;
          return index !== free && (!partly.includes(index) || port % 8 !== 0);
        };
        plane.failure = (local) => (others(local) ? { failure: "inUse", code: "EADDRINUSE" } : undefined);
        const [socket] = opened(ask({ port: isPair ? "evenPair" : "any" })).sockets;
        expect(socket).toBeDefined();
        expect([...plane.open.values()].some(others)).toBe(false);
        expect(new Set(plane.tried.map(({ port }) => port)).size).toBe(plane.tried.length);
      }),
    );
  });

  test("an address that is gone is left for another; without descriptors nothing is tried twice", () => {
    const { ask, plane, leases, logger } = create();
    plane.failure = ({ w3 }) =>
      w3 === INSIDE.w3 ? { failure: "addressUnavailable", code: "EADDRNOTAVAIL" } : undefined;
    for (let index = 0; index < 4; index++) {
      expect(opened(ask()).sockets[0]?.local.w3).toBe(SECOND.w3);
    }
    expect(ask()[0]).toMatchObject({ code: 508 });
    plane.failure = () => ({ failure: "noResources", code: "EMFILE" });
    plane.tried.length = 0;
    expect(ask({ families: [6] })).toMatchObject([{ code: 508, reason: "Cannot open a relay socket (EMFILE)" }]);
    expect(plane.tried).toHaveLength(1);
    expect(logger.messages("error")).toHaveLength(1);
    expect([leases.inUse, leases.setAsideCount]).toEqual([4, 0]);
  });

  test("TCP relay sockets are refused", () => {
    expect(create().ask({ transport: "tcp" })).toMatchObject([{ kind: "relaySocketFailed", code: 508 }]);
  });

  test("what waits for the system is bounded", () => {
    const { ask, plane } = create({ min: 49_152, max: 65_535 });
    plane.deferred = true;
    const asked = Array.from({ length: 1025 }, () => ask());
    expect(asked.filter((answers) => answers.length > 0)).toHaveLength(1);
    expect(asked.at(-1)).toMatchObject([{ kind: "relaySocketFailed", code: 508 }]);
    plane.waiting.splice(0).forEach((done) => done());
    expect(asked.every((answers) => answers.length === 1)).toBe(true);
    expect(ask()).toEqual([]);
  });
});

describe("EVEN-PORT (RFC 8656 §7.2; security case 13)", () => {
  test("a reserved port is held by a silent socket, and given to whoever brings the reservation, once", () => {
    const { ask, sockets, hairpin, plane } = create({ min: 50_000, max: 50_003 }, ADDRESSES.slice(0, 1));
    const { sockets: pair, reservation } = opened(ask({ port: "evenPair" }));
    const port = pair[0]?.local.port ?? 0;
    expect(port % 2).toBe(0);
    expect([...plane.open.values()].map((local) => local.port)).toEqual([port, port + 1]);
    expect([sockets.liveCount, sockets.heldCount]).toEqual([1, 1]);
    expect(sockets.isLive(pair[0]?.socket ?? -1)).toBe(true);
    const held = [...plane.open.keys()].find((socket) => socket !== pair[0]?.socket) ?? -1;
    expect(sockets.isLive(held)).toBe(false);
    expect(hairpin.isLive(transportAddress("203.0.113.5", port + 1))).toBe(false);
    const next = opened(ask({ port: "reserved", reservation: reservation ?? -1, families: [4, 6] }));
    expect(next.sockets).toMatchObject([{ local: { port: port + 1 }, relayed: { port: port + 1 } }]);
    expect(sockets.isLive(held)).toBe(true);
    expect(hairpin.isLive(transportAddress("203.0.113.5", port + 1))).toBe(true);
    expect(ask({ port: "reserved", reservation: reservation ?? -1 })).toMatchObject([
      { kind: "relaySocketFailed", code: 508, reason: "The reserved port is not held" },
    ]);
    // The engine's timer releases the reservation later, when its port is somebody's.
    sockets.releaseReservation(reservation ?? -1);
    expect(sockets.liveCount).toBe(2);
  });

  test("a used reservation does not name a later one", () => {
    const { ask, sockets } = create({ min: 50_000, max: 50_001 }, ADDRESSES.slice(0, 1));
    const seen = new Set<number>();
    for (let turn = 0; turn < 20; turn++) {
      const { sockets: pair, reservation } = opened(ask({ port: "evenPair" }));
      expect(reservation).toBeDefined();
      expect(seen.has(reservation ?? -1)).toBe(false);
      seen.add(reservation ?? -1);
      sockets.close(pair[0]?.socket ?? -1);
      sockets.releaseReservation(reservation ?? -1);
    }
  });

  test("a pair whose second port is taken is given up for another", () => {
    const { ask, plane, leases } = create({ min: 50_000, max: 50_007 }, ADDRESSES.slice(0, 1));
    plane.failure = ({ port }) =>
      port % 2 === 1 && port !== 50_005 ? { failure: "inUse", code: "EADDRINUSE" } : undefined;
    expect(opened(ask({ port: "evenPair" })).sockets[0]?.local.port).toBe(50_004);
    expect(plane.open.size).toBe(2);
    expect(leases.inUse).toBe(2);
    plane.failure = ({ port }) => (port % 2 === 0 ? { failure: "inUse", code: "EADDRINUSE" } : undefined);
    expect(ask({ port: "evenPair" })[0]?.kind).toBe("relaySocketFailed");
    expect([plane.open.size, leases.inUse]).toEqual([2, 2]);
  });

  test("no port is lost, however sockets are asked for, fail, and end", () => {
    const action = fc.record({
      kind: fc.constantFrom("any", "even", "evenPair", "both", "reserved", "close", "release"),
      pick: fc.nat(50),
      fails: fc.constantFrom(undefined, undefined, "inUse", "addressUnavailable", "noResources", "notPermitted"),
      failsFrom: fc.nat(2),
      deferred: fc.boolean(),
    } as const);
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const { ask, plane, sockets, leases, clock } = create({ min: 50_001, max: 50_006 });
        const live: number[] = [];
        const held: number[] = [];
        for (const { kind, pick, fails, failsFrom, deferred } of actions) {
          let opens = 0;
          plane.failure = () => (opens++ >= failsFrom && fails ? { failure: fails, code: "E" } : undefined);
          plane.deferred = deferred;
          let answers: Answer[] = [];
          if (kind === "close") {
            sockets.close(live.splice(pick % Math.max(1, live.length), 1)[0] ?? 99);
          } else if (kind === "release") {
            sockets.releaseReservation(held.splice(pick % Math.max(1, held.length), 1)[0] ?? 99);
          } else if (kind === "reserved") {
            answers = ask({ port: kind, reservation: held.splice(pick % Math.max(1, held.length), 1)[0] ?? 99 });
          } else {
            answers = kind === "both" ? ask({ families: [4, 6] }) : ask({ port: kind });
          }
          while (plane.waiting.length > 0) {
            plane.waiting.shift()?.();
          }
          for (const answer of answers) {
            if (answer.kind === "relaySocketOpened") {
              live.push(...answer.sockets.map(({ socket }) => socket));
              held.push(...(answer.reservation === undefined ? [] : [answer.reservation]));
            }
          }
          expect([sockets.liveCount, sockets.heldCount]).toEqual([live.length, held.length]);
          expect(plane.open.size).toBe(live.length + held.length);
          expect(leases.inUse).toBe(live.length + held.length);
        }
        plane.deferred = false;
        sockets.closeAll();
        clock.advance(60_000);
        plane.failure = () => undefined;
        const again = Array.from({ length: 12 }, () => ask()[0]?.kind);
        expect(new Set(again)).toEqual(new Set(["relaySocketOpened"]));
        expect(leases.inUse).toBe(12);
      }),
    );
  });
});
