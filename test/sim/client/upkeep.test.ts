import { attribute, encodeMessage, icmp, transportAddress, xorPeerAddress } from "@turnpike/stun";
import { createPeerPolicy } from "@turnpike/turn";
import { describe, expect, test } from "vitest";
import { EngineHarness } from "../support/engine-harness.ts";
import { SimNetwork, type SimClient } from "../support/sim-network.ts";
import { stunOf } from "../support/stun-client.ts";

const HOME = transportAddress("198.51.100.7", 40_000);
const AWAY = transportAddress("203.0.113.9", 50_000);
const PEER = transportAddress("8.8.8.8", 5000);
const OTHER = transportAddress("9.9.9.9", 6000);
const PAYLOAD = Uint8Array.of(1, 2, 3, 4, 5);
const MINUTE = 60_000;

function allocated(
  options: ConstructorParameters<typeof EngineHarness>[0] = {},
  demands: Parameters<SimClient["engine"]["allocate"]>[0] = {},
): { network: SimNetwork; client: SimClient } {
  const network = new SimNetwork(new EngineHarness(options));
  const client = network.client(HOME, { keepaliveMs: 0 });
  const ending = network.finish(client, (engine) => engine.allocate(demands, network.harness.clock));
  expect(ending.method).toBe("allocate");
  return { network, client };
}

/** Methods of the requests that the client sent after `fromMs`, and when. */
function requestsAfter(network: SimNetwork, fromMs: number): [string | undefined, number][] {
  return network.sent
    .filter(({ from, atMs }) => from === "client" && atMs >= fromMs)
    .map(({ bytes, atMs }) => [stunOf(bytes).methodName, Math.round((atMs - fromMs) / 1000)]);
}

describe("data", () => {
  test("by indications first, by the channel once it is bound", () => {
    const { network, client } = allocated();
    network.finish(client, (engine) => engine.permit([PEER], network.harness.clock));
    network.send(client, PEER, PAYLOAD);
    network.advance(100);
    network.fromPeer(0, PEER, PAYLOAD);
    network.advance(100);
    const bound = network.finish(client, (engine) => engine.bindChannel(PEER, network.harness.clock));
    expect(bound).toEqual({ method: "bindChannel", channel: 0x4000 });
    network.send(client, PEER, PAYLOAD);
    network.advance(100);
    network.fromPeer(0, PEER, PAYLOAD);
    network.advance(100);
    expect(network.atPeers.map(({ peer, bytes }) => [peer, bytes])).toEqual([
      [PEER, PAYLOAD],
      [PEER, PAYLOAD],
    ]);
    expect(client.received).toEqual([
      { peer: PEER, bytes: PAYLOAD, channel: 0 },
      { peer: PEER, bytes: PAYLOAD, channel: 0x4000 },
    ]);
    expect(network.sent.filter(({ from }) => from === "client").at(-1)!.bytes.length).toBe(4 + PAYLOAD.length);
  });

  test("from an address without a permission it is dropped (RFC 8656 §11.4), and by a channel that nobody bound", () => {
    const { network, client } = allocated();
    const data = encodeMessage({
      class: "indication",
      method: "data",
      transactionId: new Uint8Array(12),
      attributes: [attribute(xorPeerAddress, PEER), { type: 0x0013, encode: () => PAYLOAD }],
    });
    const { engine } = client;
    expect(engine.handlePacket(data, 0, data.length, network.harness.clock)).toBe(0);
    const channelData = Uint8Array.of(0x40, 0, 0, 1, 9);
    expect(engine.handlePacket(channelData, 0, 5, network.harness.clock)).toBe(0);
    network.finish(client, (each) => each.permit([PEER], network.harness.clock));
    expect(engine.handlePacket(data, 0, data.length, network.harness.clock)).toBe(1);
  });

  test("nothing can be sent without an allocation", () => {
    const network = new SimNetwork(new EngineHarness());
    const client = network.client(HOME);
    expect(client.engine.encodeDatagram(PEER, PAYLOAD, network.harness.clock)).toBeUndefined();
    const ending = network.finish(client, (engine) => engine.permit([PEER], network.harness.clock));
    expect(ending).toEqual({ method: "failed", failure: { code: "noAllocation" } });
  });

  test("an ICMP report comes out as one", () => {
    const { network, client } = allocated();
    network.finish(client, (engine) => engine.permit([PEER], network.harness.clock));
    const report = encodeMessage({
      class: "indication",
      method: "data",
      transactionId: new Uint8Array(12),
      attributes: [attribute(xorPeerAddress, PEER), attribute(icmp, { icmpType: 3, icmpCode: 4, errorData: 1400 })],
    });
    network.act(client, (engine) => engine.handlePacket(report, 0, report.length, network.harness.clock));
    expect(client.notices).toEqual([{ kind: "icmp", peer: PEER, icmp: { icmpType: 3, icmpCode: 4, errorData: 1400 } }]);
  });
});

