import {
  alternateDomain,
  alternateServer,
  attribute,
  encodeMessage,
  errorCode,
  getAttribute,
  hasAttribute,
  longTermKey,
  messageIntegrity,
  messageIntegritySha256,
  nonce,
  passwordAlgorithms,
  rawAttribute,
  realm,
  software,
  transportAddress,
  userhash,
  username,
  xorMappedAddress,
  type EncodedAttribute,
  type StunMessage,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER, UDP_LISTENER } from "../support/engine-harness.ts";
import { SimNetwork, type SimClient } from "../support/sim-network.ts";
import { stunOf } from "../support/stun-client.ts";

const HOME = transportAddress("198.51.100.7", 40_000);
const PEER = transportAddress("8.8.8.8", 5000);

function world(options: ConstructorParameters<typeof EngineHarness>[0] = {}): SimNetwork {
  return new SimNetwork(new EngineHarness(options));
}

/** Requests that the client sent, in order. */
function requests(network: SimNetwork): StunMessage[] {
  return network.sent.filter(({ from }) => from === "client").map(({ bytes }) => stunOf(bytes));
}

/** Hands a client an answer to the last request that it sent. */
function answer(
  network: SimNetwork,
  client: SimClient,
  kind: "success" | "error",
  attributes: readonly EncodedAttribute[],
): void {
  const last = requests(network).at(-1)!;
  const bytes = encodeMessage({
    class: kind,
    method: last.methodName!,
    transactionId: last.transactionId,
    attributes,
  });
  network.act(client, (engine) => engine.handlePacket(bytes, 0, bytes.length, network.harness.clock));
}

describe("retransmission (RFC 8489 §6.2.1)", () => {
  test("seven transmissions, each wait twice the one before, then 16 RTOs: 39.5 seconds", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const startMs = network.nowMs;
    const ending = network.finish(client, (engine) => engine.binding(network.harness.clock));
    expect(ending).toEqual({ method: "failed", failure: { code: "timeout", transmissions: 7 } });
    expect(network.sent.map(({ atMs }) => atMs - startMs)).toEqual([0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    expect(network.nowMs - startMs).toBe(39_500);
    expect(new Set(network.sent.map(({ bytes }) => Buffer.from(bytes).toString("hex"))).size).toBe(1);
    expect(client.engine.pollTimeout()).toBeUndefined();
  });

  test("the fourth one arrives: four were sent", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = ({ from }) => from === "client" && requests(network).length < 4;
    const startMs = network.nowMs;
    const ending = network.finish(client, (engine) => engine.binding(network.harness.clock));
    expect(ending).toEqual({ method: "binding", mapped: HOME });
    expect(network.nowMs - startMs).toBe(3510);
    network.advance(100_000);
    expect(requests(network).length).toBe(4);
  });

  test("a lost answer: the same request again, and the same allocation", () => {
    const network = world();
    const client = network.client(HOME, { keepaliveMs: 0 });
    let answers = 0;
    network.drop = ({ from }) => from === "server" && ++answers === 2;
    expect(network.finish(client, (engine) => engine.allocate({}, network.harness.clock)).method).toBe("allocate");
    expect(requests(network).length).toBe(3);
    expect(network.harness.server.allocationCount).toBe(1);
  });

  test("a stream: once, and 39.5 seconds", () => {
    const network = world();
    const client = network.client(HOME, { listener: TCP_LISTENER });
    network.drop = () => true;
    const startMs = network.nowMs;
    const ending = network.finish(client, (engine) => engine.binding(network.harness.clock));
    expect(ending).toEqual({ method: "failed", failure: { code: "timeout", transmissions: 1 } });
    expect(network.nowMs - startMs).toBe(39_500);
    expect(network.sent.length).toBe(1);
  });

  test("Rc, Rm, RTO and Ti can be set", () => {
    const network = world();
    const client = network.client(HOME, { initialRtoMs: 100, maxTransmissions: 3, lastWaitRtos: 4 });
    network.drop = () => true;
    const startMs = network.nowMs;
    network.finish(client, (engine) => engine.binding(network.harness.clock));
    expect(network.sent.map(({ atMs }) => atMs - startMs)).toEqual([0, 100, 300]);
    expect(network.nowMs - startMs).toBe(700);
  });
});

