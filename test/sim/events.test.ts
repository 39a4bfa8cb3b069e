import {
  attribute,
  channelNumber,
  connectionId,
  getAttribute,
  lifetime,
  mobilityTicket,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import type { LifecycleEvent } from "@turnpike/turn";
import { describe, expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER, UDP_LISTENER } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const DATA = transportAddress("198.51.100.7", 40_001);
const AWAY = transportAddress("203.0.113.9", 50_000);
const PEER = transportAddress("8.8.8.8", 5000);
const TO_PEER = attribute(xorPeerAddress, PEER);
const UDP = attribute(requestedTransport, 17);
const TCP = attribute(requestedTransport, 6);
const CHANNEL = attribute(channelNumber, 0x4000);

/** One client of an engine, and what it made happen. */
class Scenario {
  readonly harness: EngineHarness;
  readonly stun: StunClient;
  readonly listener: typeof UDP_LISTENER;

  constructor(
    options: ConstructorParameters<typeof EngineHarness>[0] = {},
    { listener = UDP_LISTENER, username = "alice", password = "wonderland" } = {},
  ) {
    this.harness = new EngineHarness(options);
    this.stun = new StunClient({ username, password }, this.harness.random);
    this.listener = listener;
    this.harness.fromClient(CLIENT, this.stun.plain("allocate", [listener === TCP_LISTENER ? TCP : UDP]), listener);
    this.stun.learn(this.harness.answer());
  }

  send(method: Parameters<StunClient["signed"]>[0], ...attributes: Parameters<StunClient["signed"]>[1] & object): this {
    this.harness.fromClient(CLIENT, this.stun.signed(method, attributes), this.listener);
    return this;
  }

  /** The events since the last look, each in one line. */
  events(): string[] {
    return this.all().map((event) => line(event));
  }

  all(): LifecycleEvent[] {
    return this.harness.take().flatMap((output) => (output.kind === "event" ? [output.event] : []));
  }
}

function line(event: LifecycleEvent): string {
  switch (event.type) {
    case "authSucceeded":
      return `${event.type} ${event.method}`;
    case "authFailed":
      return `${event.type} ${event.method} ${event.reason}`;
    case "allocationRefused":
      return `${event.type} ${event.code}`;
    case "allocationDeleted":
      return `${event.type} ${event.context.allocationId} ${event.reason}`;
    case "channelCreated":
    case "channelRefreshed":
    case "channelDeleted":
      return `${event.type} ${event.channel}`;
    default:
      return event.type;
  }
}

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

describe("the gate", () => {
  test("is asked for each request before anything else, and for each challenge", () => {
    const asked = { request: 0, challenge: 0 };
    let open = true;
    const scenario = new Scenario({
      gate: {
        admitsRequest: () => (asked.request++, open),
        admitsChallenge: () => (asked.challenge++, open),
      },
    });
    expect(asked).toEqual({ request: 1, challenge: 1 });
    scenario.send("allocate", UDP);
    expect([asked, outcomeOf(scenario.harness.answer())]).toEqual([{ request: 2, challenge: 1 }, "success"]);
    open = false;
    scenario.harness.fromClient(CLIENT, scenario.stun.plain("binding"));
    scenario.send("refresh", attribute(lifetime, 0));
    expect(scenario.harness.take()).toEqual([]);
    expect(asked.request).toBe(4);
    // Indications are no requests: what is relayed is not held up.
    scenario.harness.fromClient(CLIENT, scenario.stun.indication("binding", []));
    expect(asked.request).toBe(4);
  });

  test("who is shut out gets silence to everything, and takes nothing from its neighbours; what it has made goes on", () => {
    let [shutOut, asked] = [false, 0];
    const scenario = new Scenario({
      gate: { isShutOut: () => shutOut, admitsRequest: () => (asked++, true), admitsChallenge: () => true },
    });
    scenario.send("allocate", UDP);
    scenario.harness.take();
    shutOut = true;
    asked = 0;
    for (const method of ["binding", "allocate", "refresh"] as const) {
      scenario.harness.fromClient(AWAY, scenario.stun.plain(method));
      scenario.harness.fromClient(AWAY, scenario.stun.signed(method, [UDP]));
    }
    expect([scenario.harness.take(), asked]).toEqual([[], 0]);
    // Another user's guesses behind the same address end nobody's call.
    scenario.send("createPermission", TO_PEER);
    expect(outcomeOf(scenario.harness.answer())).toBe("success");
    scenario.send("refresh", attribute(lifetime, 0));
    expect(outcomeOf(scenario.harness.answer())).toBe("success");
    scenario.send("allocate", UDP);
    expect(scenario.harness.take()).toEqual([]);
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

test("limits that change hold for what comes", () => {
  const scenario = new Scenario();
  scenario.send("allocate", UDP).send("createPermission", TO_PEER);
  scenario.harness.take();
  scenario.harness.server.setLimits({ maxPermissionsPerAllocation: 1, maxChannelsPerAllocation: 0 });
  scenario.send("createPermission", attribute(xorPeerAddress, transportAddress("1.1.1.1", 1)));
  expect(outcomeOf(scenario.harness.answer())).toBe(508);
  scenario.send("channelBind", CHANNEL, TO_PEER);
  expect(outcomeOf(scenario.harness.answer())).toBe(508);
  scenario.harness.server.setLimits({ maxPermissionsPerAllocation: 2, maxChannelsPerAllocation: 1 });
  scenario.send("channelBind", CHANNEL, TO_PEER);
  expect(outcomeOf(scenario.harness.answer())).toBe("success");
});

test("limits that make no sense change nothing", () => {
  const { server } = new EngineHarness();
  for (const limits of [
    { maxLifetimeSeconds: 0 },
    { maxPermissionsPerAllocation: 1.5 },
    { maxChannelsPerAllocation: -1 },
    { unauthenticatedBytesPerSecond: Number.NaN },
    { maxPendingAuthentications: Infinity },
  ]) {
    expect(() => server.setLimits(limits)).toThrow(Object.keys(limits)[0]);
  }
});

test("bytes for the unauthenticated are live", () => {
  const scenario = new Scenario();
  const answers = (): number => {
    for (let i = 0; i < 100; i++) scenario.harness.fromClient(AWAY, scenario.stun.plain("allocate"));
    return scenario.harness.take().filter(({ kind }) => kind === "sendToClient").length;
  };
  expect(answers()).toBe(100);
  scenario.harness.server.setLimits({ unauthenticatedBytesPerSecond: 0 });
  expect(answers()).toBe(0);
  scenario.harness.server.setLimits({ unauthenticatedBytesPerSecond: Infinity });
  expect(answers()).toBe(100);
});

test("case 19: ten thousand permissions and channels on one allocation end at the limit, and Refresh storms make nothing", () => {
  const scenario = new Scenario();
  scenario.send("allocate", UDP);
  const outcomes = { success: 0, refused: 0 };
  for (let i = 0; i < 10_000; i++) {
    const peer = transportAddress(`8.8.${i >> 8}.${i & 255}`, 5000);
    scenario.harness.take();
    scenario.send("channelBind", attribute(channelNumber, 0x4000 + i), attribute(xorPeerAddress, peer));
    outcomes[outcomeOf(scenario.harness.answer()) === "success" ? "success" : "refused"]++;
  }
  expect(outcomes).toEqual({ success: 1000, refused: 9000 });
  for (let i = 0; i < 1000; i++) scenario.send("refresh");
  const [described] = [...scenario.harness.server.describeAllocations(scenario.harness.clock)];
  expect(described).toMatchObject({ permissions: 1000, channels: 1000 });
});
