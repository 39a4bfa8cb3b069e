import { formatTransportAddress, transportAddress } from "@turnpike/stun";
import { expect, test } from "vitest";
import {
  type FleetRelay,
  redirectByPrefix,
  redirectInTurn,
  redirectionFor,
  redirectToLeastLoaded,
} from "./redirect.ts";

function question(client = "198.51.100.7", allocations = 0, draining = false) {
  return {
    actor: "alice",
    username: "alice",
    client: transportAddress(client, 4000),
    transport: "udp" as const,
    load: { allocations, draining },
  };
}

function serverOf(redirection: ReturnType<typeof redirectionFor>): string | undefined {
  return redirection && formatTransportAddress(redirection.alternateServer);
}

test("by prefix: the first rule that fits, with a server of the client's family", () => {
  const policy = redirectByPrefix([
    { prefix: "198.51.100.0/24", servers: ["192.0.2.9:3478", "[2001:db8::9]:3478"], domain: "eu.example.org" },
    { prefix: "0.0.0.0/0", servers: ["192.0.2.10:3478"] },
    { prefix: "2001:db8:1::/48", servers: ["192.0.2.10:3478"] },
  ]);
  expect(redirectionFor(policy, question())).toMatchObject({ alternateDomain: "eu.example.org" });
  expect(serverOf(redirectionFor(policy, question()))).toBe("192.0.2.9:3478");
  expect(serverOf(redirectionFor(policy, question("203.0.113.1")))).toBe("192.0.2.10:3478");
  // No server of its family: it stays, as RFC 8489 §10 wants.
  expect(redirectionFor(policy, question("2001:db8:1::1"))).toBeUndefined();
  expect(redirectionFor(policy, question("2001:db8:2::1"))).toBeUndefined();
});

test("wrong rules are refused at the start", () => {
  expect(() => redirectByPrefix([{ prefix: "10.0.0.0/33", servers: ["192.0.2.1:1"] }])).toThrow("10.0.0.0/33");
  expect(() => redirectByPrefix([{ prefix: "10.0.0.0/8", servers: ["relay.example.org:3478"] }])).toThrow(
    'Cannot redirect to "relay.example.org:3478": expected ADDRESS:PORT, such as 192.0.2.1:3478',
  );
  expect(() => redirectByPrefix([{ prefix: "10.0.0.0/8", servers: [] }])).toThrow("no server is named");
});

test("to the least loaded: only over a margin, only from some load on, and always while draining", () => {
  let fleet: readonly FleetRelay[] = [];
  const policy = redirectToLeastLoaded({ relays: () => fleet });
  expect(redirectionFor(policy, question(undefined, 100))).toBeUndefined();
  fleet = [
    { servers: ["192.0.2.2:3478"], allocations: 50 },
    { servers: ["192.0.2.3:3478"], allocations: 40 },
    { servers: ["[2001:db8::4]:3478"], allocations: 1 },
  ];
  expect(serverOf(redirectionFor(policy, question(undefined, 100)))).toBe("192.0.2.3:3478");
  expect(serverOf(redirectionFor(policy, question("2001:db8::1", 100)))).toBe("[2001:db8::4]:3478");
  expect(redirectionFor(policy, question(undefined, 48))).toBeUndefined();
  expect(redirectionFor(policy, question("2001:db8::1", 9))).toBeUndefined();
  expect(serverOf(redirectionFor(policy, question(undefined, 0, true)))).toBe("192.0.2.3:3478");
  expect(() => redirectToLeastLoaded({ relays: () => [], margin: 0.5 })).toThrow(RangeError);
});

test("in turn: one server after the other of the client's family, while draining or always", () => {
  const servers = ["192.0.2.1:3478", "[2001:db8::1]:3478", "192.0.2.2:3478"];
  const draining = redirectInTurn({ servers, domain: "relay.example" });
  expect(redirectionFor(draining, question())).toBeUndefined();
  const always = redirectInTurn({ servers, when: "always" });
  const told = ["a", "b", "c"].map(() => serverOf(redirectionFor(always, question())));
  expect(told).toEqual(["192.0.2.1:3478", "192.0.2.2:3478", "192.0.2.1:3478"]);
  expect(serverOf(redirectionFor(always, question("2001:db8::7")))).toBe("[2001:db8::1]:3478");
  expect(redirectionFor(draining, question(undefined, 0, true))).toMatchObject({ alternateDomain: "relay.example" });
  const ipv4 = redirectInTurn({ servers: ["192.0.2.1:3478"], when: "always" });
  expect(redirectionFor(ipv4, question("2001:db8::7"))).toBeUndefined();
  expect(() => redirectInTurn({ servers: [] })).toThrow("no server is named");
});
