import { transportAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { ConnectionBinding } from "@turnpike/turn";
import { describe, expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER } from "../support/engine-harness.ts";
import { SimNetwork, type SimClient } from "../support/sim-network.ts";

const CONTROL = transportAddress("198.51.100.7", 40_000);
const DATA = transportAddress("198.51.100.7", 40_001);
const PEER = transportAddress("8.8.8.8", 5000);

function allocated(): { network: SimNetwork; client: SimClient } {
  const network = new SimNetwork(new EngineHarness({ tcpRelay: true }));
  const client = network.client(CONTROL, { listener: TCP_LISTENER });
  const ending = network.finish(client, (engine) => engine.allocate({ transport: "tcp" }, network.harness.clock));
  expect(ending.method).toBe("allocate");
  return { network, client };
}

/** Has the server reach the peer, and gives the connection's id. */
function connected({ network, client }: { network: SimNetwork; client: SimClient }): number {
  const operation = network.act(client, (engine) => engine.connect(PEER, network.harness.clock));
  network.advance(20);
  const question = network.serverOutputs.find((output) => output.kind === "connectPeer");
  const questionId = question?.kind === "connectPeer" ? question.questionId : -1;
  network.harness.server.handleAnswer({ kind: "peerConnected", questionId, peerConnection: 7 }, network.harness.clock);
  network.fromPeer(999, PEER, new Uint8Array(0));
  network.advance(20);
  const ending = client.ending(operation);
  return ending.method === "connect" ? ending.connectionId : -1;
}

function bindingOf({ network, client }: { network: SimNetwork; client: SimClient }, id: number): ConnectionBinding {
  return new ConnectionBinding(
    {
      client: client.engine,
      connectionId: id,
      crypto: nodeCrypto,
      random: (length) => network.harness.random.bytes(length),
    },
    network.harness.clock,
  );
}

/** Sends what the binding wants to send; the server's answers come back in one piece. */
function exchange(network: SimNetwork, binding: ConnectionBinding): Uint8Array {
  const answers: Uint8Array[] = [];
  for (let bytes = binding.pollOutput(); bytes !== undefined; bytes = binding.pollOutput()) {
    network.harness.fromClient(DATA, bytes, TCP_LISTENER);
    for (const output of network.harness.take()) {
      if (output.kind === "sendToClient") answers.push(output.bytes);
    }
  }
  return Buffer.concat(answers);
}

describe("TCP allocations (RFC 6062 §4.3)", () => {
  test("Connect and ConnectionBind; the first bytes of the peer come right behind the answer", () => {
    const world = allocated();
    const { network } = world;
    const binding = bindingOf(world, connected(world));
    const challenge = exchange(network, binding);
    // Byte by byte, as TCP may have it.
    for (const byte of challenge)
      expect(binding.handleBytes(Uint8Array.of(byte), network.harness.clock)).toEqual(new Uint8Array(0));
    const answer = exchange(network, binding);
    const rest = binding.handleBytes(Buffer.concat([answer, Buffer.from("SSH-2.0")]), network.harness.clock);
    expect(binding.state).toEqual({ kind: "bound" });
    expect(Buffer.from(rest).toString()).toBe("SSH-2.0");
    expect(binding.pollTimeout()).toBeUndefined();
  });

  test("an id that names nothing is refused; garbage and silence end it too", () => {
    const world = allocated();
    const { network } = world;
    const wrong = bindingOf(world, 12_345);
    wrong.handleBytes(exchange(network, wrong), network.harness.clock);
    wrong.handleBytes(exchange(network, wrong), network.harness.clock);
    expect(wrong.state).toMatchObject({ kind: "failed", failure: { code: "refused", error: { code: 400 } } });

    const garbage = bindingOf(world, 1);
    garbage.handleBytes(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n"), network.harness.clock);
    expect(garbage.state).toMatchObject({ kind: "failed", failure: { code: "malformedResponse" } });

    const silent = bindingOf(world, 1);
    network.advance(39_500);
    silent.handleTimeout(network.harness.clock);
    expect(silent.state).toEqual({ kind: "failed", failure: { code: "timeout", transmissions: 1 } });

    const closed = bindingOf(world, 1);
    closed.handleClosed(network.harness.clock);
    expect(closed.state).toEqual({ kind: "failed", failure: { code: "transportFailed" } });
  });

  test("a peer that calls is announced", () => {
    const { network, client } = allocated();
    network.finish(client, (engine) => engine.permit([PEER], network.harness.clock));
    network.harness.server.handlePeerConnection(0, PEER, 9, network.harness.clock);
    network.fromPeer(999, PEER, new Uint8Array(0));
    network.advance(20);
    expect(client.notices).toMatchObject([{ kind: "connectionAttempt", peer: PEER }]);
  });

  test("a peer that can't be reached is 447", () => {
    const { network, client } = allocated();
    const operation = network.act(client, (engine) => engine.connect(PEER, network.harness.clock));
    network.advance(20);
    const question = network.serverOutputs.find((output) => output.kind === "connectPeer");
    const questionId = question?.kind === "connectPeer" ? question.questionId : -1;
    network.harness.server.handleAnswer({ kind: "peerConnectFailed", questionId }, network.harness.clock);
    network.fromPeer(999, PEER, new Uint8Array(0));
    network.advance(20);
    expect(client.ending(operation)).toMatchObject({ failure: { code: "refused", error: { code: 447 } } });
  });
});
