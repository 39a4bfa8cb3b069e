import {
  attribute,
  channelNumber,
  encodeChannelData,
  getAttribute,
  mobilityTicket,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { TurnServer } from "@turnpike/turn";
import { expect, test } from "vitest";
import { EngineHarness, sourceOf, UDP_LISTENER } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const HOME = transportAddress("198.51.100.7", 40_000);
const AWAY = transportAddress("203.0.113.9", 50_000);
const PEER = transportAddress("8.8.8.8", 5000);
const UDP = attribute(requestedTransport, 17);
const PAYLOAD = Uint8Array.of(1, 2, 3, 4);
const CHANNEL_DATA = encodeChannelData(0x4001, PAYLOAD, { padded: false });

/** A mobile allocation with one channel, and its ticket. */
function mobile(harness = new EngineHarness({ mobility: true })): {
  harness: EngineHarness;
  client: StunClient;
  ticket: Uint8Array;
} {
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(HOME, client.plain("allocate", [UDP]));
  client.learn(harness.answer());
  harness.fromClient(HOME, client.signed("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]));
  const ticket = getAttribute(harness.answer(), mobilityTicket);
  harness.fromClient(
    HOME,
    client.signed("channelBind", [attribute(channelNumber, 0x4001), attribute(xorPeerAddress, PEER)]),
  );
  expect(outcomeOf(harness.answer())).toBe("success");
  return { harness, client, ticket: ticket?.ok ? ticket.value : new Uint8Array(0) };
}

function challengeAt(harness: EngineHarness, client: StunClient, address: typeof HOME): void {
  harness.fromClient(address, client.plain("refresh"));
  client.learn(harness.answer());
}

test("a client that moved keeps its allocation: the old address serves until data comes from the new one", () => {
  const { harness, client, ticket } = mobile();
  challengeAt(harness, client, AWAY);
  harness.fromClient(AWAY, client.signed("refresh", [attribute(mobilityTicket, ticket)]));
  const answer = harness.answer();
  expect(outcomeOf(answer)).toBe("success");
  const next = getAttribute(answer, mobilityTicket);
  expect(next?.ok && next.value).not.toEqual(ticket);
  expect(harness.fromPeer(0, PEER, PAYLOAD)?.destination).toMatchObject(HOME);
  expect(harness.fromClient(HOME, CHANNEL_DATA)?.verdict).toBe("toPeer");
  expect(harness.fromClient(AWAY, CHANNEL_DATA)?.verdict).toBe("toPeer");
  expect(harness.fromPeer(0, PEER, PAYLOAD)?.destination).toMatchObject(AWAY);
  expect(harness.fromClient(HOME, CHANNEL_DATA)).toBeUndefined();
});

test("a client that only listens has moved once it asks for something from its new address", () => {
  const { harness, client, ticket } = mobile();
  challengeAt(harness, client, AWAY);
  harness.fromClient(AWAY, client.signed("refresh", [attribute(mobilityTicket, ticket)]));
  expect(outcomeOf(harness.answer())).toBe("success");
  expect(harness.fromPeer(0, PEER, PAYLOAD)?.destination).toMatchObject(HOME);
  const thief = new StunClient({ username: "bob", password: "builder" }, harness.random);
  challengeAt(harness, thief, AWAY);
  harness.fromClient(AWAY, thief.signed("createPermission", [attribute(xorPeerAddress, PEER)]));
  expect(outcomeOf(harness.answer())).toBe(441);
  expect(harness.fromPeer(0, PEER, PAYLOAD)?.destination).toMatchObject(HOME);
  harness.fromClient(AWAY, client.signed("createPermission", [attribute(xorPeerAddress, PEER)]));
  expect(outcomeOf(harness.answer())).toBe("success");
  expect(harness.fromPeer(0, PEER, PAYLOAD)?.destination).toMatchObject(AWAY);
  expect(harness.fromClient(HOME, CHANNEL_DATA)).toBeUndefined();
});

test("a retransmitted move gets its answer again; a used ticket doesn't move anybody else", () => {
  const { harness, client, ticket } = mobile();
  challengeAt(harness, client, AWAY);
  const bytes = client.signed("refresh", [attribute(mobilityTicket, ticket)]);
  harness.fromClient(AWAY, bytes);
  const first = harness.answer();
  harness.fromClient(AWAY, bytes);
  expect(getAttribute(harness.answer(), mobilityTicket)).toEqual(getAttribute(first, mobilityTicket));
  const elsewhere = transportAddress("203.0.113.10", 50_001);
  challengeAt(harness, client, elsewhere);
  harness.fromClient(elsewhere, client.signed("refresh", [attribute(mobilityTicket, ticket)]));
  expect(outcomeOf(harness.answer())).toBe(400);
});

test("another user's ticket gets 441, a forged one 400, one's own address 400", () => {
  const { harness, client, ticket } = mobile();
  const thief = new StunClient({ username: "bob", password: "builder" }, harness.random);
  challengeAt(harness, thief, AWAY);
  harness.fromClient(AWAY, thief.signed("refresh", [attribute(mobilityTicket, ticket)]));
  expect(outcomeOf(harness.answer())).toBe(441);
  const forged = ticket.slice();
  forged[20]! ^= 1;
  harness.fromClient(AWAY, thief.signed("refresh", [attribute(mobilityTicket, forged)]));
  expect(outcomeOf(harness.answer())).toBe(400);
  challengeAt(harness, client, HOME);
  harness.fromClient(HOME, client.signed("refresh", [attribute(mobilityTicket, ticket)]));
  expect(outcomeOf(harness.answer())).toBe(400);
});

test("without mobility a ticket is refused with 405", () => {
  const harness = new EngineHarness();
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(HOME, client.plain("allocate", [UDP]));
  client.learn(harness.answer());
  harness.fromClient(HOME, client.signed("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]));
  expect(outcomeOf(harness.answer())).toBe(405);
});

test("a move that reaches another engine is handed to the owner, which asks for the client's packets", () => {
  const { harness, client, ticket } = mobile(new EngineHarness({ mobility: true, engine: 0, engines: 2 }));
  const other = new EngineHarness({ mobility: true, engine: 1, engines: 2 });
  challengeAt(other, client, AWAY);
  other.fromClient(AWAY, client.signed("refresh", [attribute(mobilityTicket, ticket)]));
  const [handed] = other.take();
  expect(handed).toMatchObject({ kind: "handOver", engine: 0, client: AWAY });
  expect(other.server).toBeInstanceOf(TurnServer);
  harness.server.handleHandedOver(
    sourceOf(AWAY, UDP_LISTENER),
    handed?.kind === "handOver" ? handed.bytes : new Uint8Array(),
    harness.clock,
  );
  harness.drain();
  const kinds = harness.takeKinds();
  expect(kinds).toEqual(["adoptClient", "authSucceeded", "allocationRefreshed", "sendToClient"]);
  expect(harness.fromClient(AWAY, CHANNEL_DATA)?.verdict).toBe("toPeer");
  harness.server.shutdown(harness.clock);
  harness.drain();
  expect(harness.takeKinds()).toContain("releaseClient");
});

test("a nonce that an allocation's client has proven goes stale in time, and is none at the client's next address", () => {
  const { harness, client, ticket } = mobile();
  const old = client.nonce;
  const permit = [attribute(xorPeerAddress, PEER)];
  const ask = (address: typeof HOME, nonce: string) => {
    harness.fromClient(address, client.signed("createPermission", permit, { nonce }));
    return outcomeOf(harness.answer());
  };
  expect([ask(HOME, old), ask(HOME, old)]).toEqual(["success", "success"]);
  challengeAt(harness, client, AWAY);
  harness.fromClient(AWAY, client.signed("refresh", [attribute(mobilityTicket, ticket)]));
  expect(outcomeOf(harness.answer())).toBe("success");
  expect([ask(AWAY, old), ask(AWAY, client.nonce), ask(AWAY, client.nonce)]).toEqual([438, "success", "success"]);
  expect(ask(AWAY, old)).toBe(438);
  const flipped = `${client.nonce.slice(0, -2)}${client.nonce.at(-2) === "A" ? "B" : "A"}${client.nonce.at(-1)}`;
  expect(ask(AWAY, flipped)).toBe(438);
  const minutes = 11;
  for (let minute = 0; minute < minutes; minute++) {
    const before = ask(AWAY, client.nonce);
    expect(before).toBe(minute < 10 ? "success" : 438);
    harness.advance(60_000);
    if (minute === 4) {
      harness.fromClient(AWAY, client.signed("refresh"));
      expect(outcomeOf(harness.answer())).toBe("success");
    }
  }
});
