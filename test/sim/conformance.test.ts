import {
  additionalAddressFamily,
  attribute,
  channelNumber,
  data,
  dontFragment,
  encodeChannelData,
  encodeMessage,
  evenPort,
  getAttribute,
  lifetime,
  rawAttribute,
  requestedAddressFamily,
  requestedTransport,
  reservationToken,
  transportAddress,
  xorMappedAddress,
  xorPeerAddress,
  type EncodedAttribute,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER, UDP_LISTENER } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const PEER4 = transportAddress("8.8.8.8", 5000);
const PEER6 = transportAddress("2606:4700::1111", 5000);
const UDP = attribute(requestedTransport, 17);
const PAYLOAD = Uint8Array.of(1, 2, 3);

function challenged(
  options: ConstructorParameters<typeof EngineHarness>[0] = {},
  listener = UDP_LISTENER,
): { harness: EngineHarness; client: StunClient; ask: Ask } {
  const harness = new EngineHarness(options);
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(CLIENT, client.plain("allocate", [UDP]), listener);
  client.learn(harness.answer());
  const ask: Ask = (method, ...attributes) => {
    harness.fromClient(CLIENT, client.signed(method, attributes), listener);
    return outcomeOf(harness.answer());
  };
  return { harness, client, ask };
}

type Ask = (
  method: "allocate" | "refresh" | "createPermission" | "channelBind",
  ...attributes: readonly EncodedAttribute[]
) => "success" | number;

test("Binding is answered with the reflexive address over UDP and TCP, with FINGERPRINT only if it had one", () => {
  const { harness, client } = challenged();
  for (const [listener, fingerprint] of [
    [UDP_LISTENER, false],
    [TCP_LISTENER, true],
  ] as const) {
    const bytes = client.plain("binding", [], fingerprint);
    harness.fromClient(CLIENT, bytes, listener);
    const answer = harness.answer();
    expect(getAttribute(answer, xorMappedAddress)).toEqual({ ok: true, value: CLIENT });
    expect(answer.hasFingerprint).toBe(fingerprint);
    expect([...answer.transactionId]).toEqual([...bytes.subarray(8, 20)]);
  }
});

test("comprehension-optional attributes that nobody knows are ignored, SOFTWARE isn't sent unless configured", () => {
  const { harness, client } = challenged();
  harness.fromClient(CLIENT, client.plain("binding", [rawAttribute(0xc0de, new Uint8Array(4))]));
  const answer = harness.answer();
  expect(answer.attributes.map(({ type }) => type)).toEqual([0x0020]);
  const named = challenged({ software: "Turnpike" });
  named.harness.fromClient(CLIENT, named.client.plain("binding"));
  expect(named.harness.answer().attributes.map(({ type }) => type)).toContain(0x8022);
});

test("indications and answers get no answer, whatever they are", () => {
  const { harness, client } = challenged();
  for (const method of ["binding", "send", "data", "allocate"] as const) {
    harness.fromClient(CLIENT, client.indication(method, []));
  }
  for (const answerClass of ["success", "error"] as const) {
    const bytes = encodeMessage({
      class: answerClass,
      method: "binding",
      transactionId: harness.random.bytes(12),
      attributes: [],
    });
    harness.fromClient(CLIENT, bytes);
  }
  expect(harness.take()).toEqual([]);
});

test("Allocate: REQUESTED-TRANSPORT missing or malformed 400, unknown 442", () => {
  const { ask } = challenged();
  expect(ask("allocate")).toBe(400);
  expect(ask("allocate", rawAttribute(0x0019, Uint8Array.of(17)))).toBe(400);
  expect(ask("allocate", attribute(requestedTransport, 132))).toBe(442);
});

test("Allocate: combinations that exclude each other get 400, families that can't be had 440", () => {
  const { ask } = challenged();
  const token = attribute(reservationToken, new Uint8Array(8));
  expect(ask("allocate", UDP, token, attribute(evenPort, true))).toBe(400);
  expect(ask("allocate", UDP, token, attribute(requestedAddressFamily, 4))).toBe(400);
  expect(ask("allocate", UDP, token, attribute(additionalAddressFamily, 6))).toBe(400);
  expect(ask("allocate", UDP, attribute(requestedAddressFamily, 4), attribute(additionalAddressFamily, 6))).toBe(400);
  expect(ask("allocate", UDP, attribute(additionalAddressFamily, 4))).toBe(400);
  expect(ask("allocate", UDP, attribute(additionalAddressFamily, 6), attribute(evenPort, true))).toBe(400);
  expect(ask("allocate", UDP, rawAttribute(0x0017, Uint8Array.of(3, 0, 0, 0)))).toBe(440);
  expect(ask("allocate", UDP, token)).toBe(508);
  const only6 = challenged({ families: [6] });
  expect(only6.ask("allocate", UDP)).toBe(440);
  expect(only6.ask("allocate", UDP, attribute(requestedAddressFamily, 6))).toBe("success");
});

