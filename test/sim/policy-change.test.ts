import {
  attribute,
  channelNumber,
  connectionId,
  encodeChannelData,
  getAttribute,
  requestedTransport,
  type TransportAddress,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { createPeerPolicy, type PeerPolicyOptions } from "@turnpike/turn";
import fc from "fast-check";
import { expect, test } from "vitest";
import { EngineHarness, type Forwarded, TCP_LISTENER, UDP_LISTENER } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const DATA = transportAddress("198.51.100.7", 40_001);
const PEERS = ["8.8.8.8", "8.8.4.4", "10.0.0.9"].map((ip) => transportAddress(ip, 5000));
const PEER = transportAddress("8.8.8.8", 5000);
/** At the relay's own address, where no relayed transport address lives. */
const SERVICE = transportAddress("192.0.2.1", 53);
const PAYLOAD = new Uint8Array([1, 2, 3, 4]);

/** An allocation of a relay whose rules for peers change. */
class Ruled {
  #policy = createPeerPolicy();
  readonly harness: EngineHarness;
  readonly client: StunClient;
  readonly #listener;

  constructor(transport: "udp" | "tcp", rules: PeerPolicyOptions = {}) {
    this.#policy = createPeerPolicy(rules);
    this.#listener = transport === "udp" ? UDP_LISTENER : TCP_LISTENER;
    this.harness = new EngineHarness({
      tcpRelay: true,
      peerPolicy: { decide: (peer) => this.#policy.decide(peer) },
    });
    this.client = new StunClient({ username: "alice", password: "wonderland" }, this.harness.random);
    const wanted = [attribute(requestedTransport, transport === "udp" ? 17 : 6)];
    this.harness.fromClient(CLIENT, this.client.plain("allocate", wanted), this.#listener);
    this.client.learn(this.harness.answer());
    this.harness.fromClient(CLIENT, this.client.signed("allocate", wanted), this.#listener);
    expect(outcomeOf(this.harness.answer())).toBe("success");
  }

  /** What the engine makes of new rules: its outputs' kinds. */
  replace(rules: PeerPolicyOptions): readonly string[] {
    this.#policy = createPeerPolicy(rules);
    this.harness.take();
    this.harness.server.enforcePeerPolicy(this.harness.clock);
    this.harness.drain();
    return this.harness.takeKinds();
  }

  permits(peer: TransportAddress): boolean {
    return ["allowed", "global"].includes(this.#policy.decide(peer));
  }

  send(method: "createPermission" | "channelBind" | "connect", peer: TransportAddress, channel?: number): void {
    const named = channel === undefined ? [] : [attribute(channelNumber, channel)];
    const bytes = this.client.signed(method, [...named, attribute(xorPeerAddress, peer)]);
    this.harness.fromClient(CLIENT, bytes, this.#listener);
  }

  ask(...request: Parameters<Ruled["send"]>): "success" | number {
    this.send(...request);
    return outcomeOf(this.harness.answer());
  }

  byChannel(channel: number): Forwarded | undefined {
    const bytes = encodeChannelData(channel, PAYLOAD, { padded: false });
    return this.harness.fromClient(CLIENT, bytes, this.#listener);
  }

  fromPeer(peer: TransportAddress): Forwarded | undefined {
    return this.harness.fromPeer(0, peer, PAYLOAD);
  }
}

test("a peer that new rules deny loses its channel and its permission at once, others keep theirs", () => {
  const ruled = new Ruled("udp");
  const other = transportAddress("8.8.4.4", 5000);
  expect(ruled.ask("channelBind", PEER, 0x4001)).toBe("success");
  expect(ruled.ask("channelBind", other, 0x4002)).toBe("success");
  expect(ruled.replace({ deny: ["8.8.8.8"] })).toEqual(["channelUnbound", "channelDeleted", "permissionDeleted"]);
  expect(ruled.byChannel(0x4001)).toBeUndefined();
  expect(ruled.fromPeer(PEER)).toBeUndefined();
  expect(ruled.byChannel(0x4002)).toBeDefined();
  expect(ruled.fromPeer(other)).toBeDefined();
  expect(ruled.ask("channelBind", PEER, 0x4001)).toBe(403);
  // What was ended isn't ended again.
  expect(ruled.replace({ deny: ["8.8.8.8"] })).toEqual([]);
  expect(ruled.replace({})).toEqual([]);
  expect(ruled.byChannel(0x4001)).toBeUndefined();
  expect(ruled.ask("channelBind", PEER, 0x4001)).toBe("success");
  expect(ruled.byChannel(0x4001)).toBeDefined();
});

test("a channel whose permission had run out ends as well: no permission brings it back", () => {
  const ruled = new Ruled("udp");
  expect(ruled.ask("channelBind", PEER, 0x4001)).toBe("success");
  ruled.harness.advance(300_000);
  expect(ruled.replace({ deny: ["8.8.8.8"] })).toContain("channelDeleted");
  ruled.replace({});
  expect(ruled.ask("createPermission", PEER)).toBe("success");
  expect(ruled.byChannel(0x4001)).toBeUndefined();
});

test("the relay's own address, no longer allowed as a whole, is left to live relayed transport addresses", () => {
  const ruled = new Ruled("udp", { allow: ["192.0.2.1"] });
  const relayed = [...ruled.harness.sockets.values()][0]?.relayed;
  if (relayed === undefined) throw new Error("There is no relay socket");
  expect(ruled.ask("createPermission", SERVICE)).toBe("success");
  expect(ruled.fromPeer(SERVICE)).toBeDefined();
  expect(ruled.replace({})).toEqual([]);
  expect(ruled.fromPeer(SERVICE)).toBeUndefined();
  expect(ruled.fromPeer(relayed)).toBeDefined();
  ruled.replace({ allow: ["192.0.2.1"] });
  expect(ruled.fromPeer(SERVICE)).toBeDefined();
});

test("a TCP connection to a peer that new rules deny ends on both sides", () => {
  const ruled = new Ruled("tcp");
  const { harness, client } = ruled;
  ruled.send("connect", PEER);
  const question = harness.take().find((output) => output.kind === "connectPeer");
  const questionId = question?.questionId ?? -1;
  harness.server.handleAnswer({ kind: "peerConnected", questionId, peerConnection: 7 }, harness.clock);
  harness.drain();
  const id = getAttribute(harness.answer(), connectionId);
  const wanted = [attribute(connectionId, id?.ok ? id.value : -1)];
  harness.fromClient(DATA, client.signed("connectionBind", wanted), TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe("success");
  expect(ruled.replace({ deny: ["8.8.8.8"] })).toEqual(["connectionClosed", "closePeerConnection", "closeClient"]);
});

test("a Connect under way to a peer that new rules deny gets 403, and what is reached all the same is closed", () => {
  const ruled = new Ruled("tcp");
  const { harness } = ruled;
  ruled.send("connect", PEER);
  const question = harness.take().find((output) => output.kind === "connectPeer");
  const questionId = question?.questionId ?? -1;
  expect(ruled.replace({})).toEqual([]);
  expect(ruled.replace({ deny: ["8.8.8.8"] })).toEqual(["sendToClient"]);
  expect(ruled.replace({ deny: ["8.8.8.8"] })).toEqual([]);
  harness.server.handleAnswer({ kind: "peerConnected", questionId, peerConnection: 7 }, harness.clock);
  harness.drain();
  expect(harness.take()).toEqual([{ kind: "closePeerConnection", peerConnection: 7 }]);
});

test("of several Connects under way, those to denied peers alone get 403, each once", () => {
  const ruled = new Ruled("tcp");
  for (const ip of ["8.8.8.8", "8.8.8.9", "8.8.4.4"]) ruled.send("connect", transportAddress(ip, 5000));
  expect(ruled.replace({ deny: ["8.8.8.0/24"] })).toEqual(["sendToClient", "sendToClient"]);
  expect(ruled.replace({ deny: ["8.8.8.0/24"] })).toEqual([]);
  expect(ruled.replace({ deny: ["8.8.0.0/16"] })).toEqual(["sendToClient"]);
});

test("whatever rules follow each other, a peer is reached if it was permitted and not denied since", () => {
  const rules = fc.record({
    allow: fc.subarray(["10.0.0.0/8", "8.8.4.4"]),
    deny: fc.subarray(["8.8.8.8", "8.8.0.0/16", "10.0.0.9"]),
  });
  const peer = fc.integer({ min: 0, max: PEERS.length - 1 });
  const step = fc.oneof(fc.record({ rules }), fc.record({ bind: peer }), fc.record({ permit: peer }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const ruled = new Ruled("udp");
      const [permitted, bound] = [new Set<TransportAddress>(), new Set<TransportAddress>()];
      for (const each of steps) {
        if ("rules" in each) {
          ruled.replace(each.rules);
          for (const one of PEERS.filter((it) => !ruled.permits(it))) {
            permitted.delete(one);
            bound.delete(one);
          }
        } else {
          const index = "bind" in each ? each.bind : each.permit;
          const one = PEERS[index] ?? PEER;
          const outcome =
            "bind" in each ? ruled.ask("channelBind", one, 0x4000 + index) : ruled.ask("createPermission", one);
          expect(outcome).toBe(ruled.permits(one) ? "success" : 403);
          if (outcome === "success") permitted.add(one);
          if (outcome === "success" && "bind" in each) bound.add(one);
        }
        for (const [index, one] of PEERS.entries()) {
          expect(ruled.fromPeer(one) !== undefined).toBe(permitted.has(one));
          expect(ruled.byChannel(0x4000 + index) !== undefined).toBe(bound.has(one));
        }
      }
    }),
  );
});
