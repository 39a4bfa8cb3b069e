import {
  additionalAddressFamily,
  addressErrorCode,
  attribute,
  data,
  dontFragment,
  evenPort,
  getAttribute,
  getAttributes,
  icmp,
  longTermKey,
  rawAttribute,
  requestedTransport,
  reservationToken,
  transportAddress,
  unknownAttributes,
  xorPeerAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import type { AuthenticationRequest } from "@turnpike/turn";
import { expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const UDP = attribute(requestedTransport, 17);
const ALICE = { username: "alice", password: "wonderland" };

function challenged(
  options: ConstructorParameters<typeof EngineHarness>[0] = {},
  credentials: ConstructorParameters<typeof StunClient>[0] = ALICE,
): { harness: EngineHarness; client: StunClient } {
  const harness = new EngineHarness(options);
  const client = new StunClient(credentials, harness.random);
  harness.fromClient(CLIENT, client.plain("allocate", [UDP]));
  client.learn(harness.answer());
  return { harness, client };
}

test("a slow authenticator: the request waits, its retransmissions are dropped, the answer comes once", () => {
  const asked: AuthenticationRequest[] = [];
  const { harness, client } = challenged({
    authenticate: (request) => {
      asked.push(request);
      return { kind: "pending" };
    },
  });
  const bytes = client.signed("allocate", [UDP]);
  harness.fromClient(CLIENT, bytes);
  harness.fromClient(CLIENT, bytes);
  expect(asked).toHaveLength(1);
  expect(harness.take()).toEqual([]);
  const key = longTermKey({ ...ALICE, algorithm: "md5", realm: "example.org", crypto: nodeCrypto });
  expect(asked[0]?.checkIntegrity(key)).toBe(true);
  const decision = { kind: "authenticated", username: "alice", actor: "alice", scheme: "webhook", key } as const;
  const { questionId } = asked[0]!;
  harness.server.handleAnswer({ kind: "authentication", questionId, decision }, harness.clock);
  harness.drain();
  expect(outcomeOf(harness.answer())).toBe("success");
  harness.server.handleAnswer({ kind: "authentication", questionId, decision }, harness.clock);
  harness.drain();
  expect(harness.take()).toEqual([]);
});

test("a slow authenticator is only asked about valid nonces, and never about too many at once", () => {
  let asked = 0;
  const { harness, client } = challenged({
    maxPendingAuthenticationsPerPrefix: 3,
    authenticate: () => {
      asked++;
      return { kind: "pending" };
    },
  });
  harness.fromClient(CLIENT, client.signed("allocate", [UDP], { nonce: "x".repeat(35) }));
  expect(asked).toBe(0);
  for (let i = 0; i < 10; i++) harness.fromClient(CLIENT, client.signed("refresh"));
  harness.advance(40_000);
  expect(harness.server.pollTimeout()).toBeUndefined();
  expect(asked).toBe(10);
});

test("an authenticator that can't be reached gets 500, not 401", () => {
  const { harness, client } = challenged({ authenticate: () => ({ kind: "failed", reason: "unavailable" }) });
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  expect(outcomeOf(harness.answer())).toBe(500);
});

test("what is discarded gets no answer and no event, at once or late", () => {
  for (const isLate of [false, true]) {
    const asked: AuthenticationRequest[] = [];
    const { harness, client } = challenged({
      events: true,
      authenticate: (request) => {
        asked.push(request);
        return { kind: isLate ? "pending" : "discarded" };
      },
    });
    harness.take();
    harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
    const questionId = asked[0]?.questionId ?? -1;
    harness.server.handleAnswer({ kind: "authentication", questionId, decision: { kind: "discarded" } }, harness.clock);
    harness.drain();
    expect(harness.take()).toEqual([]);
    expect(harness.server.pollTimeout()).toBeUndefined();
  }
});

test("security case 15: a revocation that comes while the allocation is being made ends it too", () => {
  const key = longTermKey({ ...ALICE, algorithm: "md5", realm: "example.org", crypto: nodeCrypto });
  const { harness, client } = challenged({
    admission: true,
    authenticate: () => ({
      kind: "authenticated",
      username: "alice",
      actor: "alice",
      scheme: "webhook",
      key,
      credentialId: "c1",
      label: "laptop",
    }),
  });
  harness.take();
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  const admit = harness.take().find((output) => output.kind === "admit");
  const seen: unknown[] = [];
  const revoke = (): number =>
    harness.server.endAllocations(
      (allocation) => {
        seen.push(allocation);
        return allocation.label === "laptop";
      },
      "credentialRevoked",
      harness.clock,
    );
  expect(revoke()).toBe(0);
  expect(seen).toMatchObject([{ id: "", username: "alice", actor: "alice", credentialId: "c1", label: "laptop" }]);
  const questionId = admit?.kind === "admit" ? admit.questionId : -1;
  harness.server.handleAnswer({ kind: "admission", questionId, admitted: true }, harness.clock);
  harness.drain();
  expect(harness.take()).toEqual([{ kind: "releaseAdmission", questionId }]);
  expect(harness.server.allocationCount).toBe(0);
});

test("admission is asked before a socket is opened, and given back when the allocation goes", () => {
  const { harness, client } = challenged({ admission: true });
  harness.take();
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  const question = harness.take().find((output) => output.kind === "admit");
  expect(question).toMatchObject({ actor: "alice", scheme: "static", client: CLIENT });
  expect(harness.sockets.size).toBe(0);
  const questionId = question?.kind === "admit" ? question.questionId : -1;
  harness.server.handleAnswer({ kind: "admission", questionId, admitted: true }, harness.clock);
  harness.drain();
  expect(outcomeOf(harness.answer())).toBe("success");
  harness.advance(600_000);
  expect(harness.take()).toContainEqual({ kind: "releaseAdmission", questionId });
});

test("a refused admission is answered with its code, and nothing is given back that wasn't taken", () => {
  const { harness, client } = challenged({ admission: true });
  const refuse = (answer: Record<string, unknown>): ReturnType<EngineHarness["answer"]> => {
    harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
    const question = harness.take().find((output) => output.kind === "admit");
    const questionId = question?.kind === "admit" ? question.questionId : -1;
    harness.server.handleAnswer({ kind: "admission", questionId, admitted: false, ...answer }, harness.clock);
    harness.drain();
    expect(harness.outputs.map((output) => output.kind)).not.toContain("releaseAdmission");
    return harness.answer();
  };
  expect(outcomeOf(refuse({}))).toBe(486);
  const redirected = refuse({
    code: 300,
    alternateServer: transportAddress("9.9.9.9", 3478),
    alternateDomain: "b.example",
  });
  expect(outcomeOf(redirected)).toBe(300);
  expect(redirected.attributes.map(({ type }) => type)).toEqual(expect.arrayContaining([0x8023, 0x8003]));
});

test("a socket that can't be opened gives the admission back and answers 508", () => {
  const { harness, client } = challenged({ admission: true });
  harness.answerSockets = false;
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  const admit = harness.take().find((output) => output.kind === "admit");
  const questionId = admit?.kind === "admit" ? admit.questionId : -1;
  harness.server.handleAnswer({ kind: "admission", questionId, admitted: true }, harness.clock);
  harness.drain();
  const open = harness.take().find((output) => output.kind === "openRelaySocket");
  harness.server.handleAnswer(
    {
      kind: "relaySocketFailed",
      questionId: open?.kind === "openRelaySocket" ? open.questionId : -1,
      code: 508,
      reason: "Insufficient Capacity",
    },
    harness.clock,
  );
  harness.drain();
  expect(harness.takeKinds()).toEqual(["releaseAdmission", "allocationRefused", "sendToClient"]);
  expect(harness.server.allocationCount).toBe(0);
});

test("a client that is gone before its socket is open leaves nothing behind", () => {
  const { harness, client } = challenged();
  harness.answerSockets = false;
  harness.fromClient(CLIENT, client.plain("allocate", [UDP]), TCP_LISTENER);
  client.learn(harness.answer());
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]), TCP_LISTENER);
  const open = harness.take().find((output) => output.kind === "openRelaySocket");
  harness.close(CLIENT, TCP_LISTENER);
  const local = transportAddress("192.0.2.1", 50_000);
  harness.server.handleAnswer(
    {
      kind: "relaySocketOpened",
      questionId: open?.kind === "openRelaySocket" ? open.questionId : -1,
      sockets: [{ socket: 9, local, relayed: local }],
    },
    harness.clock,
  );
  harness.drain();
  expect(harness.take()).toEqual([{ kind: "closeRelaySocket", socket: 9 }]);
  expect(harness.server.allocationCount).toBe(0);
  expect(harness.server.pollTimeout()).toBeUndefined();
});

