import { parseIpAddress, transportAddress } from "@turnpike/stun";
import type { AllocationContext, LifecycleEvent, Listener } from "@turnpike/turn";
import type { ChannelCounts, ChannelRoute } from "@turnpike/xdp";
import { expect, test } from "vitest";
import { HairpinMap } from "../addresses/hairpin-map.ts";
import { type ChannelOutput, KernelChannels, type Offload } from "./kernel-channels.ts";

const LISTENERS: readonly Listener[] = [
  { id: 1, transport: "udp", local: transportAddress("10.0.0.1", 3478) },
  { id: 2, transport: "tcp", local: transportAddress("10.0.0.1", 3478) },
];
const CLIENT = transportAddress("198.51.100.7", 40_000);
const PEER = transportAddress("8.8.8.8", 5000);
const NOTHING: ChannelCounts = { packetsToPeer: 0, bytesToPeer: 0, packetsToClient: 0, bytesToClient: 0 };

/** Keeps what it was told; the test sets what was counted. */
class RecordingOffload implements Offload {
  readonly bound = new Map<string, { readonly route: ChannelRoute; readonly expiresAtNs: bigint }>();
  readonly counted = new Map<string, ChannelCounts>();
  full = false;

  bind(id: string, route: ChannelRoute, expiresAtNs: bigint): boolean {
    if (!this.full) this.bound.set(id, { route, expiresAtNs });
    return !this.full;
  }

  unbind(id: string): ChannelCounts | undefined {
    const counts = this.counts(id);
    this.bound.delete(id);
    return counts;
  }

  counts(id: string): ChannelCounts | undefined {
    return this.bound.has(id) ? (this.counted.get(id) ?? NOTHING) : undefined;
  }
}

function ip(text: string): NonNullable<ReturnType<typeof parseIpAddress>> {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

function start(events = true): { offload: RecordingOffload; channels: KernelChannels } {
  const offload = new RecordingOffload();
  const relayAddresses = [{ local: ip("10.0.0.1"), relayed: ip("203.0.113.5") }];
  const hairpin = new HairpinMap({ relayAddresses, ownAddresses: [] });
  const monotonicNs = (): bigint => 5_000_000_000n;
  return { offload, channels: new KernelChannels({ offload, listeners: LISTENERS, hairpin, events, monotonicNs }) };
}

function bound(change: Partial<Extract<ChannelOutput, { kind: "channelBound" }>> = {}): ChannelOutput {
  return {
    kind: "channelBound",
    allocation: 7,
    channel: 0x4000,
    listener: 1,
    client: CLIENT,
    socket: 3,
    relayed: transportAddress("203.0.113.5", 50_000),
    peer: PEER,
    expiresAtMs: 305_000,
    ...change,
  };
}

function ended(type: "allocationDeleted" | "trafficReport"): LifecycleEvent {
  const context: AllocationContext = {
    allocationId: "2-7",
    username: "u",
    realm: "r",
    actor: "u",
    scheme: "static",
    fiveTuple: { transport: "udp", client: CLIENT, server: transportAddress("10.0.0.1", 3478) },
    relayed: [],
    atUnixMs: 0,
  };
  const drops = { permission: 0, channel: 0, malformed: 0, rate: 0 };
  const totals = { packetsToPeers: 1, bytesToPeers: 10, packetsFromPeers: 2, bytesFromPeers: 20, drops, peers: 1 };
  const whole = { ...totals, durationMs: 1 };
  return type === "trafficReport"
    ? { type, context, totals: whole }
    : { type, context, totals: whole, reason: "expired" };
}

test("a channel is handed over with the addresses on the wire and the time it has left", () => {
  const { offload, channels } = start();
  channels.handle(2, bound());
  expect([...offload.bound]).toEqual([
    [
      "2-7-16384",
      {
        expiresAtNs: 305_000_000_000n,
        route: {
          channel: 0x4000,
          client: CLIENT,
          listener: transportAddress("10.0.0.1", 3478),
          relay: transportAddress("10.0.0.1", 50_000),
          peer: PEER,
          hairpin: false,
        },
      },
    ],
  ]);
  channels.handle(2, bound({ allocation: 8, peer: transportAddress("10.0.0.1", 50_001) }));
  expect(offload.bound.get("2-8-16384")?.route.hairpin).toBe(true);
});

test("clients over streams stay with the sockets", () => {
  const { offload, channels } = start();
  channels.handle(2, bound({ listener: 2 }));
  expect(offload.bound.size).toBe(0);
});

test("reports and totals hold what engine and kernel relayed, of channels that are gone too, each once", () => {
  const { offload, channels } = start();
  channels.handle(2, bound());
  channels.handle(2, bound({ channel: 0x4001 }));
  channels.handle(2, bound());
  offload.counted.set("2-7-16384", {
    packetsToPeer: 100,
    bytesToPeer: 1000,
    packetsToClient: 200,
    bytesToClient: 2000,
  });
  const sum = { packetsToPeers: 101, bytesToPeers: 1010, packetsFromPeers: 202, bytesFromPeers: 2020 };
  expect(channels.complete(ended("trafficReport"))).toMatchObject({ totals: sum });
  const { context, totals } = ended("trafficReport") as Extract<LifecycleEvent, { type: "trafficReport" }>;
  const described = { context, totals, expiresInSeconds: 1, permissions: 1, channels: 2, connections: 0 };
  expect(channels.describe(described)).toMatchObject({ totals: sum, channels: 2 });
  channels.handle(2, { kind: "channelUnbound", allocation: 7, channel: 0x4000 });
  expect(channels.complete(ended("trafficReport"))).toMatchObject({ totals: sum });
  channels.handle(2, { kind: "channelUnbound", allocation: 7, channel: 0x4001 });
  expect(channels.complete(ended("allocationDeleted"))).toMatchObject({ totals: sum });
  expect(offload.bound.size).toBe(0);
  // The allocation is forgotten.
  expect(channels.complete(ended("trafficReport"))).toEqual(ended("trafficReport"));
});

test("what a dead reactor left is taken back, and counted", () => {
  const { offload, channels } = start();
  channels.handle(2, bound());
  channels.handle(3, bound());
  offload.counted.set("2-7-16384", { packetsToPeer: 5, bytesToPeer: 50, packetsToClient: 0, bytesToClient: 0 });
  channels.forget(2);
  expect([...offload.bound.keys()]).toEqual(["3-7-16384"]);
  expect(channels.complete(ended("allocationDeleted"))).toMatchObject({ totals: { packetsToPeers: 6 } });
});

test("a channel that was refused, and one whose end is told twice, leave nothing", () => {
  const { offload, channels } = start(false);
  offload.full = true;
  channels.handle(2, bound());
  channels.handle(2, { kind: "channelUnbound", allocation: 7, channel: 0x4000 });
  expect(channels.complete(ended("allocationDeleted"))).toEqual(ended("allocationDeleted"));
});