describe("upkeep", () => {
  test("an hour: allocation and channel every 450 s, the permission between them, and nothing else", () => {
    const { network, client } = allocated();
    network.finish(client, (engine) => engine.bindChannel(PEER, network.harness.clock));
    const startMs = network.nowMs;
    network.advance(15 * MINUTE);
    const sent = requestsAfter(network, startMs);
    expect(sent.filter(([method]) => method === "refresh").map(([, at]) => at)).toEqual([450, 900]);
    expect(sent.filter(([method]) => method === "channelBind").map(([, at]) => at)).toEqual([450, 900]);
    const permits = sent.filter(([method]) => method === "createPermission").map(([, at]) => at);
    // The one at 675 s meets a nonce that has become stale.
    expect(permits).toEqual([225, 450, 675, 675]);
    expect(sent.length).toBe(8);
    network.advance(45 * MINUTE);
    expect(network.harness.server.allocationCount).toBe(1);
    expect(client.notices.every(({ kind }) => kind === "refreshed")).toBe(true);
    network.send(client, PEER, PAYLOAD);
    network.advance(100);
    expect(network.atPeers.length).toBe(1);
  });

  test("many permissions go together", () => {
    const { network, client } = allocated();
    for (let i = 1; i <= 20; i++) {
      network.finish(client, (engine) => engine.permit([transportAddress(`8.8.4.${i}`, 0)], network.harness.clock));
    }
    const startMs = network.nowMs;
    network.advance(240_000);
    expect(requestsAfter(network, startMs).map(([method]) => method)).toEqual(["createPermission"]);
  });

  test("what is forgotten runs out", () => {
    const { network, client } = allocated();
    network.finish(client, (engine) => engine.permit([PEER], network.harness.clock));
    network.finish(client, (engine) => engine.bindChannel(OTHER, network.harness.clock));
    network.act(client, (engine) => {
      engine.forget(PEER);
      engine.forget(OTHER);
    });
    network.advance(11 * MINUTE);
    expect(client.engine.permittedPeers(network.harness.clock)).toEqual([]);
    expect(client.engine.boundChannels(network.harness.clock)).toEqual([]);
    expect(client.notices.every(({ kind }) => kind === "refreshed")).toBe(true);
    expect(network.serverOutputs.filter((o) => o.kind === "event" && o.event.type === "channelDeleted").length).toBe(1);
    // The number stays with its peer while both cool down (RFC 8656 §12).
    const again = network.finish(client, (engine) => engine.bindChannel(PEER, network.harness.clock));
    expect(again).toEqual({ method: "bindChannel", channel: 0x4001 });
  });

  test("a policy that changes its mind ends one permission of many, and says so", () => {
    let denied = false;
    const policy = createPeerPolicy();
    const decide: typeof policy.decide = (ip) => (denied && ip.w3 === OTHER.w3 ? "denied" : policy.decide(ip));
    const { network, client } = allocated({ peerPolicy: { ...policy, decide } });
    network.finish(client, (engine) => engine.permit([PEER, OTHER], network.harness.clock));
    denied = true;
    network.advance(6 * MINUTE);
    expect(client.notices.filter(({ kind }) => kind === "permissionLost")).toMatchObject([
      { peer: { w3: OTHER.w3 }, failure: { code: "refused", error: { code: 403 } } },
    ]);
    expect(client.engine.permittedPeers(network.harness.clock).map(({ w3 }) => w3)).toEqual([PEER.w3]);
  });

  test("a server that forgot the allocation ends it for the client too", () => {
    const { network, client } = allocated();
    network.finish(client, (engine) => engine.permit([PEER], network.harness.clock));
    network.harness.server.shutdown(network.harness.clock);
    network.advance(4 * MINUTE);
    expect(client.notices).toMatchObject([
      { kind: "allocationLost", failure: { code: "refused", error: { code: 437 } } },
    ]);
    expect(client.engine.pollTimeout()).toBeUndefined();
  });

  test("a server that is gone: the allocation is lost when it runs out, not before", () => {
    const { network, client } = allocated();
    network.drop = () => true;
    const startMs = network.nowMs;
    network.advance(9 * MINUTE);
    expect(client.engine.isAllocated).toBe(true);
    network.advance(MINUTE);
    expect(client.notices).toMatchObject([{ kind: "allocationLost", failure: { code: "timeout" } }]);
    const refreshes = requestsAfter(network, startMs).filter(([method]) => method === "refresh");
    expect(refreshes[0]).toEqual(["refresh", 450]);
    expect(refreshes.length).toBeGreaterThan(14);
    expect(client.engine.pollTimeout()).toBeUndefined();
  });

  test("the path through a NAT is kept open by Binding indications, but only in silence", () => {
    const network = new SimNetwork(new EngineHarness());
    const client = network.client(HOME, { keepaliveMs: 20_000 });
    network.finish(client, (engine) => engine.allocate({}, network.harness.clock));
    const startMs = network.nowMs;
    network.advance(10_000);
    network.send(client, PEER, PAYLOAD);
    network.advance(50_500);
    expect(requestsAfter(network, startMs)).toEqual([
      ["send", 10],
      ["binding", 30],
      ["binding", 50],
    ]);
  });

  test("a longer lifetime is asked for at every refresh", () => {
    const { network, client } = allocated({}, { lifetimeSeconds: 3600 });
    const startMs = network.nowMs;
    network.advance(60 * MINUTE);
    expect(requestsAfter(network, startMs).map(([, at]) => at)).toEqual([2700, 2700]);
    const refreshed = network.finish(client, (engine) => engine.refresh(1200, network.harness.clock));
    expect(refreshed).toEqual({ method: "refresh", lifetimeSeconds: 1200 });
  });
});

