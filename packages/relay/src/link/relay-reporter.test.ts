import { readRelayMessage } from "@turnpike/link";
import { transportAddress } from "@turnpike/stun";
import type { AllocationContext, LifecycleEvent, Totals } from "@turnpike/turn";
import { describe, expect, it } from "vitest";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { RelayReporter, type RelayReporterOptions } from "./relay-reporter.ts";

const totals: Totals = {
  packetsToPeers: 1,
  bytesToPeers: 2,
  packetsFromPeers: 3,
  bytesFromPeers: 4,
  drops: { permission: 1, channel: 1, malformed: 1, rate: 1 },
  peers: 1,
  durationMs: 5,
};

function context(id: number): AllocationContext {
  return {
    allocationId: `a${id}`,
    username: "1900000000:alice.x",
    realm: "turnpike",
    actor: "alice",
    scheme: "portal",
    fiveTuple: {
      transport: "udp",
      client: transportAddress("192.0.2.9", 5000),
      server: transportAddress("192.0.2.1", 3478),
    },
    relayed: [transportAddress("192.0.2.1", 50_000)],
    atUnixMs: 1_900_000_000_000,
  };
}

interface Payload {
  readonly allocations?: unknown;
  readonly events: readonly { readonly allocation?: string; readonly record?: unknown }[];
}

const created = (id: number): LifecycleEvent => ({
  type: "allocationCreated",
  context: context(id),
  lifetimeSeconds: 600,
  requestedPort: "any",
  families: [4],
});
const deleted = (id: number): LifecycleEvent => ({
  type: "allocationDeleted",
  context: context(id),
  reason: "credentialRevoked",
  totals,
});

function setUp(options: Partial<RelayReporterOptions> = {}): {
  reporter: RelayReporter;
  clock: VirtualClock;
  sent: { event: string; payload: Payload }[];
  world: { accepts: boolean };
} {
  const clock = new VirtualClock();
  const sent: { event: string; payload: Payload }[] = [];
  const world = { accepts: true };
  const reporter = new RelayReporter({
    clock,
    presence: () => ({ load: 0.1, version: "0.1.0", draining: false, urls: ["turn:192.0.2.1:3478"] }),
    link: {
      send(event, payload) {
        if (!world.accepts) return false;
        // All that is sent must pass what the portal reads with.
        expect(readRelayMessage({ event, payload: JSON.parse(JSON.stringify(payload)) }).kind).toBe("message");
        sent.push({ event, payload: payload as unknown as Payload });
        return true;
      },
    },
    ...options,
  });
  return { reporter, clock, sent, world };
}

describe("RelayReporter", () => {
  it("says who it is and what lives when the link comes up, in parts", () => {
    const { reporter, sent } = setUp();
    for (let id = 0; id < 501; id++) reporter.handleEvent(created(id));
    reporter.handleEvent(deleted(7));
    expect(sent).toEqual([]);
    reporter.handleReady();
    expect(sent.slice(0, 2).map(({ event }) => event)).toEqual(["presence", "allocations"]);
    expect(sent[0]!.payload.allocations).toBe(500);
    expect(sent[1]!.payload).toMatchObject({ first: true, allocations: { length: 500 } });
    expect(sent.slice(2).map(({ payload }) => payload.events.length)).toEqual([100, 100, 100, 100, 100, 2]);
  });

  it("sends events in batches, with totals and reasons", () => {
    const { reporter, sent, clock } = setUp();
    reporter.handleReady();
    sent.length = 0;
    reporter.handleEvent(created(1));
    reporter.handleEvent(deleted(1));
    expect(sent).toEqual([]);
    clock.advance(200);
    expect(sent).toHaveLength(1);
    expect(sent[0]!.payload.events[0]?.record).toMatchObject({ id: "a1", client: "192.0.2.9:5000" });
    expect(sent[0]!.payload.events[1]).toMatchObject({
      reason: "credentialRevoked",
      allocation: "a1",
      details: { dropped: 4, bytesFromPeers: 4 },
    });
    expect(reporter.allocations).toEqual([]);
  });

  it("keeps a bounded number of events, drops the oldest, and says how many", () => {
    const { reporter, sent } = setUp({ maxWaitingEvents: 10 });
    for (let id = 0; id < 25; id++) reporter.handleEvent(created(id));
    reporter.handleReady();
    const { payload } = sent.at(-1)!;
    expect(payload).toMatchObject({ dropped: 15, events: { length: 10 } });
    expect(payload.events[0]?.allocation).toBe("a15");
    expect(reporter.allocations).toHaveLength(25);
  });

  it("waits with events while the link is slow", () => {
    const { reporter, sent, clock, world } = setUp();
    reporter.handleReady();
    world.accepts = false;
    reporter.handleEvent(created(1));
    clock.advance(1_000);
    sent.length = 0;
    world.accepts = true;
    clock.advance(200);
    expect(sent).toMatchObject([{ event: "events" }]);
  });

  it("reports presence again and again, and not while the link is away", () => {
    const { reporter, sent, clock } = setUp();
    reporter.handleReady();
    sent.length = 0;
    clock.advance(30_000);
    expect(sent.map(({ event }) => event)).toEqual(["presence", "presence", "presence"]);
    reporter.handleAway();
    clock.advance(30_000);
    expect(sent).toHaveLength(3);
    expect(clock.pending).toBe(0);
  });

  it("tells of users that could not be authenticated", () => {
    const { reporter, sent, clock } = setUp();
    reporter.handleReady();
    const { fiveTuple } = context(0);
    reporter.handleEvent({
      type: "authFailed",
      method: "allocate",
      reason: "expired",
      actor: "a",
      fiveTuple,
      atUnixMs: 1,
    });
    const refused = {
      type: "allocationRefused",
      code: 486,
      reason: "quota",
      username: "u",
      actor: "a",
      fiveTuple,
    } as const;
    reporter.handleEvent({ ...refused, atUnixMs: 1 });
    reporter.handleEvent({
      type: "channelCreated",
      context: context(1),
      channel: 0x4000,
      peer: fiveTuple.client,
      relayed: fiveTuple.server,
    });
    clock.advance(200);
    expect(sent.at(-1)!.payload.events).toMatchObject([
      { type: "authFailed", reason: "expired", details: { method: "allocate", client: "192.0.2.9:5000" } },
      { type: "allocationRefused", reason: "quota", details: { code: 486 } },
      { type: "channelCreated", details: { channel: 0x4000, peer: "192.0.2.9:5000" } },
    ]);
  });
});