test("peers of a family that the allocation hasn't get 443, by CreatePermission and ChannelBind", () => {
  const { ask } = challenged();
  expect(ask("allocate", UDP)).toBe("success");
  expect(ask("createPermission", attribute(xorPeerAddress, PEER6))).toBe(443);
  expect(ask("channelBind", attribute(channelNumber, 0x4000), attribute(xorPeerAddress, PEER6))).toBe(443);
  expect(ask("refresh", attribute(requestedAddressFamily, 6))).toBe(443);
});

test("deleting one family of a dual allocation leaves permissions and channels of the other", () => {
  const { harness, client, ask } = challenged();
  expect(ask("allocate", UDP, attribute(additionalAddressFamily, 6))).toBe("success");
  expect(ask("channelBind", attribute(channelNumber, 0x4004), attribute(xorPeerAddress, PEER4))).toBe("success");
  expect(ask("channelBind", attribute(channelNumber, 0x4006), attribute(xorPeerAddress, PEER6))).toBe("success");
  expect(ask("refresh", attribute(lifetime, 0), attribute(requestedAddressFamily, 4))).toBe("success");
  expect(harness.server.allocationCount).toBe(1);
  expect(harness.sockets.size).toBe(1);
  const through = (number: number): unknown =>
    harness.fromClient(CLIENT, encodeChannelData(number, PAYLOAD, { padded: false }))?.verdict;
  expect([through(0x4004), through(0x4006)]).toEqual([undefined, "toPeer"]);
  expect(harness.fromPeer(0, PEER4, PAYLOAD)).toBeUndefined();
  expect(client.realm).toBe("example.org");
  expect(ask("createPermission", attribute(xorPeerAddress, PEER4))).toBe(443);
  expect(ask("refresh", attribute(lifetime, 0))).toBe("success");
  expect(harness.server.allocationCount).toBe(0);
});

test("each family of a dual allocation has a lifetime of its own", () => {
  const { harness, ask } = challenged();
  expect(ask("allocate", UDP, attribute(additionalAddressFamily, 6))).toBe("success");
  expect(ask("refresh", attribute(lifetime, 1200), attribute(requestedAddressFamily, 6))).toBe("success");
  harness.advance(600_000);
  expect([...harness.sockets.values()].map(({ local }) => local.family)).toEqual([6]);
  harness.advance(600_000);
  expect(harness.sockets.size).toBe(0);
});

test("ChannelBind: what is missing, out of range or bound otherwise gets 400; the same again is a refresh", () => {
  const { ask } = challenged({ strictChannels: true });
  const peer = attribute(xorPeerAddress, PEER4);
  expect(ask("allocate", UDP)).toBe("success");
  expect(ask("channelBind", peer)).toBe(400);
  expect(ask("channelBind", attribute(channelNumber, 0x4000))).toBe(400);
  expect(ask("channelBind", attribute(channelNumber, 0x3fff), peer)).toBe(400);
  expect(ask("channelBind", attribute(channelNumber, 0x5000), peer)).toBe(400);
  expect(ask("channelBind", attribute(channelNumber, 0x4fff), peer)).toBe("success");
  expect(ask("channelBind", attribute(channelNumber, 0x4fff), peer)).toBe("success");
  expect(ask("channelBind", attribute(channelNumber, 0x4000), peer)).toBe(400);
  const other = attribute(xorPeerAddress, { ...PEER4, port: 1 });
  expect(ask("channelBind", attribute(channelNumber, 0x4fff), other)).toBe(400);
  expect(challenged().ask("allocate", UDP)).toBe("success");
});

test("channels 0x5000 to 0x7FFF are taken unless strict", () => {
  const { harness, ask } = challenged();
  expect(ask("allocate", UDP)).toBe("success");
  expect(ask("channelBind", attribute(channelNumber, 0x7ffe), attribute(xorPeerAddress, PEER4))).toBe("success");
  const bytes = encodeChannelData(0x7ffe, PAYLOAD, { padded: false });
  expect(harness.fromClient(CLIENT, bytes)?.verdict).toBe("toPeer");
});

test("data refreshes neither permission nor channel", () => {
  const { harness, ask } = challenged();
  ask("allocate", UDP, attribute(lifetime, 3600));
  ask("channelBind", attribute(channelNumber, 0x4000), attribute(xorPeerAddress, PEER4));
  const bytes = encodeChannelData(0x4000, PAYLOAD, { padded: false });
  harness.advance(299_000);
  expect(harness.fromClient(CLIENT, bytes)?.verdict).toBe("toPeer");
  expect(harness.fromPeer(0, PEER4, PAYLOAD)?.verdict).toBe("toClient");
  harness.advance(1000);
  expect(harness.fromClient(CLIENT, bytes)).toBeUndefined();
});

