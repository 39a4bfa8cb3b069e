import {
  attribute,
  channelNumber,
  data,
  encodeChannelData,
  getAttribute,
  getAttributes,
  lifetime,
  requestedTransport,
  transportAddress,
  xorMappedAddress,
  xorPeerAddress,
  xorRelayedAddress,
  type EncodedAttribute,
} from "@turnpike/stun";
import { expect, test } from "vitest";
import { EngineHarness, type Forwarded } from "./support/engine-harness.ts";
import { outcomeOf, StunClient, stunOf } from "./support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const PEER = transportAddress("8.8.8.8", 5000);
const UDP = attribute(requestedTransport, 17);
const PAYLOAD = new TextEncoder().encode("hello");

/** A client with its challenge learnt, and the harness it talks to. */
function begin(): { harness: EngineHarness; client: StunClient } {
  const harness = new EngineHarness();
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(CLIENT, client.plain("allocate", [UDP]));
  const challenge = harness.answer();
  expect(outcomeOf(challenge)).toBe(401);
  client.learn(challenge);
  return { harness, client };
}

function allocated(): { harness: EngineHarness; client: StunClient } {
  const started = begin();
  started.harness.fromClient(CLIENT, started.client.signed("allocate", [UDP]));
  expect(outcomeOf(started.harness.answer())).toBe("success");
  return started;
}

function request(
  { harness, client }: { harness: EngineHarness; client: StunClient },
  method: "refresh" | "createPermission" | "channelBind",
  ...attributes: readonly EncodedAttribute[]
): "success" | number {
  harness.fromClient(CLIENT, client.signed(method, attributes));
  return outcomeOf(harness.answer());
}

const bytesOf = (forwarded: Forwarded | undefined): number[] => [...(forwarded?.bytes ?? [])];

test("an allocation is made: challenge, request, socket, event, answer, in this order", () => {
  const { harness, client } = begin();
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  const outputs = harness.take();
  expect(outputs.map((output) => (output.kind === "event" ? output.event.type : output.kind))).toEqual([
    "authSucceeded",
    "allocationCreated",
    "sendToClient",
  ]);
  const answer = stunOf((outputs[2] as { bytes: Uint8Array }).bytes);
  expect(getAttribute(answer, xorRelayedAddress)).toEqual({ ok: true, value: transportAddress("192.0.2.1", 49_152) });
  expect(getAttribute(answer, xorMappedAddress)).toEqual({ ok: true, value: CLIENT });
  expect(getAttribute(answer, lifetime)).toEqual({ ok: true, value: 600 });
});

test("a retransmitted Allocate gets the same answer, and no second allocation", () => {
  const { harness, client } = begin();
  const bytes = client.signed("allocate", [UDP]);
  harness.fromClient(CLIENT, bytes);
  const first = harness.answer();
  harness.fromClient(CLIENT, bytes);
  expect(harness.answer().bytes).toEqual(first.bytes);
  expect(harness.server.allocationCount).toBe(1);
  expect(harness.sockets.size).toBe(1);
});

test("a second Allocate on the five-tuple gets 437", () => {
  const { harness, client } = allocated();
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  expect(outcomeOf(harness.answer())).toBe(437);
});

test("requests for an allocation that isn't there get 437, those with other credentials 441", () => {
  const before = begin();
  expect(request(before, "refresh")).toBe(437);
  const started = allocated();
  const other = new StunClient({ username: "bob", password: "builder" }, started.harness.random);
  other.realm = started.client.realm;
  other.nonce = started.client.nonce;
  expect(request({ harness: started.harness, client: other }, "refresh")).toBe(441);
});

test("Send and Data carry payloads both ways once there is a permission, and not before", () => {
  const started = allocated();
  const { harness, client } = started;
  const send = client.indication("send", [attribute(xorPeerAddress, PEER), attribute(data, PAYLOAD)]);
  expect(harness.fromClient(CLIENT, send)).toBeUndefined();
  expect(harness.fromPeer(0, PEER, PAYLOAD)).toBeUndefined();
  expect(request(started, "createPermission", attribute(xorPeerAddress, PEER))).toBe("success");
  const toPeer = harness.fromClient(CLIENT, send);
  expect(toPeer).toMatchObject({ verdict: "toPeer", socket: 0, destination: { ...PEER } });
  expect(bytesOf(toPeer)).toEqual([...PAYLOAD]);
  const toClient = harness.fromPeer(0, PEER, PAYLOAD);
  expect(toClient).toMatchObject({ verdict: "toClient", destination: { ...CLIENT } });
  const indication = stunOf(toClient?.bytes ?? new Uint8Array());
  expect([indication.class, indication.methodName]).toEqual(["indication", "data"]);
  expect(getAttribute(indication, data)).toEqual({ ok: true, value: PAYLOAD });
  expect(getAttribute(indication, xorPeerAddress)).toEqual({ ok: true, value: PEER });
});

