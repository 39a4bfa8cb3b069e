import {
  attribute,
  encodeMessage,
  errorCode,
  hasAttribute,
  longTermKey,
  messageIntegrity,
  messageIntegritySha256,
  nonce,
  passwordAlgorithms,
  rawAttribute,
  realm,
  userhash,
  username,
  xorMappedAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";
import { answer, HOME, PEER, requests, world } from "../support/client-requests.ts";
import { TCP_LISTENER, UDP_LISTENER } from "../support/engine-harness.ts";
import type { SimClient, SimNetwork } from "../support/sim-network.ts";

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
