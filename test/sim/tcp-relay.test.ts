import {
  attribute,
  connectionId,
  evenPort,
  getAttribute,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER } from "./support/engine-harness.ts";
import { outcomeOf, StunClient, stunOf } from "./support/stun-client.ts";

const CONTROL = transportAddress("198.51.100.7", 40_000);
const DATA = transportAddress("198.51.100.7", 40_001);
const PEER = transportAddress("8.8.8.8", 5000);
const TCP = attribute(requestedTransport, 6);

function allocated(): { harness: EngineHarness; client: StunClient } {
  const harness = new EngineHarness({ tcpRelay: true });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(CONTROL, client.plain("allocate", [TCP]), TCP_LISTENER);
  client.learn(harness.answer());
  harness.fromClient(CONTROL, client.signed("allocate", [TCP]), TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe("success");
  return { harness, client };
}

/** Has the peer answer, and gives the id of the connection. */
function connected({ harness, client }: { harness: EngineHarness; client: StunClient }): number {
  harness.fromClient(CONTROL, client.signed("connect", [attribute(xorPeerAddress, PEER)]), TCP_LISTENER);
  const question = harness.take().find((output) => output.kind === "connectPeer");
  expect(question).toMatchObject({ socket: 0, peer: PEER });
  const questionId = question?.kind === "connectPeer" ? question.questionId : -1;
  harness.server.handleAnswer({ kind: "peerConnected", questionId, peerConnection: 7 }, harness.clock);
  harness.drain();
  const id = getAttribute(harness.answer(), connectionId);
  return id?.ok ? id.value : -1;
}

/** The data connection learns a nonce of its own: nonces belong to an address and port. */
function bind(harness: EngineHarness, client: StunClient, id: number): void {
  harness.fromClient(DATA, client.plain("connectionBind", [attribute(connectionId, id)]), TCP_LISTENER);
  client.learn(harness.answer());
  harness.fromClient(DATA, client.signed("connectionBind", [attribute(connectionId, id)]), TCP_LISTENER);
}

test("Connect, ConnectionBind, and the two connections are one", () => {
  const started = allocated();
  const { harness, client } = started;
  const id = connected(started);
  bind(harness, client, id);
  expect(harness.takeKinds()).toEqual(["authSucceeded", "connectionBound", "sendToClient", "bindDataConnection"]);
  harness.server.handlePeerConnectionClosed(7, harness.clock);
  harness.drain();
  const outputs = harness.take();
  expect(outputs.at(0)).toMatchObject({ kind: "event", event: { type: "connectionClosed", connectionId: id } });
  expect(outputs.slice(1)).toEqual([{ kind: "closeClient", listener: 2, connection: DATA.port }]);
});

test("a data connection may come with the nonce of its control connection, from the same address only", () => {
  const started = allocated();
  const { harness, client } = started;
  const id = connected(started);
  const bytes = client.signed("connectionBind", [attribute(connectionId, id)]);
  harness.fromClient(transportAddress("198.51.100.8", 40_001), bytes, TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe(438);
  harness.fromClient(DATA, client.signed("connectionBind", [attribute(connectionId, id + 1)]), TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe(438);
  harness.fromClient(DATA, bytes, TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe("success");
});

test("a data connection that closes takes its peer's along", () => {
  const started = allocated();
  bind(started.harness, started.client, connected(started));
  started.harness.take();
  started.harness.close(DATA, TCP_LISTENER);
  expect(started.harness.takeKinds()).toEqual(["connectionClosed", "closePeerConnection"]);
});

test("a second Connect to the same peer gets 446, a failed one 447, and then it may be tried again", () => {
  const { harness, client } = allocated();
  const connect = (): void => {
    harness.fromClient(CONTROL, client.signed("connect", [attribute(xorPeerAddress, PEER)]), TCP_LISTENER);
  };
  connect();
  const question = harness.take().find((output) => output.kind === "connectPeer");
  connect();
  expect(outcomeOf(harness.answer())).toBe(446);
  const questionId = question?.kind === "connectPeer" ? question.questionId : -1;
  harness.server.handleAnswer({ kind: "peerConnectFailed", questionId }, harness.clock);
  harness.drain();
  expect(outcomeOf(harness.answer())).toBe(447);
  connect();
  expect(harness.takeKinds()).toContain("connectPeer");
});

test("a peer that calls is announced if it has a permission, and closed at once if not", () => {
  const { harness, client } = allocated();
  harness.server.handlePeerConnection(0, PEER, 9, harness.clock);
  harness.drain();
  expect(harness.take()).toEqual([{ kind: "closePeerConnection", peerConnection: 9 }]);
  harness.fromClient(CONTROL, client.signed("createPermission", [attribute(xorPeerAddress, PEER)]), TCP_LISTENER);
  harness.take();
  harness.server.handlePeerConnection(0, PEER, 10, harness.clock);
  harness.drain();
  const sent = harness.take().find((output) => output.kind === "sendToClient");
  const indication = stunOf(sent?.kind === "sendToClient" ? sent.bytes : new Uint8Array());
  expect(indication.methodName).toBe("connectionAttempt");
  expect(getAttribute(indication, xorPeerAddress)).toEqual({ ok: true, value: PEER });
  harness.advance(30_000);
  expect(harness.takeKinds()).toEqual(["connectionClosed", "closePeerConnection"]);
});

test("another user's connection id opens nothing", () => {
  const started = allocated();
  const { harness } = started;
  const id = connected(started);
  const thief = new StunClient({ username: "bob", password: "builder" }, harness.random);
  bind(harness, thief, id);
  expect(outcomeOf(harness.answer())).toBe(441);
});

test("the policy is asked for Connect too", () => {
  const { harness, client } = allocated();
  const metadata = transportAddress("169.254.169.254", 80);
  harness.fromClient(CONTROL, client.signed("connect", [attribute(xorPeerAddress, metadata)]), TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe(403);
});

test("a TCP allocation needs a stream and takes neither EVEN-PORT nor channels", () => {
  const harness = new EngineHarness({ tcpRelay: true });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(CONTROL, client.plain("allocate", [TCP]));
  client.learn(harness.answer());
  harness.fromClient(CONTROL, client.signed("allocate", [TCP]));
  expect(outcomeOf(harness.answer())).toBe(400);
  harness.fromClient(CONTROL, client.signed("allocate", [TCP, attribute(evenPort, false)]), TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe(400);
});

test("without TCP relay sockets the transport gets 442", () => {
  const harness = new EngineHarness();
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(CONTROL, client.plain("allocate", [TCP]), TCP_LISTENER);
  client.learn(harness.answer());
  harness.fromClient(CONTROL, client.signed("allocate", [TCP]), TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe(442);
});

test("the control connection's end ends everything: peers, data connections, relay socket", () => {
  const started = allocated();
  const { harness, client } = started;
  bind(harness, client, connected(started));
  harness.take();
  harness.close(CONTROL, TCP_LISTENER);
  expect(harness.takeKinds()).toEqual([
    "connectionClosed",
    "closePeerConnection",
    "closeClient",
    "closeRelaySocket",
    "allocationDeleted",
  ]);
  expect(harness.server.pollTimeout()).toBeUndefined();
});

test("a client data connection is bound once: no second peer shares it, or is left behind when it closes", () => {
  const { harness, client } = allocated();
  const peers = [PEER, transportAddress("8.8.4.4", 5000)];
  harness.fromClient(
    CONTROL,
    client.signed(
      "createPermission",
      peers.map((peer) => attribute(xorPeerAddress, peer)),
    ),
    TCP_LISTENER,
  );
  harness.take();
  const ids = peers.map((peer, index) => {
    harness.server.handlePeerConnection(0, peer, 20 + index, harness.clock);
    harness.drain();
    const sent = harness.take().find((output) => output.kind === "sendToClient");
    const id = getAttribute(stunOf(sent?.kind === "sendToClient" ? sent.bytes : new Uint8Array()), connectionId);
    return id?.ok ? id.value : -1;
  });
  bind(harness, client, ids[0] ?? -1);
  harness.take();
  harness.fromClient(DATA, client.signed("connectionBind", [attribute(connectionId, ids[1] ?? -1)]), TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe(400);
  harness.close(DATA, TCP_LISTENER);
  expect(harness.take()).toContainEqual({ kind: "closePeerConnection", peerConnection: 20 });
});