test("a dual allocation has two relayed addresses, or one and ADDRESS-ERROR-CODE", () => {
  const { harness, client } = challenged();
  harness.fromClient(CLIENT, client.signed("allocate", [UDP, attribute(additionalAddressFamily, 6)]));
  const families = getAttributes(harness.answer(), xorRelayedAddress).map((one) => one.ok && one.value.family);
  expect(families).toEqual([4, 6]);

  const draft = challenged();
  const asCoturnAsks = rawAttribute(0x8032, Uint8Array.of(2, 0, 0, 0));
  draft.harness.fromClient(CLIENT, draft.client.signed("allocate", [UDP, asCoturnAsks]));
  expect(getAttributes(draft.harness.answer(), xorRelayedAddress)).toHaveLength(2);

  const partial = challenged();
  partial.harness.answerSockets = false;
  partial.harness.fromClient(CLIENT, partial.client.signed("allocate", [UDP, attribute(additionalAddressFamily, 6)]));
  const open = partial.harness.take().find((output) => output.kind === "openRelaySocket");
  const local = transportAddress("192.0.2.1", 50_000);
  partial.harness.server.handleAnswer(
    {
      kind: "relaySocketOpened",
      questionId: open?.kind === "openRelaySocket" ? open.questionId : -1,
      sockets: [{ socket: 0, local, relayed: local }],
      failures: [{ family: 6, code: 440 }],
    },
    partial.harness.clock,
  );
  partial.harness.drain();
  const answer = partial.harness.answer();
  expect(outcomeOf(answer)).toBe("success");
  expect(getAttribute(answer, addressErrorCode)).toMatchObject({ ok: true, value: { family: 6, code: 440 } });
});