describe("the end", () => {
  test("close ends the allocation on both sides; a second one has nothing to end", () => {
    const { network, client } = allocated();
    const permit = network.act(client, (engine) => engine.permit([PEER], network.harness.clock));
    expect(network.finish(client, (engine) => engine.close(network.harness.clock))).toEqual({ method: "close" });
    expect(client.ending(permit)).toEqual({ method: "failed", failure: { code: "noAllocation" } });
    expect(network.harness.server.allocationCount).toBe(0);
    expect(client.engine.pollTimeout()).toBeUndefined();
    expect(network.finish(client, (engine) => engine.close(network.harness.clock)).method).toBe("failed");
  });

  test("a transport that breaks takes the allocation along, and every operation", () => {
    const { network, client } = allocated();
    const permit = network.act(client, (engine) => engine.permit([PEER], network.harness.clock));
    network.act(client, (engine) => engine.handleTransportFailed(network.harness.clock));
    expect(client.ending(permit)).toMatchObject({ failure: { code: "transportFailed" } });
    expect(client.notices).toMatchObject([{ kind: "allocationLost" }]);
    expect(client.engine.pollTimeout()).toBeUndefined();
  });

  test("an Allocate that was given up leaves nothing at the server", () => {
    const network = new SimNetwork(new EngineHarness());
    const client = network.client(HOME);
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    network.advance(16);
    expect(network.harness.server.allocationCount).toBe(1);
    network.act(client, (engine) => engine.abort(operation, network.harness.clock));
    expect(client.ending(operation)).toEqual({ method: "failed", failure: { code: "aborted" } });
    network.advance(1000);
    expect(network.harness.server.allocationCount).toBe(0);
    expect(client.engine.isAllocated).toBe(false);
  });

  test("too many operations at once are refused, not kept", () => {
    const network = new SimNetwork(new EngineHarness());
    const client = network.client(HOME, { maxOperations: 2 });
    network.drop = () => true;
    const operations = [1, 2, 3].map(() => network.act(client, (engine) => engine.binding(network.harness.clock)));
    expect(client.endings.get(operations[2]!)).toEqual({ method: "failed", failure: { code: "tooManyOperations" } });
    expect(client.endings.size).toBe(1);
  });
});

describe("mobility (RFC 8016)", () => {
  test("a client that moved keeps its allocation; what was under way waits for the move", () => {
    const { network, client } = allocated({ mobility: true }, { mobility: true });
    network.finish(client, (engine) => engine.bindChannel(PEER, network.harness.clock));
    client.address = AWAY;
    const moving = network.act(client, (engine) => engine.move(network.harness.clock));
    const permit = network.act(client, (engine) => engine.permit([OTHER], network.harness.clock));
    network.advance(200);
    expect(client.ending(moving)).toMatchObject({ method: "move" });
    expect(client.ending(permit)).toEqual({ method: "permit" });
    network.send(client, PEER, PAYLOAD);
    network.advance(100);
    network.fromPeer(0, PEER, PAYLOAD);
    network.advance(100);
    expect(network.atPeers.length).toBe(1);
    expect(client.received.length).toBe(1);
    client.address = HOME;
    expect(network.finish(client, (engine) => engine.move(network.harness.clock)).method).toBe("move");
  });

  test("it survives the loss of its transport", () => {
    const { network, client } = allocated({ mobility: true }, { mobility: true });
    network.act(client, (engine) => engine.handleTransportFailed(network.harness.clock));
    expect(client.engine.isAllocated).toBe(true);
    client.address = AWAY;
    expect(network.finish(client, (engine) => engine.move(network.harness.clock)).method).toBe("move");
  });

  test("where it is forbidden, the request says so; without a ticket nothing moves", () => {
    const network = new SimNetwork(new EngineHarness());
    const client = network.client(HOME);
    const ending = network.finish(client, (engine) => engine.allocate({ mobility: true }, network.harness.clock));
    expect(ending).toMatchObject({ failure: { code: "refused", error: { code: 405 } } });
    network.finish(client, (engine) => engine.allocate({}, network.harness.clock));
    expect(network.finish(client, (engine) => engine.move(network.harness.clock))).toEqual({
      method: "failed",
      failure: { code: "notMobile" },
    });
  });
});