describe("credentials (RFC 8489 §9.2)", () => {
  test("the first request is bare; the second is signed with SHA-256, as it was offered", () => {
    const network = world();
    const client = network.client(HOME);
    const ending = network.finish(client, (engine) => engine.allocate({}, network.harness.clock));
    expect(ending).toMatchObject({
      method: "allocate",
      allocated: { mapped: HOME, lifetimeSeconds: 600, mobile: false, addressError: undefined },
    });
    const [bare, signed] = requests(network);
    expect(bare && hasAttribute(bare, username)).toBe(false);
    expect(signed && hasAttribute(signed, messageIntegritySha256)).toBe(true);
    expect(signed && hasAttribute(signed, messageIntegrity)).toBe(false);
    expect(signed && hasAttribute(signed, passwordAlgorithms)).toBe(true);
    expect(requests(network).length).toBe(2);
  });

  test("a server that hides names gets a USERHASH", () => {
    const network = world({ usernameAnonymity: true });
    const client = network.client(HOME);
    expect(network.finish(client, (engine) => engine.allocate({}, network.harness.clock)).method).toBe("allocate");
    const signed = requests(network)[1]!;
    expect([hasAttribute(signed, userhash), hasAttribute(signed, username)]).toEqual([true, false]);
  });

  test("a wrong password is told after one attempt", () => {
    const network = world();
    const credentials = { kind: "password", username: "alice", password: "wrong" } as const;
    const client = network.client(HOME, { credentials });
    const ending = network.finish(client, (engine) => engine.allocate({}, network.harness.clock));
    expect(ending).toEqual({ method: "failed", failure: { code: "unauthenticated", realm: "example.org" } });
    expect(requests(network).length).toBe(2);
  });

  test("without credentials the challenge is the answer, with the authorization server's name", () => {
    const network = world({ thirdPartyAuthorization: "auth.example" });
    const client = network.client(HOME, { anonymous: true });
    const ending = network.finish(client, (engine) => engine.allocate({}, network.harness.clock));
    expect(ending).toEqual({
      method: "failed",
      failure: { code: "credentialsRequired", realm: "example.org", thirdPartyAuthorization: "auth.example" },
    });
  });

  test("an access token signs with its own key (RFC 7635 §5)", () => {
    const macKey = new Uint8Array(32).fill(9);
    const network = world({
      thirdPartyAuthorization: "auth.example",
      authenticate: (request) =>
        request.username === "kid-1" && request.accessToken?.[0] === 7 && request.checkIntegrity(macKey)
          ? { kind: "authenticated", username: "kid-1", actor: "kid-1", scheme: "oauth", key: macKey }
          : { kind: "notRequested" },
    });
    const credentials = { kind: "accessToken", keyId: "kid-1", macKey, accessToken: Uint8Array.of(7, 8) } as const;
    const client = network.client(HOME, { credentials });
    expect(network.finish(client, (engine) => engine.allocate({}, network.harness.clock)).method).toBe("allocate");
  });

  test("a stale nonce is renewed in passing", () => {
    const network = world({ nonceLifetimeSeconds: 60 });
    const client = network.client(HOME, { keepaliveMs: 0 });
    network.finish(client, (engine) => engine.allocate({}, network.harness.clock));
    network.advance(61_000);
    const before = requests(network).length;
    expect(network.finish(client, (engine) => engine.permit([PEER], network.harness.clock)).method).toBe("permit");
    expect(requests(network).length - before).toBe(2);
  });

  test("challenge upon challenge ends", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    for (let round = 0; round < 10 && !client.endings.has(operation); round++) {
      answer(network, client, "error", [
        attribute(errorCode, { code: round === 0 ? 401 : 438, reason: "" }),
        attribute(realm, "example.org"),
        attribute(nonce, `nonce ${round}`),
      ]);
    }
    expect(client.ending(operation)).toEqual({ method: "failed", failure: { code: "tooManyChallenges" } });
    expect(requests(network).length).toBe(7);
  });

  const BIT_SET = "obMatJos2gAAAxyz";
  test("a nonce that promises PASSWORD-ALGORITHMS without them is a bid-down (§9.2.5)", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    answer(network, client, "error", [
      attribute(errorCode, { code: 401, reason: "" }),
      attribute(realm, "example.org"),
      attribute(nonce, BIT_SET),
    ]);
    expect(client.ending(operation)).toEqual({ method: "failed", failure: { code: "bidDown" } });
    expect(requests(network).length).toBe(1);
  });

  test("any other answer with such a nonce is ignored, and the request sent again", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const operation = network.act(client, (engine) => engine.binding(network.harness.clock));
    answer(network, client, "success", [attribute(xorMappedAddress, PEER), attribute(nonce, BIT_SET)]);
    expect(client.endings.has(operation)).toBe(false);
    network.advance(500);
    expect(requests(network).length).toBe(2);
  });

  test.each([
    ["an empty realm", attribute(realm, ""), attribute(passwordAlgorithms, [])],
    ["a realm with a control character", attribute(realm, "a\u0000b"), attribute(passwordAlgorithms, [])],
    [
      "algorithms that fill a message",
      attribute(realm, "x"),
      attribute(passwordAlgorithms, [{ algorithm: 2, parameters: new Uint8Array(60_000) }]),
    ],
  ])("a challenge with %s is useless, and harms nothing", (_name, badRealm, offers) => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    const error = attribute(errorCode, { code: 401, reason: "" });
    answer(network, client, "error", [error, badRealm, attribute(nonce, BIT_SET), offers]);
    expect(client.ending(operation)).toMatchObject({ failure: { code: "malformedResponse" } });
  });

  test("algorithms that nobody knows end it", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    answer(network, client, "error", [
      attribute(errorCode, { code: 401, reason: "" }),
      attribute(realm, "example.org"),
      attribute(nonce, BIT_SET),
      attribute(passwordAlgorithms, [{ algorithm: 99, parameters: new Uint8Array(0) }]),
    ]);
    expect(client.ending(operation)).toEqual({ method: "failed", failure: { code: "noPasswordAlgorithm" } });
  });

  /** A client whose challenge has been answered, and whose signed request was lost. */
  function signed(listener = UDP_LISTENER): { network: SimNetwork; client: SimClient; operation: number } {
    const network = world();
    const client = network.client(HOME, { listener });
    let answers = 0;
    network.drop = ({ from }) => from === "server" && ++answers > 1;
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    network.advance(20);
    expect(requests(network).length).toBe(2);
    return { network, client, operation };
  }
  const forged = [attribute(errorCode, { code: 437, reason: "Go\u001b away" })];

  test("over UDP a forged answer is as good as none; in the end the violation is told", () => {
    const { network, client, operation } = signed();
    answer(network, client, "error", forged);
    expect(client.endings.has(operation)).toBe(false);
    network.drop = () => true;
    network.advance(40_000);
    expect(requests(network).length).toBe(8);
    expect(client.ending(operation)).toEqual({
      method: "failed",
      failure: { code: "integrityViolated", unauthenticated: { code: 437, reason: "Go\u001b away" } },
    });
  });

  test("over a stream it ends the request at once", () => {
    const { network, client, operation } = signed(TCP_LISTENER);
    answer(network, client, "error", forged);
    expect(client.ending(operation)).toMatchObject({ failure: { code: "integrityViolated" } });
  });

  test("a 400 that nobody signed is no answer, not even over a stream", () => {
    const { network, client, operation } = signed(TCP_LISTENER);
    answer(network, client, "error", [attribute(errorCode, { code: 400, reason: "" })]);
    expect(client.endings.has(operation)).toBe(false);
  });

  test("an answer with SHA-1 to a request with SHA-256 proves nothing", () => {
    const { network, client, operation } = signed();
    const last = requests(network).at(-1)!;
    const credentials = { username: "alice", realm: "example.org", password: "wonderland" };
    const key = longTermKey({ algorithm: "sha256", ...credentials, crypto: nodeCrypto });
    const bytes = encodeMessage({
      class: "error",
      method: "allocate",
      transactionId: last.transactionId,
      attributes: forged,
      integrity: { algorithm: "sha1", key, crypto: nodeCrypto },
    });
    network.act(client, (engine) => engine.handlePacket(bytes, 0, bytes.length, network.harness.clock));
    expect(client.endings.has(operation)).toBe(false);
  });

  test("an attribute that must be understood and isn't makes an answer useless", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const operation = network.act(client, (engine) => engine.binding(network.harness.clock));
    answer(network, client, "success", [attribute(xorMappedAddress, PEER), rawAttribute(0x7f01, new Uint8Array(4))]);
    expect(client.ending(operation)).toMatchObject({ failure: { code: "malformedResponse" } });
  });

  test("passwords are in no output and no failure", () => {
    const network = world();
    const client = network.client(HOME);
    network.finish(client, (engine) => engine.allocate({}, network.harness.clock));
    const seen = JSON.stringify([...client.endings.values(), client.notices]) + JSON.stringify(client.engine);
    expect(seen).not.toContain("wonderland");
    expect(network.sent.some(({ bytes }) => Buffer.from(bytes).includes("wonderland"))).toBe(false);
  });
});

