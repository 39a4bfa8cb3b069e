/** Redirection (RFC 8489 §10) at the server: 300 with ALTERNATE-SERVER and ALTERNATE-DOMAIN. */
import {
  alternateDomain,
  alternateServer,
  attribute,
  attributes,
  getAttribute,
  getAttributes,
  requestedTransport,
  type StunMessage,
  transportAddress,
  type TransportAddress,
} from "@turnpike/stun";
import { expect, test } from "vitest";
import { EngineHarness, UDP6_LISTENER, UDP_LISTENER } from "./support/engine-harness.ts";
import { outcomeOf, StunClient } from "./support/stun-client.ts";

const UDP = attribute(requestedTransport, 17);
const CLIENTS = [
  { family: 4, client: transportAddress("198.51.100.7", 40_000), listener: UDP_LISTENER },
  { family: 6, client: transportAddress("2001:db8:7::7", 40_000), listener: UDP6_LISTENER },
] as const;
const SERVERS: Readonly<Record<4 | 6, TransportAddress>> = {
  4: transportAddress("203.0.113.9", 3478),
  6: transportAddress("2001:db8:9::9", 3478),
};

interface Refusal {
  readonly code: 300;
  readonly alternateServer?: TransportAddress;
  readonly alternateDomain?: string;
}

/** The answer to an Allocate of one of {@link CLIENTS} that the policy sends elsewhere. */
function redirected(place: (typeof CLIENTS)[number], refusal: Refusal): StunMessage {
  const harness = new EngineHarness({ admission: true });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(place.client, client.plain("allocate", [UDP]), place.listener);
  client.learn(harness.answer());
  harness.fromClient(place.client, client.signed("allocate", [UDP]), place.listener);
  const question = harness.take().find((output) => output.kind === "admit");
  if (question?.kind !== "admit") throw new Error("Nobody was asked");
  const { questionId } = question;
  harness.server.handleAnswer({ kind: "admission", questionId, admitted: false, ...refusal }, harness.clock);
  harness.drain();
  expect(harness.outputs.map(({ kind }) => kind)).not.toContain("openRelaySocket");
  const answer = harness.answer();
  const types: readonly number[] = answer.attributes.map(({ type }) => type);
  expect(
    types.includes(attributes.messageIntegrity.number) || types.includes(attributes.messageIntegritySha256.number),
  ).toBe(true);
  return answer;
}

test.each(CLIENTS)("300 names a server of the client's address family: IPv$family", (place) => {
  const answer = redirected(place, { code: 300, alternateServer: SERVERS[place.family] });
  expect(outcomeOf(answer)).toBe(300);
  expect(getAttributes(answer, alternateServer)).toEqual([{ ok: true, value: SERVERS[place.family] }]);
  expect(getAttribute(answer, alternateDomain)).toBeUndefined();
});

test.each(CLIENTS)("no 300 without such a server: 508, and no ALTERNATE-SERVER (to IPv$family)", (place) => {
  const other = SERVERS[place.family === 4 ? 6 : 4];
  for (const refusal of [{}, { alternateServer: other, alternateDomain: "b.example" }]) {
    const answer = redirected(place, { code: 300, ...refusal });
    expect(outcomeOf(answer)).toBe(508);
    expect(getAttribute(answer, alternateServer)).toBeUndefined();
    expect(getAttribute(answer, alternateDomain)).toBeUndefined();
  }
});

test("300 carries the name of the other server's certificate, if the policy has one", () => {
  const answer = redirected(CLIENTS[0], { code: 300, alternateServer: SERVERS[4], alternateDomain: "b.example" });
  expect(getAttribute(answer, alternateDomain)).toEqual({ ok: true, value: "b.example" });
});
