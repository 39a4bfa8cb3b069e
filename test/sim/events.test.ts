import { attribute, connectionId, getAttribute, lifetime, mobilityTicket, transportAddress } from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { TCP_LISTENER } from "./support/engine-harness.ts";
import { AWAY, CHANNEL, CLIENT, PEER, Scenario, TCP, TO_PEER, UDP } from "./support/scenario.ts";

const DATA = transportAddress("198.51.100.7", 40_001);

describe("the order of events", () => {
  test("of a session: made, used, refreshed, given back", () => {
    const scenario = new Scenario();
    expect(scenario.events()).toEqual([]);
    expect(scenario.send("allocate", UDP).events()).toEqual(["authSucceeded allocate", "allocationCreated"]);
    expect(scenario.send("createPermission", TO_PEER).events()).toEqual([
      "authSucceeded createPermission",
      "permissionCreated",
    ]);
    expect(scenario.send("channelBind", CHANNEL, TO_PEER).events()).toEqual([
      "authSucceeded channelBind",
      "permissionRefreshed",
      "channelCreated 16384",
    ]);
    expect(scenario.send("channelBind", CHANNEL, TO_PEER).events()).toEqual([
      "authSucceeded channelBind",
      "permissionRefreshed",
      "channelRefreshed 16384",
    ]);
    expect(scenario.send("refresh").events()).toEqual(["authSucceeded refresh", "allocationRefreshed"]);
    expect(scenario.send("refresh", attribute(lifetime, 0)).events()).toEqual([
      "authSucceeded refresh",
      "channelDeleted 16384",
      "permissionDeleted",
      "allocationDeleted 0-1 refreshedToZero",
    ]);
  });

  test("of a session that nobody ends: the permission, then the rest with the allocation", () => {
    const scenario = new Scenario();
    scenario.send("allocate", UDP).send("channelBind", CHANNEL, TO_PEER).events();
    scenario.harness.advance(300_000);
    expect(scenario.events()).toEqual(["permissionDeleted"]);
    scenario.harness.advance(300_000);
    expect(scenario.events()).toEqual(["channelDeleted 16384", "allocationDeleted 0-1 expired"]);
    expect(scenario.harness.server.pollTimeout()).toBeUndefined();
  });

  test("of a retransmission: nothing is made twice", () => {
    const scenario = new Scenario();
    const bytes = scenario.stun.signed("allocate", [UDP]);
    scenario.harness.fromClient(CLIENT, bytes);
    scenario.events();
    scenario.harness.fromClient(CLIENT, bytes);
    expect(scenario.events()).toEqual(["authSucceeded allocate"]);
  });

  test.each([
    ["a wrong password", { password: "wrong" }, ["authFailed allocate badCredentials"]],
    ["an unknown user", { username: "nobody" }, ["authFailed allocate unknownActor"]],
  ])("of %s", (_what, credentials, events) => {
    expect(new Scenario({}, credentials).send("allocate", UDP).events()).toEqual(events);
  });

  test("of a nonce that has grown old", () => {
    const scenario = new Scenario();
    scenario.harness.advance(601_000);
    expect(scenario.send("allocate", UDP).events()).toEqual(["authFailed allocate staleNonce"]);
  });

  test("of a refusal by admission, and of one by the machine", () => {
    const scenario = new Scenario({ admission: true });
    scenario.harness.answerSockets = false;
    scenario.send("allocate", UDP);
    const ask = (): number => {
      const found = scenario.harness
        .take()
        .find((output) => output.kind === "admit" || output.kind === "openRelaySocket");
      return found !== undefined && "questionId" in found ? found.questionId : -1;
    };
    const answer = (value: Parameters<typeof scenario.harness.server.handleAnswer>[0]): void => {
      scenario.harness.server.handleAnswer(value, scenario.harness.clock);
      scenario.harness.drain();
    };
    answer({ kind: "admission", questionId: ask(), admitted: false, code: 486 });
    expect(scenario.events()).toEqual(["allocationRefused 486"]);
    scenario.send("allocate", UDP);
    answer({ kind: "admission", questionId: ask(), admitted: true });
    answer({ kind: "relaySocketFailed", questionId: ask(), code: 508, reason: "full" });
    expect(scenario.events()).toEqual(["allocationRefused 508"]);
  });

  test("of admission: asked, committed with the allocation, released with it, each once", () => {
    const scenario = new Scenario({ admission: true });
    scenario.send("allocate", UDP);
    const asked = scenario.harness.take().find((output) => output.kind === "admit");
    const questionId = asked?.kind === "admit" ? asked.questionId : -1;
    scenario.harness.server.handleAnswer({ kind: "admission", questionId, admitted: true }, scenario.harness.clock);
    scenario.harness.drain();
    expect(scenario.harness.takeKinds()).toEqual(["commitAdmission", "allocationCreated", "sendToClient"]);
    scenario.send("refresh", attribute(lifetime, 0));
    expect(scenario.harness.takeKinds()).toEqual([
      "authSucceeded",
      "closeRelaySocket",
      "releaseAdmission",
      "allocationDeleted",
      "sendToClient",
    ]);
  });

  test.each([
    ["administrator", (s: Scenario) => s.harness.server.endAllocations(() => true, "administrator", s.harness.clock)],
    ["quota", (s: Scenario) => s.harness.server.endAllocations(() => true, "quota", s.harness.clock)],
    [
      "credentialRevoked",
      (s: Scenario) => s.harness.server.endAllocations(() => true, "credentialRevoked", s.harness.clock),
    ],
    ["relaySocketError", (s: Scenario) => s.harness.server.handleRelaySocketError(0, s.harness.clock)],
    ["shutdown", (s: Scenario) => s.harness.server.shutdown(s.harness.clock)],
  ] as const)("of an end by %s", (reason, end) => {
    const scenario = new Scenario();
    scenario.send("allocate", UDP).send("channelBind", CHANNEL, TO_PEER).events();
    end(scenario);
    scenario.harness.drain();
    expect(scenario.events()).toEqual(["channelDeleted 16384", "permissionDeleted", `allocationDeleted 0-1 ${reason}`]);
  });

  test("of a TCP allocation: connections are opened, bound and closed before their allocation goes", () => {
    const scenario = new Scenario({ tcpRelay: true }, { listener: TCP_LISTENER });
    scenario.send("allocate", TCP).send("connect", TO_PEER);
    const dial = scenario.harness.outputs.find((output) => output.kind === "connectPeer");
    const questionId = dial?.kind === "connectPeer" ? dial.questionId : -1;
    expect(scenario.events()).toEqual(["authSucceeded allocate", "allocationCreated", "authSucceeded connect"]);
    scenario.harness.server.handleAnswer(
      { kind: "peerConnected", questionId, peerConnection: 7 },
      scenario.harness.clock,
    );
    scenario.harness.drain();
    const sent = scenario.harness.outputs.find((output) => output.kind === "event");
    const id = sent?.event.type === "connectionOpened" ? sent.event.connectionId : -1;
    expect(scenario.events()).toEqual(["connectionOpened"]);
    const { harness, stun } = scenario;
    harness.fromClient(DATA, stun.plain("connectionBind", [attribute(connectionId, id)]), TCP_LISTENER);
    stun.learn(harness.answer());
    harness.fromClient(DATA, stun.signed("connectionBind", [attribute(connectionId, id)]), TCP_LISTENER);
    expect(scenario.events()).toEqual(["authSucceeded connectionBind", "connectionBound"]);
    harness.close(CLIENT, TCP_LISTENER);
    expect(scenario.events()).toEqual(["connectionClosed", "allocationDeleted 0-1 clientClosed"]);
  });

  test("of a client that moves: its allocation is the same, the five-tuple is the new one", () => {
    const scenario = new Scenario({ mobility: true });
    const { harness, stun } = scenario;
    harness.fromClient(CLIENT, stun.signed("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]));
    const ticket = getAttribute(harness.answer(), mobilityTicket);
    harness.fromClient(AWAY, stun.plain("refresh"));
    stun.learn(harness.answer());
    const bytes = ticket?.ok ? ticket.value : new Uint8Array(0);
    harness.fromClient(AWAY, stun.signed("refresh", [attribute(mobilityTicket, bytes)]));
    expect(scenario.events()).toEqual(["authSucceeded refresh", "allocationRefreshed"]);
    harness.advance(3_600_000);
    const ended = scenario.all().filter((event) => event.type === "allocationDeleted");
    expect(ended).toMatchObject([{ context: { allocationId: "0-1" }, reason: "expired" }]);
  });
});

describe("what events say", () => {
  test("suffices for an offload, billing and fail2ban", () => {
    const scenario = new Scenario({}, { listener: TCP_LISTENER });
    scenario.harness.fromClient(CLIENT, scenario.stun.signed("allocate", [UDP]), TCP_LISTENER);
    scenario.send("channelBind", CHANNEL, TO_PEER);
    const [auth, made, , permission, channel] = scenario.all();
    const context = {
      allocationId: "0-1",
      username: "alice",
      realm: "example.org",
      actor: "alice",
      scheme: "static",
      // The true transport, not what relay sockets speak.
      fiveTuple: { transport: "tcp", client: CLIENT, server: TCP_LISTENER.local },
      relayed: [transportAddress("192.0.2.1", 49_152)],
      atUnixMs: scenario.harness.clock.unixMs,
    };
    expect(auth).toEqual({
      type: "authSucceeded",
      method: "allocate",
      username: "alice",
      actor: "alice",
      scheme: "static",
      fiveTuple: context.fiveTuple,
      atUnixMs: context.atUnixMs,
    });
    expect(made).toEqual({
      type: "allocationCreated",
      context,
      lifetimeSeconds: 600,
      requestedPort: "any",
      families: [4],
    });
    expect(permission).toEqual({ type: "permissionCreated", context, peer: { ...PEER, port: 0 } });
    expect(channel).toEqual({
      type: "channelCreated",
      context,
      channel: 0x4000,
      peer: PEER,
      relayed: context.relayed[0],
    });
  });

  test("only those types are built that are wanted, from the moment that they are", () => {
    const wanted = new Set<string>();
    const scenario = new Scenario({ events: (type) => wanted.has(type) });
    expect(scenario.send("allocate", UDP).events()).toEqual([]);
    wanted.add("permissionCreated").add("allocationDeleted");
    expect(scenario.send("createPermission", TO_PEER).events()).toEqual(["permissionCreated"]);
    expect(scenario.send("refresh", attribute(lifetime, 0)).events()).toEqual([
      "allocationDeleted 0-1 refreshedToZero",
    ]);
  });
});

test("a request that is discarded gets no answer and no event, at once or later", () => {
  const scenario = new Scenario({
    authenticate: (request) => (request.method === "allocate" ? { kind: "discarded" } : { kind: "pending" }),
  });
  scenario.send("allocate", UDP).send("refresh");
  scenario.harness.server.handleAnswer(
    { kind: "authentication", questionId: 2, decision: { kind: "discarded" } },
    scenario.harness.clock,
  );
  scenario.harness.drain();
  expect(scenario.harness.take()).toEqual([]);
  expect(scenario.harness.server.pollTimeout()).toBeUndefined();
});
