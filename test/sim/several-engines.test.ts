import {
  attribute,
  channelNumber,
  connectionId,
  data,
  encodeChannelData,
  evenPort,
  getAttribute,
  mobilityTicket,
  requestedTransport,
  reservationToken,
  transportAddress,
  xorPeerAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import { createPortRange, PortLeases, PortTable } from "@turnpike/relay";
import { expect, test } from "vitest";
import { EngineHarness, sourceOf, TCP_LISTENER, UDP_LISTENER } from "./support/engine-harness.ts";
import { SeededRandom } from "./support/random.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const FIRST = transportAddress("198.51.100.7", 40_000);
const SECOND = transportAddress("198.51.100.7", 40_002);
const PEER = transportAddress("8.8.8.8", 5000);
const UDP = attribute(requestedTransport, 17);
const PAYLOAD = Uint8Array.of(1, 2, 3);

/** Two engines of one relay: what is relay-wide is shared, what an engine owns isn't. */
function relayOfTwo(): readonly [EngineHarness, EngineHarness] {
  const options = { engines: 2, mobility: true, tcpRelay: true };
  const zero = new EngineHarness({ ...options, engine: 0 });
  return [zero, new EngineHarness({ ...options, engine: 1, beside: zero, seed: 2 })];
}

function client(harness: EngineHarness): StunClient {
  return new StunClient({ username: "alice", password: "wonderland" }, harness.random);
}

test("a nonce of one engine is good at any other", () => {
  const [zero, one] = relayOfTwo();
  const alice = client(zero);
  zero.fromClient(FIRST, alice.plain("allocate", [UDP]));
  alice.learn(zero.answer());
  one.fromClient(FIRST, alice.signed("allocate", [UDP]));
  expect(outcomeOf(one.answer())).toBe("success");
});

test("a reserved port is claimed at another engine, by another transport, and only once", () => {
  const [zero, one] = relayOfTwo();
  const alice = client(zero);
  zero.fromClient(FIRST, alice.plain("allocate", [UDP]));
  alice.learn(zero.answer());
  zero.fromClient(FIRST, alice.signed("allocate", [UDP, attribute(evenPort, true)]));
  const answer = zero.answer();
  const token = getAttribute(answer, reservationToken);
  const relayed = getAttribute(answer, xorRelayedAddress);
  const reserved = attribute(reservationToken, token?.ok ? token.value : new Uint8Array(8));

  one.fromClient(SECOND, alice.plain("allocate", [UDP]), TCP_LISTENER);
  alice.learn(one.answer());
  one.fromClient(SECOND, alice.signed("allocate", [UDP, reserved]), TCP_LISTENER);
  const claimed = getAttribute(one.answer(), xorRelayedAddress);
  expect(claimed?.ok && claimed.value.port).toBe((relayed?.ok ? relayed.value.port : 0) + 1);

  const third = transportAddress("198.51.100.7", 40_004);
  zero.fromClient(third, alice.plain("allocate", [UDP]));
  alice.learn(zero.answer());
  zero.fromClient(third, alice.signed("allocate", [UDP, reserved]));
  expect(outcomeOf(zero.answer())).toBe(508);
  // The engine that reserved it gives it up in its own time: the claimed port stays.
  zero.advance(40_000);
  expect(one.server.allocationCount).toBe(1);
});

test("a ChannelData message on a five-tuple of another engine goes nowhere", () => {
  const [zero, one] = relayOfTwo();
  const alice = client(zero);
  zero.fromClient(FIRST, alice.plain("allocate", [UDP]));
  alice.learn(zero.answer());
  zero.fromClient(FIRST, alice.signed("allocate", [UDP]));
  zero.answer();
  const bind = [attribute(channelNumber, 0x4000), attribute(xorPeerAddress, PEER)];
  zero.fromClient(FIRST, alice.signed("channelBind", bind));
  zero.take();
  const bytes = encodeChannelData(0x4000, PAYLOAD, { padded: false });
  expect(zero.fromClient(FIRST, bytes)?.verdict).toBe("toPeer");
  expect(one.fromClient(FIRST, bytes)).toBeUndefined();
});

test("two clients at two engines reach each other by their relayed addresses, under the default policy", () => {
  const [zero, one] = relayOfTwo();
  const join = (harness: EngineHarness, address: typeof FIRST): StunClient => {
    const alice = client(harness);
    harness.fromClient(address, alice.plain("allocate", [UDP]));
    alice.learn(harness.answer());
    harness.fromClient(address, alice.signed("allocate", [UDP]));
    harness.take();
    return alice;
  };
  const atZero = join(zero, FIRST);
  join(one, SECOND);
  const theirs = [...one.sockets.values()].find(({ socket }) => socket >= 1000)!.relayed;
  zero.fromClient(FIRST, atZero.signed("createPermission", [attribute(xorPeerAddress, theirs)]));
  expect(outcomeOf(zero.answer())).toBe("success");
  const send = atZero.indication("send", [attribute(xorPeerAddress, theirs), attribute(data, PAYLOAD)]);
  expect(zero.fromClient(FIRST, send)).toMatchObject({ verdict: "toPeer", destination: theirs });
  one.server.shutdown(one.clock);
  one.drain();
  expect(zero.fromClient(FIRST, send)).toBeUndefined();
});

test("a ConnectionBind at another engine is handed to the one that its CONNECTION-ID names", () => {
  const [zero, one] = relayOfTwo();
  const alice = client(zero);
  const tcp = attribute(requestedTransport, 6);
  zero.fromClient(FIRST, alice.plain("allocate", [tcp]), TCP_LISTENER);
  alice.learn(zero.answer());
  zero.fromClient(FIRST, alice.signed("allocate", [tcp]), TCP_LISTENER);
  zero.answer();
  zero.fromClient(FIRST, alice.signed("connect", [attribute(xorPeerAddress, PEER)]), TCP_LISTENER);
  const question = zero.take().find((output) => output.kind === "connectPeer");
  const questionId = question?.kind === "connectPeer" ? question.questionId : -1;
  zero.server.handleAnswer({ kind: "peerConnected", questionId, peerConnection: 5 }, zero.clock);
  zero.drain();
  const id = getAttribute(zero.answer(), connectionId);

  one.fromClient(SECOND, alice.plain("connectionBind"), TCP_LISTENER);
  alice.learn(one.answer());
  const bind = alice.signed("connectionBind", [attribute(connectionId, id?.ok ? id.value : 0)]);
  one.fromClient(SECOND, bind, TCP_LISTENER);
  const [handed] = one.take();
  expect(handed).toMatchObject({ kind: "handOver", engine: 0, connection: SECOND.port });
  zero.server.handleHandedOver(
    sourceOf(SECOND, TCP_LISTENER),
    handed?.kind === "handOver" ? handed.bytes : new Uint8Array(),
    zero.clock,
  );
  zero.drain();
  const kinds = zero.takeKinds();
  expect(kinds).toEqual(["authSucceeded", "connectionBound", "sendToClient", "bindDataConnection"]);
});

test("a client that moves to another engine's five-tuple is served by the owner, which asks for its packets", () => {
  const [zero, one] = relayOfTwo();
  const alice = client(zero);
  zero.fromClient(FIRST, alice.plain("allocate", [UDP]));
  alice.learn(zero.answer());
  zero.fromClient(FIRST, alice.signed("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]));
  const ticket = getAttribute(zero.answer(), mobilityTicket);
  one.fromClient(SECOND, alice.plain("refresh"));
  alice.learn(one.answer());
  one.fromClient(SECOND, alice.signed("refresh", [attribute(mobilityTicket, ticket?.ok ? ticket.value : PAYLOAD)]));
  const [handed] = one.take();
  zero.server.handleHandedOver(
    sourceOf(SECOND, UDP_LISTENER),
    handed?.kind === "handOver" ? handed.bytes : new Uint8Array(),
    zero.clock,
  );
  zero.drain();
  expect(zero.take()).toContainEqual({ kind: "adoptClient", listener: UDP_LISTENER.id, client: SECOND });
});

test("ports are leased in blocks: two reactors never get the same one, and together they get all of them", () => {
  const range = createPortRange({ min: 50_048, max: 50_303 });
  const shared = new PortTable({ range, spaces: 1 });
  const random = new SeededRandom(3);
  const leases = [0, 1].map(
    (reactor) =>
      new PortLeases({
        table: new PortTable({ range, spaces: 1, memory: shared.memory }),
        reactor,
        randomInteger: (below) => random.integer(below),
      }),
  );
  const taken = new Set<number>();
  for (let i = 0; i < 256; i++) {
    const port = leases[i % 2]!.take(0, "any", 0) ?? leases[(i + 1) % 2]!.take(0, "any", 0);
    expect(taken.has(port ?? -1)).toBe(false);
    taken.add(port ?? -1);
  }
  expect(taken.size).toBe(256);
  expect([leases[0]?.take(0, "any", 0), leases[1]?.take(0, "any", 0)]).toEqual([undefined, undefined]);
});
