import {
  alternateDomain,
  alternateServer,
  attribute,
  type EncodedAttribute,
  errorCode,
  transportAddress,
} from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { answer, HOME, requests, world } from "../support/client-requests.ts";
import { UDP_LISTENER } from "../support/engine-harness.ts";

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
