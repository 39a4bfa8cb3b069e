import {
  attribute,
  channelNumber,
  encodeChannelData,
  getAttribute,
  lifetime,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { TokenBucketMeter, type Meter } from "@turnpike/turn";
import { expect, test } from "vitest";
import { EngineHarness } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const PEER = transportAddress("8.8.8.8", 5000);
const UDP = attribute(requestedTransport, 17);
const PAYLOAD = new Uint8Array(1000);
const CHANNEL_DATA = encodeChannelData(0x4000, PAYLOAD, { padded: false });

function join(harness: EngineHarness, username: string, port: number): typeof PEER {
  const address = transportAddress("198.51.100.7", port);
  const password = username === "alice" ? "wonderland" : "builder";
  const client = new StunClient({ username, password }, harness.random);
  harness.fromClient(address, client.plain("allocate", [UDP]));
  client.learn(harness.answer());
  harness.fromClient(address, client.signed("allocate", [UDP]));
  expect(outcomeOf(harness.answer())).toBe("success");
  harness.fromClient(
    address,
    client.signed("channelBind", [attribute(channelNumber, 0x4000), attribute(xorPeerAddress, PEER)]),
  );
  expect(outcomeOf(harness.answer())).toBe("success");
  return address;
}

test("a limit holds within 5 % over ten seconds both ways, while another user's flow keeps its rate", () => {
  const harness = new EngineHarness({
    metersFor: ({ actor }) =>
      actor === "alice" ? [new TokenBucketMeter({ bytesPerSecond: 1_000_000, burstSeconds: 0.1 })] : undefined,
  });
  const limited = join(harness, "alice", 1);
  const free = join(harness, "bob", 2);
  const bytes = { limitedUp: 0, limitedDown: 0, freeUp: 0 };
  for (let i = 0; i < 20_000; i++) {
    if (harness.fromClient(limited, CHANNEL_DATA) !== undefined) bytes.limitedUp += 1000;
    if (harness.fromPeer(0, PEER, PAYLOAD) !== undefined) bytes.limitedDown += 1000;
    if (harness.fromClient(free, CHANNEL_DATA) !== undefined) bytes.freeUp += 1000;
    harness.clock.advance(0.5);
  }
  expect(Math.abs(bytes.limitedUp / 1e7 - 1)).toBeLessThan(0.05);
  expect(Math.abs(bytes.limitedDown / 1e7 - 1)).toBeLessThan(0.05);
  expect(bytes.freeUp).toBe(20_000_000);
  const described = [...harness.server.describeAllocations(harness.clock)];
  expect(described[0]?.totals).toMatchObject({ bytesToPeers: bytes.limitedUp, bytesFromPeers: bytes.limitedDown });
  expect(described[0]?.totals.drops.rate).toBe(40_000 - (bytes.limitedUp + bytes.limitedDown) / 1000);
});

test("one meter for two allocations of a user limits both together", () => {
  const shared: Meter = new TokenBucketMeter({ packetsPerSecond: 10, burstSeconds: 1 });
  const harness = new EngineHarness({ metersFor: () => [shared] });
  const clients = [join(harness, "alice", 1), join(harness, "alice", 2)];
  let through = 0;
  for (let i = 0; i < 100; i++) if (harness.fromClient(clients[i % 2]!, CHANNEL_DATA) !== undefined) through++;
  expect(through).toBe(10);
});

test("limits of an admission answer reach the meters of the allocation", () => {
  const seen: unknown[] = [];
  const harness = new EngineHarness({
    admission: true,
    metersFor: ({ limits }) => {
      seen.push(limits);
      return undefined;
    },
  });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  const address = transportAddress("198.51.100.7", 1);
  harness.fromClient(address, client.plain("allocate", [UDP]));
  client.learn(harness.answer());
  harness.fromClient(address, client.signed("allocate", [UDP]));
  const admit = harness.take().find((output) => output.kind === "admit");
  const limits = { allocation: { bytesPerSecond: 5 } };
  harness.server.handleAnswer(
    { kind: "admission", questionId: admit?.kind === "admit" ? admit.questionId : -1, admitted: true, limits },
    harness.clock,
  );
  harness.drain();
  expect(seen).toEqual([limits]);
});

test("limits of an allocation change while it is made, and while it lives", () => {
  const meters: unknown[] = [];
  const harness = new EngineHarness({
    admission: true,
    metersFor: ({ limits }) => {
      meters.push(limits?.allocation?.bytesPerSecond);
      return undefined;
    },
  });
  harness.answerSockets = false;
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  const address = transportAddress("198.51.100.7", 1);
  harness.fromClient(address, client.plain("allocate", [UDP]));
  client.learn(harness.answer());
  harness.fromClient(address, client.signed("allocate", [UDP]));
  const admit = harness.take().find((output) => output.kind === "admit");
  const questionId = admit?.kind === "admit" ? admit.questionId : -1;
  const change = (bytesPerSecond: number, maxLifetimeSeconds?: number): void =>
    harness.server.changeAllocationLimits([
      { questionId, limits: { allocation: { bytesPerSecond } }, ...(maxLifetimeSeconds && { maxLifetimeSeconds }) },
      { questionId: 12_345, limits: undefined },
    ]);
  const limits = { allocation: { bytesPerSecond: 1 } };
  harness.server.handleAnswer({ kind: "admission", questionId, admitted: true, limits }, harness.clock);
  harness.drain();
  change(2, 700);
  const open = harness.take().find((output) => output.kind === "openRelaySocket");
  const relayed = transportAddress("192.0.2.1", 50_000);
  harness.server.handleAnswer(
    {
      kind: "relaySocketOpened",
      questionId: open?.kind === "openRelaySocket" ? open.questionId : -1,
      sockets: [{ socket: 7, local: relayed, relayed }],
    },
    harness.clock,
  );
  harness.drain();
  harness.take();
  expect(meters).toEqual([2]);
  change(3, 800);
  expect(meters).toEqual([2, 3]);
  const granted = (): number | undefined => {
    harness.fromClient(address, client.signed("refresh", [attribute(lifetime, 3600)]));
    const seconds = getAttribute(harness.answer(), lifetime);
    return seconds?.ok ? seconds.value : undefined;
  };
  expect(granted()).toBe(800);
  change(3);
  expect(granted()).toBe(3600);
  harness.fromClient(address, client.signed("refresh", [attribute(lifetime, 0)]));
  const before = meters.length;
  change(4);
  expect(meters).toHaveLength(before);
});

test("traffic is reported while it goes on, until the allocation ends, and drops are told by cause", () => {
  const harness = new EngineHarness({ trafficReportSeconds: 10 });
  const address = join(harness, "alice", 1);
  harness.take();
  harness.fromClient(address, CHANNEL_DATA);
  harness.fromClient(address, encodeChannelData(0x4abc, PAYLOAD, { padded: false }));
  harness.fromPeer(0, transportAddress("9.9.9.9", 1), PAYLOAD);
  harness.advance(10_000);
  const [report] = harness.take();
  expect(report).toMatchObject({
    event: {
      type: "trafficReport",
      totals: {
        packetsToPeers: 1,
        bytesToPeers: 1000,
        drops: { permission: 1, channel: 1, malformed: 0, rate: 0 },
        peers: 1,
      },
    },
  });
  harness.advance(585_000);
  expect(harness.takeKinds().filter((kind) => kind === "trafficReport")).toHaveLength(58);
  harness.advance(5_000);
  const kinds = harness.takeKinds();
  expect(kinds.at(-1)).toBe("allocationDeleted");
  expect(harness.server.pollTimeout()).toBeUndefined();
});

test("administrators end allocations by id, actor or credential, with their reason", () => {
  const harness = new EngineHarness();
  join(harness, "alice", 1);
  join(harness, "alice", 2);
  join(harness, "bob", 3);
  harness.take();
  const ended = harness.server.endAllocations(({ actor }) => actor === "alice", "administrator", harness.clock);
  harness.drain();
  const reasons = harness
    .take()
    .flatMap((output) => (output.kind === "event" && output.event.type === "allocationDeleted" ? [output.event] : []))
    .map(({ context, reason }) => `${context.actor} ${reason}`);
  expect([ended, reasons]).toEqual([2, ["alice administrator", "alice administrator"]]);
  expect(harness.server.allocationCount).toBe(1);
});
