import {
  attribute,
  channelNumber,
  type EncodedAttribute,
  lifetime,
  mobilityTicket,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { type ServerOptions, TokenBucketMeter } from "@turnpike/turn";
import { expect, test } from "vitest";
import { EngineHarness } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const PEER = transportAddress("8.8.8.8", 5000);

/** What the engine tells a faster path in an allocation's whole life. */
function told(options: Partial<ServerOptions>, attributes: readonly EncodedAttribute[] = []): readonly string[] {
  const harness = new EngineHarness({ mobility: true, ...options });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  const transport = attribute(requestedTransport, 17);
  harness.fromClient(CLIENT, client.plain("allocate", [transport]));
  client.learn(harness.answer());
  harness.fromClient(CLIENT, client.signed("allocate", [transport, ...attributes]));
  expect(outcomeOf(harness.answer())).toBe("success");
  const kinds: string[] = [];
  const send = (method: "channelBind" | "refresh", ...more: readonly EncodedAttribute[]): void => {
    harness.fromClient(CLIENT, client.signed(method, more));
    kinds.push(...harness.takeKinds().filter((kind) => kind.startsWith("channel") && kind.endsWith("ound")));
  };
  send("channelBind", attribute(channelNumber, 0x4001), attribute(xorPeerAddress, PEER));
  send("refresh", attribute(lifetime, 0));
  return kinds;
}

test("a channel is offered to a faster path until its allocation ends", () => {
  const kinds = told({});
  expect(kinds).toContain("channelBound");
  expect(kinds.at(-1)).toBe("channelUnbound");
});

test("a channel whose packets are metered is not", () => {
  expect(told({ metersFor: () => [new TokenBucketMeter({ bytesPerSecond: 1e6 })] })).toEqual([]);
});

test("a channel of a client that may move is not (RFC 8016)", () => {
  expect(told({}, [attribute(mobilityTicket, new Uint8Array(0))])).toEqual([]);
});

test("a channel comes back when its allocation is metered, and may leave again when it no longer is", () => {
  const harness = new EngineHarness({
    admission: true,
    metersFor: ({ limits }) => limits?.allocation && [new TokenBucketMeter(limits.allocation)],
  });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  const transport = attribute(requestedTransport, 17);
  harness.fromClient(CLIENT, client.plain("allocate", [transport]));
  client.learn(harness.answer());
  harness.fromClient(CLIENT, client.signed("allocate", [transport]));
  const questionId = harness.take().find((output) => output.kind === "admit")?.questionId ?? -1;
  harness.server.handleAnswer({ kind: "admission", questionId, admitted: true }, harness.clock);
  harness.drain();
  const bind = client.signed("channelBind", [attribute(channelNumber, 0x4001), attribute(xorPeerAddress, PEER)]);
  harness.fromClient(CLIENT, bind);
  const change = (bytesPerSecond?: number): readonly string[] => {
    harness.take();
    const limits = bytesPerSecond === undefined ? undefined : { allocation: { bytesPerSecond } };
    harness.server.changeAllocationLimits([{ questionId, limits }]);
    harness.drain();
    return harness.takeKinds();
  };
  expect(change(1e6)).toEqual(["channelUnbound"]);
  expect(change(2e6)).toEqual([]);
  expect(change()).toEqual(["channelBound"]);
  // A permission that has ended takes the channel with it.
  harness.advance(300_000);
  expect(change(1e6)).toEqual([]);
  expect(change()).toEqual([]);
});