test("a channel carries ChannelData both ways, for its peer's port only", () => {
  const started = allocated();
  const { harness } = started;
  expect(request(started, "channelBind", attribute(channelNumber, 0x4001), attribute(xorPeerAddress, PEER))).toBe(
    "success",
  );
  const message = encodeChannelData(0x4001, PAYLOAD, { padded: false });
  expect(bytesOf(harness.fromClient(CLIENT, message))).toEqual([...PAYLOAD]);
  expect(bytesOf(harness.fromPeer(0, PEER, PAYLOAD))).toEqual([...message]);
  const otherPort = harness.fromPeer(0, { ...PEER, port: 5001 }, PAYLOAD);
  expect(stunOf(otherPort?.bytes ?? new Uint8Array()).methodName).toBe("data");
});

test("permissions live 300 s, channels 600 s, and a channel without permission carries nothing", () => {
  const started = allocated();
  const { harness } = started;
  request(started, "refresh", attribute(lifetime, 3600));
  request(started, "channelBind", attribute(channelNumber, 0x4001), attribute(xorPeerAddress, PEER));
  const message = encodeChannelData(0x4001, PAYLOAD, { padded: false });
  harness.take();
  harness.advance(299_999);
  expect(harness.fromPeer(0, PEER, PAYLOAD)?.verdict).toBe("toClient");
  harness.advance(1);
  expect(harness.takeKinds()).toEqual(["channelUnbound", "permissionDeleted"]);
  expect(harness.fromPeer(0, PEER, PAYLOAD)).toBeUndefined();
  expect(harness.fromClient(CLIENT, message)).toBeUndefined();
  expect(request(started, "createPermission", attribute(xorPeerAddress, PEER))).toBe("success");
  expect(bytesOf(harness.fromPeer(0, PEER, PAYLOAD))).toEqual([...message]);
});

test("an expired channel cools down for 300 s, in which only its old peer may have it", () => {
  const started = allocated();
  const { harness, client } = started;
  const bind = (number: number, peer: typeof PEER): "success" | number =>
    request(started, "channelBind", attribute(channelNumber, number), attribute(xorPeerAddress, peer));
  request(started, "refresh", attribute(lifetime, 3600));
  expect(bind(0x4001, PEER)).toBe("success");
  harness.advance(600_000);
  harness.take();
  harness.fromClient(CLIENT, client.signed("refresh", [attribute(lifetime, 3600)]));
  client.learn(harness.answer());
  const other = transportAddress("8.8.4.4", 5000);
  expect(bind(0x4001, other)).toBe(400);
  expect(bind(0x4002, PEER)).toBe(400);
  harness.advance(300_000);
  harness.take();
  expect(bind(0x4001, other)).toBe("success");
  expect(bind(0x4002, PEER)).toBe("success");
});

test("lifetime 0 ends the allocation with its sockets; its retransmission gets 437", () => {
  const { harness, client } = allocated();
  const bytes = client.signed("refresh", [attribute(lifetime, 0)]);
  harness.fromClient(CLIENT, bytes);
  expect(harness.takeKinds()).toEqual(["authSucceeded", "closeRelaySocket", "allocationDeleted", "sendToClient"]);
  expect(harness.server.allocationCount).toBe(0);
  expect(harness.server.pollTimeout()).toBeUndefined();
  harness.fromClient(CLIENT, bytes);
  expect(outcomeOf(harness.answer())).toBe(437);
});

test("an allocation that isn't refreshed ends after its lifetime, and nothing is left", () => {
  const started = allocated();
  const { harness } = started;
  request(started, "channelBind", attribute(channelNumber, 0x4001), attribute(xorPeerAddress, PEER));
  harness.take();
  harness.advance(600_000);
  expect(harness.takeKinds().at(-1)).toBe("allocationDeleted");
  expect(harness.server.allocationCount).toBe(0);
  expect(harness.sockets.size).toBe(0);
  expect(harness.server.pollTimeout()).toBeUndefined();
});

test("CreatePermission takes several peers, or none of them", () => {
  const started = allocated();
  const { harness } = started;
  const many = ["8.8.8.8", "1.1.1.1", "10.0.0.1"].map((ip) => attribute(xorPeerAddress, transportAddress(ip, 1)));
  expect(request(started, "createPermission", ...many)).toBe(403);
  expect(harness.fromPeer(0, PEER, PAYLOAD)).toBeUndefined();
  expect(request(started, "createPermission", ...many.slice(0, 2))).toBe("success");
  expect(harness.fromPeer(0, PEER, PAYLOAD)?.verdict).toBe("toClient");
  expect(request(started, "createPermission")).toBe(400);
  expect(getAttributes(stunOf(started.client.signed("createPermission", many)), xorPeerAddress)).toHaveLength(3);
});