test("security case 13: a reserved port is held, claimed once, by its user only, and released after its time", () => {
  const { harness, client } = challenged();
  harness.fromClient(CLIENT, client.signed("allocate", [UDP, attribute(evenPort, true)]));
  const answer = harness.answer();
  const relayed = getAttribute(answer, xorRelayedAddress);
  const token = getAttribute(answer, reservationToken);
  expect(relayed?.ok && relayed.value.port % 2).toBe(0);
  const claim = (address: typeof CLIENT, credentials: typeof ALICE): "success" | number => {
    const claimant = new StunClient(credentials, harness.random);
    harness.fromClient(address, claimant.plain("allocate", [UDP]), TCP_LISTENER);
    claimant.learn(harness.answer());
    const reserved = attribute(reservationToken, token?.ok ? token.value : new Uint8Array(8));
    harness.fromClient(address, claimant.signed("allocate", [UDP, reserved]), TCP_LISTENER);
    return outcomeOf(harness.answer());
  };
  expect(claim(transportAddress("203.0.113.1", 1), { username: "bob", password: "builder" })).toBe(508);
  expect(claim(transportAddress("203.0.113.1", 2), ALICE)).toBe("success");
  expect(claim(transportAddress("203.0.113.1", 3), ALICE)).toBe(508);
  expect(harness.reservations.size).toBe(0);

  const unclaimed = challenged();
  unclaimed.harness.fromClient(CLIENT, unclaimed.client.signed("allocate", [UDP, attribute(evenPort, true)]));
  expect(unclaimed.harness.reservations.size).toBe(1);
  unclaimed.harness.advance(30_000);
  expect(unclaimed.harness.reservations.size).toBe(1);
  unclaimed.harness.advance(10_000);
  expect(unclaimed.harness.reservations.size).toBe(0);
});