test("ChannelData: empty is sent on, too short is dropped, padding isn't, streams get padding with zeros", () => {
  const { harness, ask } = challenged({}, TCP_LISTENER);
  ask("allocate", UDP);
  ask("channelBind", attribute(channelNumber, 0x4000), attribute(xorPeerAddress, PEER4));
  const through = (...bytes: readonly number[]): unknown => {
    const forwarded = harness.fromClient(CLIENT, Uint8Array.from(bytes), TCP_LISTENER);
    return forwarded && [...forwarded.bytes];
  };
  expect(through(0x40, 0, 0, 0)).toEqual([]);
  expect(through(0x40, 0, 0, 5, 1, 2, 3, 4)).toBeUndefined();
  expect(through(0x40, 0, 0, 2, 1, 2, 0, 0)).toEqual([1, 2]);
  expect([...(harness.fromPeer(0, PEER4, PAYLOAD)?.bytes ?? [])]).toEqual([0x40, 0, 0, 3, 1, 2, 3, 0]);
});

test("Send without peer, without data or with DONT-FRAGMENT that can't be honoured is dropped, empty data isn't", () => {
  const { harness, client, ask } = challenged();
  ask("allocate", UDP);
  ask("createPermission", attribute(xorPeerAddress, PEER4));
  const peer = attribute(xorPeerAddress, PEER4);
  const send = (...attributes: readonly EncodedAttribute[]): unknown =>
    harness.fromClient(CLIENT, client.indication("send", attributes))?.verdict;
  expect(send(attribute(data, PAYLOAD))).toBeUndefined();
  expect(send(peer)).toBeUndefined();
  expect(send(peer, attribute(data, PAYLOAD), attribute(dontFragment, true))).toBeUndefined();
  expect(send(peer, attribute(data, new Uint8Array(0)))).toBe("toPeer");
});

test("DONT-FRAGMENT counts where both sides are of one family, and is ignored where they aren't", () => {
  const { harness, client, ask } = challenged({ dontFragment: true });
  ask("allocate", UDP, attribute(additionalAddressFamily, 6));
  ask("createPermission", attribute(xorPeerAddress, PEER4), attribute(xorPeerAddress, PEER6));
  const send = (peer: typeof PEER4): boolean => {
    harness.fromClient(
      CLIENT,
      client.indication("send", [
        attribute(xorPeerAddress, peer),
        attribute(data, PAYLOAD),
        attribute(dontFragment, true),
      ]),
    );
    return harness.server.forward.dontFragment;
  };
  expect([send(PEER4), send(PEER6)]).toEqual([true, false]);
});

test("truncated MESSAGE-INTEGRITY-SHA256 is refused unless configured, and never below 16 bytes", () => {
  const attempt = (options: ConstructorParameters<typeof EngineHarness>[0], length: number): "success" | number => {
    const { harness } = challenged(options);
    const client = new StunClient({ username: "alice", password: "wonderland", algorithm: "sha256" }, harness.random);
    harness.fromClient(CLIENT, client.plain("allocate", [UDP]));
    client.learn(harness.answer());
    harness.fromClient(CLIENT, truncated(client, harness, length));
    return outcomeOf(harness.answer());
  };
  expect(attempt({}, 32)).toBe("success");
  expect(attempt({}, 16)).toBe(401);
  expect(attempt({ minimumIntegrityBytes: 16 }, 16)).toBe("success");
  expect(attempt({ minimumIntegrityBytes: 20 }, 16)).toBe(401);
});

/** An Allocate with a shortened integrity attribute. */
function truncated(client: StunClient, harness: EngineHarness, bytes: number): Uint8Array {
  const signed = client.signed("allocate", [UDP]);
  const withoutIntegrity = signed.subarray(0, signed.length - 36);
  const shortened = new Uint8Array(withoutIntegrity.length + 4 + bytes);
  shortened.set(withoutIntegrity);
  const view = new DataView(shortened.buffer);
  view.setUint16(2, shortened.length - 20);
  view.setUint16(withoutIntegrity.length, 0x001c);
  view.setUint16(withoutIntegrity.length + 2, bytes);
  const covered = shortened.subarray(0, withoutIntegrity.length);
  shortened.set(nodeCrypto.hmac("sha256", client.key(), [covered]).subarray(0, bytes), withoutIntegrity.length + 4);
  expect(harness.server.allocationCount).toBe(0);
  return shortened;
}
