import { formatIpAddress, transportAddress } from "@turnpike/stun";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { EngineHarness } from "../support/engine-harness.ts";
import { nameOf, SimNetwork, type SimClient } from "../support/sim-network.ts";

const PEERS = [1, 2, 3, 4].map((i) => transportAddress(`8.8.8.${i}`, 5000 + i));

/** What the application of a client may do. */
type Step =
  | { readonly kind: "permit" | "bindChannel" | "forget" | "send"; readonly peer: number }
  | { readonly kind: "refresh" | "close" }
  /** A client of its own, as a five-tuple has one allocation only. */
  | { readonly kind: "allocate" }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "weather"; readonly loss: number };

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constantFrom("permit" as const, "bindChannel" as const, "forget" as const, "send" as const),
      peer: fc.integer({ min: 0, max: PEERS.length - 1 }),
    }),
    fc.record({ kind: fc.constantFrom("refresh" as const, "close" as const) }),
    fc.record({ kind: fc.constant("allocate" as const) }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(10, 400, 5000, 60_000, 200_000, 900_000) }),
    fc.record({ kind: fc.constant("weather" as const), loss: fc.constantFrom(0, 0.1, 0.4, 0.8, 1) }),
  ),
  { maxLength: 25 },
);

/** What living things of a client the server has announced. */
function serverView(network: SimNetwork, client: SimClient): { permissions: string[]; channels: string[] } {
  const permissions = new Set<string>();
  const channels = new Set<string>();
  for (const output of network.serverOutputs) {
    if (output.kind !== "event") continue;
    const { event } = output;
    if (!("context" in event) || event.context.fiveTuple.client.port !== client.address.port) continue;
    if (event.type === "permissionCreated") permissions.add(formatIpAddress(event.peer));
    else if (event.type === "permissionDeleted") permissions.delete(formatIpAddress(event.peer));
    else if (event.type === "channelCreated") channels.add(`${event.channel} ${nameOf(event.peer)}`);
    else if (event.type === "channelDeleted") channels.delete(`${event.channel} ${nameOf(event.peer)}`);
  }
  return { permissions: [...permissions].toSorted(), channels: [...channels].toSorted() };
}

function clientView(network: SimNetwork, client: SimClient): { permissions: string[]; channels: string[] } {
  const now = network.harness.clock;
  return {
    permissions: client.engine.permittedPeers(now).map(formatIpAddress).toSorted(),
    channels: client.engine
      .boundChannels(now)
      .map(({ channel, peer }) => `${channel} ${nameOf(peer)}`)
      .toSorted(),
  };
}

function play(network: SimNetwork, client: SimClient, step: Exclude<Step, { readonly kind: "allocate" }>): void {
  const now = network.harness.clock;
  switch (step.kind) {
    case "permit":
      network.act(client, (engine) => engine.permit([PEERS[step.peer]!], now));
      return;
    case "bindChannel":
      network.act(client, (engine) => engine.bindChannel(PEERS[step.peer]!, now));
      return;
    case "forget":
      network.act(client, (engine) => engine.forget(PEERS[step.peer]!));
      return;
    case "send":
      network.send(client, PEERS[step.peer]!, Uint8Array.of(step.peer));
      return;
    case "refresh":
      network.act(client, (engine) => engine.refresh(undefined, now));
      return;
    case "close":
      network.act(client, (engine) => engine.close(now));
      return;
    case "wait":
      for (let left = step.ms; left > 0; left -= SLICE_MS) {
        network.advance(Math.min(left, SLICE_MS));
        expectBelief(network, client);
      }
      return;
    case "weather":
      network.weather = { loss: step.loss, duplication: 0.2, minDelayMs: 5, maxDelayMs: 800 };
      return;
  }
}

const SLICE_MS = 7000;

/** What the client believes, the server has. */
function expectBelief(network: SimNetwork, client: SimClient): void {
  const believed = clientView(network, client);
  const real = serverView(network, client);
  expect(real.permissions).toEqual(expect.arrayContaining(believed.permissions));
  expect(real.channels).toEqual(expect.arrayContaining(believed.channels));
  if (client.engine.isAllocated) expect(network.harness.server.allocationCount).toBeGreaterThanOrEqual(1);
}

test("whatever the network does: what the client believes, the server has; in the end both agree", () => {
  fc.assert(
    fc.property(fc.integer(), steps, (seed, list) => {
      const network = new SimNetwork(new EngineHarness({ unauthenticatedBytesPerSecond: 1e9 }), { seed });
      let port = 40_000;
      const start = (): SimClient => {
        const fresh = network.client(transportAddress("198.51.100.7", port++));
        network.act(fresh, (engine) => engine.allocate({}, network.harness.clock));
        return fresh;
      };
      let client = start();
      network.advance(1000);
      for (const step of list) {
        if (step.kind === "allocate") client = start();
        else play(network, client, step);
        expectBelief(network, client);
      }
      // The storm is over, and the longest lifetime after it: whatever was lost has run out or was refreshed.
      network.weather = { loss: 0, duplication: 0, minDelayMs: 5, maxDelayMs: 5 };
      network.advance(1_800_000);
      const alive = network.clients.filter(({ engine }) => engine.isAllocated);
      expect(network.harness.server.allocationCount).toBe(alive.length);
      for (const each of network.clients) expect(clientView(network, each)).toEqual(serverView(network, each));
      // Every operation came to its end (and to no second one: the network throws).
      for (const each of network.clients) {
        const last = network.act(each, (engine) => engine.binding(network.harness.clock));
        network.advance(100);
        expect(each.endings.size).toBe(last);
      }
    }),
    { numRuns: 150 },
  );
});