test("EVEN-PORT with R=0 reserves nothing", () => {
  const { harness, client } = challenged();
  for (let i = 0; i < 10; i++) {
    const address = transportAddress("198.51.100.7", 41_000 + i);
    harness.fromClient(address, client.plain("allocate", [UDP]));
    client.learn(harness.answer());
    harness.fromClient(address, client.signed("allocate", [UDP, attribute(evenPort, false)]));
    expect(outcomeOf(harness.answer())).toBe("success");
  }
  expect(harness.reservations.size).toBe(0);
});

test("USERHASH: an anonymous client is known, and gets no name back", () => {
  const { harness, client } = challenged(
    { usernameAnonymity: true },
    { ...ALICE, algorithm: "sha256", anonymous: true },
  );
  expect(client.nonce.startsWith("obMatJos2wAAA")).toBe(true);
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  const answer = harness.answer();
  expect(outcomeOf(answer)).toBe("success");
  expect(answer.attributes.some(({ type }) => type === 0x0006 || type === 0x001e)).toBe(false);
  harness.fromClient(CLIENT, client.signed("refresh"));
  expect(outcomeOf(harness.answer())).toBe("success");
});

test("DONT-FRAGMENT and other unknown comprehension-required attributes get 420, authenticated", () => {
  const { harness, client } = challenged();
  harness.fromClient(CLIENT, client.signed("allocate", [UDP, attribute(dontFragment, true)]));
  const answer = harness.answer();
  expect(outcomeOf(answer)).toBe(420);
  expect(getAttribute(answer, unknownAttributes)).toEqual({ ok: true, value: [0x001a] });
  expect(answer.attributes.some(({ type }) => type === 0x0008)).toBe(true);
  const binding = client.plain("binding", [rawAttribute(0x7ffe, new Uint8Array(4))]);
  harness.fromClient(CLIENT, binding);
  expect(outcomeOf(harness.answer())).toBe(420);
  const able = challenged({ dontFragment: true });
  able.harness.fromClient(CLIENT, able.client.signed("allocate", [UDP, attribute(dontFragment, true)]));
  expect(outcomeOf(able.harness.answer())).toBe("success");
});

test("an ICMP error reaches the client that has a permission for the peer, and no other", () => {
  const { harness, client } = challenged();
  const peer = transportAddress("8.8.8.8", 5000);
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  harness.take();
  const report = (type: number): void => {
    harness.server.handlePeerIcmp(0, peer, { type, code: 3, data: 0 }, harness.clock);
    harness.drain();
  };
  report(3);
  expect(harness.take()).toEqual([]);
  harness.fromClient(CLIENT, client.signed("createPermission", [attribute(xorPeerAddress, peer)]));
  harness.take();
  report(8);
  expect(harness.take()).toEqual([]);
  report(3);
  const indication = harness.answer();
  expect(indication.methodName).toBe("data");
  expect(getAttribute(indication, icmp)).toEqual({ ok: true, value: { icmpType: 3, icmpCode: 3, errorData: 0 } });
  expect(getAttribute(indication, data)).toBeUndefined();
});

test("an allocation can be made to end with its credential", () => {
  const { harness, client } = challenged({
    onCredentialExpiry: "end",
    authenticate: (request) => {
      const key = longTermKey({ ...ALICE, algorithm: "md5", realm: request.realm, crypto: nodeCrypto });
      request.checkIntegrity(key);
      const expiresAtUnixMs = Date.UTC(2030, 0, 1) + 100_000;
      return {
        kind: "authenticated",
        username: "alice",
        actor: "alice",
        scheme: "shared-secret",
        key,
        expiresAtUnixMs,
      };
    },
  });
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  expect(outcomeOf(harness.answer())).toBe("success");
  harness.fromClient(CLIENT, client.signed("refresh"));
  expect(outcomeOf(harness.answer())).toBe("success");
  harness.advance(100_000);
  const deleted = harness.take().find((output) => output.kind === "event" && output.event.type === "allocationDeleted");
  expect(deleted).toMatchObject({ event: { reason: "credentialExpired" } });
});