describe("redirects (RFC 8489 §10)", () => {
  const ELSEWHERE = transportAddress("203.0.113.50", 3478);
  const OTHER = transportAddress("203.0.113.51", 3478);
  const tryAlternate = (...servers: (typeof OTHER)[]): EncodedAttribute[] => [
    attribute(errorCode, { code: 300, reason: "Try Alternate" }),
    ...servers.map((server) => attribute(alternateServer, server)),
    attribute(alternateDomain, "b.example"),
  ];

  test("another server is asked with a bare request, and then not the first one again", () => {
    const network = world();
    const client = network.client(HOME, { server: OTHER });
    network.drop = () => true;
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    answer(network, client, "error", tryAlternate(ELSEWHERE, UDP_LISTENER.local));
    expect(client.notices).toEqual([
      { kind: "redirect", servers: [ELSEWHERE, UDP_LISTENER.local], domain: "b.example" },
    ]);
    network.act(client, (engine) => engine.handleRedirected(ELSEWHERE, network.harness.clock));
    expect(requests(network).length).toBe(2);
    answer(network, client, "error", tryAlternate(OTHER));
    expect(client.ending(operation)).toEqual({ method: "failed", failure: { code: "redirectLoop" } });
  });

  test("the server's policy sends the client on, signed; with the same credentials it gets in there", () => {
    const network = world({ admission: true });
    const client = network.client(HOME);
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    network.advance(100);
    const question = network.serverOutputs.find((output) => output.kind === "admit");
    const questionId = question?.kind === "admit" ? question.questionId : -1;
    network.harness.server.handleAnswer(
      { kind: "admission", questionId, admitted: false, code: 300, alternateServer: ELSEWHERE },
      network.harness.clock,
    );
    network.advance(10_000);
    expect(client.notices).toEqual([{ kind: "redirect", servers: [ELSEWHERE], domain: undefined }]);
    expect(client.endings.has(operation)).toBe(false);
    network.act(client, (engine) => engine.handleTransportFailed(network.harness.clock));
    expect(client.ending(operation)).toEqual({ method: "failed", failure: { code: "transportFailed" } });
  });

  test("a chain of servers ends", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const operation = network.act(client, (engine) => engine.allocate({}, network.harness.clock));
    for (let hop = 0; !client.endings.has(operation); hop++) {
      const next = transportAddress("203.0.113.60", 4000 + hop);
      answer(network, client, "error", tryAlternate(next));
      if (!client.endings.has(operation)) {
        network.act(client, (engine) => engine.handleRedirected(next, network.harness.clock));
      }
    }
    expect(requests(network).length).toBe(8);
  });
});

