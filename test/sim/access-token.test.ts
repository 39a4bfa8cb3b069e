import {
  accessToken,
  attribute,
  getAttribute,
  lifetime,
  longTermKey,
  mobilityTicket,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import type { AuthenticationRequest } from "@turnpike/turn";
import { expect, test } from "vitest";
import { EngineHarness } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const HOME = transportAddress("198.51.100.7", 40_000);
const AWAY = transportAddress("203.0.113.9", 50_000);
const UDP = attribute(requestedTransport, 17);
const PEER = attribute(xorPeerAddress, transportAddress("8.8.8.8", 5000));
const FIRST = token(1);
const SECOND = token(2);
const FOREIGN = token(3);

function token(id: number): ReturnType<typeof attribute> {
  return attribute(accessToken, Uint8Array.of(id));
}

/** Three tokens of one key id: each has its own session key and end, and the third is another actor's. */
function relay(): { harness: EngineHarness; client: StunClient } {
  const harness: EngineHarness = new EngineHarness({
    mobility: true,
    authenticate: (request: AuthenticationRequest) => {
      const { accessToken: given, realm, passwordAlgorithm } = request;
      const id = given?.[0];
      if (id === undefined) return { kind: "notRequested" };
      const key = longTermKey({
        algorithm: passwordAlgorithm,
        username: "kid",
        realm,
        password: `token ${id}`,
        crypto: nodeCrypto,
      });
      if (!request.checkIntegrity(key)) return { kind: "failed", reason: "badCredentials" };
      const expiresAtUnixMs = Date.UTC(2030, 0, 1) + id * 700_000;
      const actor = id === 3 ? "somebody else" : "kid";
      return {
        kind: "authenticated",
        username: "kid",
        actor,
        scheme: "oauth",
        key,
        expiresAtUnixMs,
        boundsLifetime: true,
      };
    },
  });
  const client = new StunClient({ username: "kid", password: "token 1" }, harness.random);
  learn(harness, client);
  return { harness, client };
}

function learn(harness: EngineHarness, client: StunClient, address = HOME): void {
  harness.fromClient(address, client.plain("refresh"));
  client.learn(harness.answer());
}

test("a new token refreshes the allocation of an old one and takes its place (RFC 7635 §9)", () => {
  const { harness, client } = relay();
  harness.fromClient(HOME, client.signed("allocate", [UDP, FIRST, attribute(lifetime, 3600)]));
  expect(getAttribute(harness.answer(), lifetime)).toMatchObject({ value: 700 });
  harness.advance(500_000);
  harness.take();
  learn(harness, client);
  harness.fromClient(HOME, client.signed("refresh", [SECOND, attribute(lifetime, 3600)], { password: "token 2" }));
  expect(getAttribute(harness.answer(), lifetime)).toMatchObject({ value: 900 });
  harness.fromClient(HOME, client.signed("createPermission", [PEER], { password: "token 2" }));
  expect(outcomeOf(harness.answer())).toBe("success");
  harness.fromClient(HOME, client.signed("createPermission", [PEER]));
  expect(outcomeOf(harness.answer())).toBe(401);
  harness.advance(899_000);
  expect(harness.server.allocationCount).toBe(1);
  harness.advance(2000);
  expect(harness.server.allocationCount).toBe(0);
});

test("a token of another key refreshes only what its issuer's tokens made (RFC 7635 §9, case 16)", () => {
  const harness: EngineHarness = new EngineHarness({
    mobility: true,
    authenticate: (request) => {
      const { realm, username: kid = "", accessToken: given } = request;
      if (given === undefined) return { kind: "notRequested" };
      const algorithm = request.passwordAlgorithm;
      const key = longTermKey({ algorithm, username: kid, realm, password: "token", crypto: nodeCrypto });
      if (!request.checkIntegrity(key)) return { kind: "failed", reason: "badCredentials" };
      const actor = kid === "foreign" ? "another issuer" : "issuer";
      const expiresAtUnixMs = Date.UTC(2030, 0, 1) + 700_000;
      return {
        kind: "authenticated",
        username: kid,
        actor,
        scheme: "oauth",
        key,
        expiresAtUnixMs,
        boundsLifetime: true,
      };
    },
  });
  const clientOf = (kid: string): StunClient => new StunClient({ username: kid, password: "token" }, harness.random);
  const [first, second, foreign] = [clientOf("old"), clientOf("new"), clientOf("foreign")];
  for (const client of [first, second, foreign]) learn(harness, client);
  harness.fromClient(HOME, first.signed("allocate", [UDP, FIRST, attribute(mobilityTicket, new Uint8Array(0))]));
  const ticket = getAttribute(harness.answer(), mobilityTicket);
  const outcome = (bytes: Uint8Array, address = HOME): string | number => {
    harness.fromClient(address, bytes);
    return outcomeOf(harness.answer());
  };
  expect(outcome(foreign.signed("refresh", [FOREIGN]))).toBe(441);
  // Whoever has a token may ask, but not with a ticket that was given to somebody else, and for nothing but a refresh.
  expect(outcome(second.signed("createPermission", [SECOND, PEER]))).toBe(441);
  learn(harness, second, AWAY);
  const stolen = attribute(mobilityTicket, ticket?.ok ? ticket.value : new Uint8Array(0));
  expect(outcome(second.signed("refresh", [SECOND, stolen]), AWAY)).toBe(441);
  learn(harness, second);
  expect(outcome(second.signed("refresh", [SECOND]))).toBe("success");
  expect(outcome(second.signed("createPermission", [PEER]))).toBe("success");
  expect(outcome(first.signed("createPermission", [PEER]))).toBe(401);
});

test("a token of another actor, a wrong one, and any for another's ticket refresh nothing (case 16)", () => {
  const { harness, client } = relay();
  harness.fromClient(HOME, client.signed("allocate", [UDP, FIRST, attribute(mobilityTicket, new Uint8Array(0))]));
  const ticket = getAttribute(harness.answer(), mobilityTicket);
  const refresh = (address: typeof HOME, ...attributes: ReturnType<typeof token>[]): string | number => {
    learn(harness, client, address);
    const password = attributes[0] === FOREIGN ? "token 3" : "token 2";
    harness.fromClient(address, client.signed("refresh", attributes, { password }));
    return outcomeOf(harness.answer());
  };
  expect(refresh(HOME, FOREIGN, attribute(lifetime, 0))).toBe(441);
  expect(refresh(HOME, FIRST, attribute(lifetime, 0))).toBe(401);
  expect(refresh(HOME, attribute(lifetime, 0))).toBe(401);
  expect(refresh(AWAY, SECOND, attribute(mobilityTicket, ticket?.ok ? ticket.value : new Uint8Array(0)))).toBe(401);
  expect(harness.server.allocationCount).toBe(1);
});

test("naming a password algorithm is no way around the allocation's key (case 16)", () => {
  const { harness, client } = relay();
  harness.fromClient(HOME, client.signed("allocate", [UDP, FIRST, attribute(mobilityTicket, new Uint8Array(0))]));
  const ticket = getAttribute(harness.answer(), mobilityTicket);
  const thief = new StunClient({ username: "kid", password: "token 2", algorithm: "sha256" }, harness.random);
  learn(harness, thief, AWAY);
  const stolen = attribute(mobilityTicket, ticket?.ok ? ticket.value : new Uint8Array(0));
  harness.fromClient(AWAY, thief.signed("refresh", [SECOND, stolen]));
  expect(outcomeOf(harness.answer())).toBe(401);
});

test("a token whose name is a password user's doesn't make its actor that user (case 16)", () => {
  const harness: EngineHarness = new EngineHarness({
    mobility: true,
    authenticate: (request) => {
      const { realm } = request;
      const key = (password: string): Uint8Array =>
        longTermKey({ algorithm: request.passwordAlgorithm, username: "kid", realm, password, crypto: nodeCrypto });
      const [actor, password] = request.accessToken === undefined ? ["kid", "own"] : ["thief", "token"];
      return request.checkIntegrity(key(password))
        ? { kind: "authenticated", username: "kid", actor, scheme: "test", key: key(password) }
        : { kind: "failed", reason: "badCredentials" };
    },
  });
  const owner = new StunClient({ username: "kid", password: "own" }, harness.random);
  learn(harness, owner);
  harness.fromClient(HOME, owner.signed("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]));
  const ticket = getAttribute(harness.answer(), mobilityTicket);
  const thief = new StunClient({ username: "kid", password: "token", algorithm: "sha256" }, harness.random);
  learn(harness, thief, AWAY);
  const stolen = attribute(mobilityTicket, ticket?.ok ? ticket.value : new Uint8Array(0));
  harness.fromClient(AWAY, thief.signed("refresh", [FIRST, stolen]));
  expect([401, 441]).toContain(outcomeOf(harness.answer()));
  learn(harness, thief, HOME);
  harness.fromClient(HOME, thief.signed("refresh", [FIRST, attribute(lifetime, 0)]));
  expect([401, 441]).toContain(outcomeOf(harness.answer()));
});
