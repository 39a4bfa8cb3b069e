import { transportAddress } from "@turnpike/stun";
import type { AllocationContext, LifecycleEvent, Totals } from "@turnpike/turn";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LivingThings } from "./living-things.ts";

const context = (id: number): AllocationContext => ({
  allocationId: `a${id}`,
  username: `user "${id}"`,
  realm: "turnpike",
  actor: `actor ${id}`,
  scheme: "static",
  fiveTuple: { transport: "udp", client: transportAddress("10.0.0.1", id), server: transportAddress("::1", 3478) },
  relayed: [transportAddress("203.0.113.5", 50_000 + id), transportAddress("2001:db8::5", 50_000 + id)],
  atUnixMs: 1000 + id,
});

const totals = (packets: number): Totals => ({
  packetsToPeers: packets,
  bytesToPeers: packets * 100,
  packetsFromPeers: 0,
  bytesFromPeers: 0,
  drops: { permission: 0, channel: 0, malformed: 0, rate: 0 },
  peers: 1,
  durationMs: 5,
});

const created = (id: number): LifecycleEvent => ({
  type: "allocationCreated",
  context: context(id),
  lifetimeSeconds: 600,
  requestedPort: "any",
  families: [4, 6],
});

test("tells the end of what lives, with what was last reported of it, and forgets it", () => {
  const living = new LivingThings();
  living.take(created(1));
  living.take({ type: "trafficReport", context: context(1), totals: totals(7) });
  const peer = transportAddress("192.0.2.1", 0);
  living.take({ type: "permissionCreated", context: context(1), peer });
  const ended = { ...context(1), atUnixMs: 9001 };
  expect(living.end(9001)).toEqual([
    { type: "permissionDeleted", context: ended, peer },
    {
      type: "allocationDeleted",
      context: ended,
      reason: "reactorFailed",
      totals: { ...totals(7), durationMs: 8000 },
    },
  ]);
  expect(living.end(9002)).toEqual([]);
});

test("a thing that was told just before what lives, in the same turn, has its end told too", () => {
  const living = new LivingThings();
  const peer = transportAddress("192.0.2.1", 0);
  for (const id of [1, 2]) living.take({ type: "permissionCreated", context: context(id), peer });
  const rest = { expiresInSeconds: 1, permissions: 1, channels: 0, connections: 0 };
  living.replace([{ context: context(2), totals: totals(3), ...rest }]);
  expect(living.end(9002).map(({ type }) => type)).toEqual(["permissionDeleted", "allocationDeleted"]);
  living.take({ type: "permissionCreated", context: context(2), peer });
  living.replace([]);
  living.replace([{ context: context(2), totals: totals(3), ...rest }]);
  expect(living.end(9003).map(({ type }) => type)).toEqual(["allocationDeleted"]);
});

test("begins with what lives when somebody begins to listen, and forgets it when nobody does any more", () => {
  const living = new LivingThings();
  living.take(created(1));
  const rest = { expiresInSeconds: 1, permissions: 0, channels: 0, connections: 0 };
  living.replace([{ context: context(2), totals: totals(3), ...rest }]);
  expect(living.end(9002)).toEqual([
    {
      type: "allocationDeleted",
      context: { ...context(2), atUnixMs: 9002 },
      reason: "reactorFailed",
      totals: { ...totals(3), durationMs: 8000 },
    },
  ]);
  living.take(created(3));
  living.replace([]);
  expect(living.end(9003)).toEqual([]);
});

test("whatever came and went, each that lives is ended once and no other", () => {
  const step = fc.record({ id: fc.nat({ max: 5 }), what: fc.constantFrom("create", "delete", "channel") });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const living = new LivingThings();
      /** Whether each has a channel. */
      const model = new Map<number, boolean>();
      for (const { id, what } of steps) {
        const peer = transportAddress("192.0.2.1", 9);
        if (what === "create" && !model.has(id)) {
          living.take(created(id));
          model.set(id, false);
        } else if (what === "delete" && model.delete(id)) {
          living.take({ type: "allocationDeleted", context: context(id), reason: "expired", totals: totals(1) });
        } else if (what === "channel" && model.has(id)) {
          living.take({ type: "channelCreated", context: context(id), channel: 0x4000, peer, relayed: peer });
          model.set(id, true);
        }
      }
      const told = living.end(0).map((event) => `${event.type} ${"context" in event ? event.context.actor : ""}`);
      const expected = [...model].flatMap(([id, hasChannel]) => [
        ...(hasChannel ? [`channelDeleted actor ${id}`] : []),
        `allocationDeleted actor ${id}`,
      ]);
      expect(told).toEqual(expected);
    }),
  );
});