describe("what may be asked for (RFC 8656 §7.1)", () => {
  test("both families, an even port with its neighbour, and the neighbour for another client", () => {
    const network = world();
    const dual = network.client(HOME);
    const both = network.finish(dual, (engine) => engine.allocate({ families: [4, 6] }, network.harness.clock));
    expect(both.method === "allocate" && both.allocated.relayed.map(({ family }) => family)).toEqual([4, 6]);

    const first = network.client(transportAddress("198.51.100.8", 40_000));
    const pair = network.finish(first, (engine) => engine.allocate({ port: "evenPair" }, network.harness.clock));
    const allocated = pair.method === "allocate" ? pair.allocated : undefined;
    expect(allocated!.relayed[0]!.port % 2).toBe(0);
    const second = network.client(transportAddress("198.51.100.9", 40_000));
    const next = network.finish(second, (engine) =>
      engine.allocate({ reservationToken: allocated!.reservationToken! }, network.harness.clock),
    );
    expect(next.method === "allocate" && next.allocated.relayed[0]!.port).toBe(allocated!.relayed[0]!.port + 1);
  });

  test("IPv6 alone; a family that the server hasn't", () => {
    const network = world();
    const six = network.client(HOME);
    const ending = network.finish(six, (engine) => engine.allocate({ families: [6] }, network.harness.clock));
    expect(ending.method === "allocate" && ending.allocated.relayed.map(({ family }) => family)).toEqual([6]);
    const only4 = world({ families: [4] });
    const client = only4.client(HOME);
    expect(only4.finish(client, (engine) => engine.allocate({ families: [6] }, only4.harness.clock))).toMatchObject({
      method: "failed",
      failure: { code: "refused", error: { code: 440 } },
    });
  });

  test("DONT-FRAGMENT where it can't be honoured is refused by name", () => {
    const network = world();
    const client = network.client(HOME);
    expect(
      network.finish(client, (engine) => engine.allocate({ dontFragment: true }, network.harness.clock)),
    ).toMatchObject({ failure: { code: "refused", error: { code: 420 }, unknownAttributes: [0x001a] } });
  });

  test.each([
    ["a TCP allocation over UDP", { transport: "tcp" } as const],
    ["a token and a kind of port", { reservationToken: new Uint8Array(8), port: "even" } as const],
    ["two families and a second port", { families: [4, 6], port: "evenPair" } as const],
    ["no family at all", { families: [] } as const],
  ])("%s throws, and leaves nothing behind", (_name, demands) => {
    const network = world();
    const client = network.client(HOME);
    expect(() => client.engine.allocate(demands, network.harness.clock)).toThrow(TypeError);
    expect(client.engine.pollOutput()).toBeUndefined();
  });
});

test("SOFTWARE and FINGERPRINT are sent if wanted", () => {
  const network = world();
  const client = network.client(HOME, { software: "a client", fingerprint: true });
  network.finish(client, (engine) => engine.binding(network.harness.clock));
  const [request] = requests(network);
  expect(request && getAttribute(request, software)).toEqual({ ok: true, value: "a client" });
  expect(request?.hasFingerprint).toBe(true);
});
