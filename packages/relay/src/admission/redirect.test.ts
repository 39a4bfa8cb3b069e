import { formatTransportAddress, transportAddress } from "@turnpike/stun";
import { expect, test } from "vitest";
import {
  type FleetRelay,
  redirectByFirst,
  redirectByPrefix,
  redirectByRules,
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

test("by rules: the first of which all holds, of user, address and load", () => {
  const policy = redirectByRules([
    { users: ["Alice"], prefixes: ["198.51.100.0/24", "203.0.113.1"], servers: ["192.0.2.1:3478"] },
    { users: ["bob"], draining: true, servers: ["192.0.2.2:3478"] },
    { minAllocations: 100, servers: ["192.0.2.3:3478"] },
    { draining: true, servers: ["192.0.2.4:3478"] },
  ]);
  const to = (actor: string, ...asked: Parameters<typeof question>): string | undefined =>
    serverOf(redirectionFor(policy, { ...question(...asked), actor }));
  expect(to("alice")).toBe("192.0.2.1:3478");
  expect(to("alice", "203.0.113.1")).toBe("192.0.2.1:3478");
  expect(to("alice", "203.0.113.2")).toBeUndefined();
  expect(to("bob")).toBeUndefined();
  expect(to("bob", undefined, 100, true)).toBe("192.0.2.2:3478");
  expect(to("carol", undefined, 100)).toBe("192.0.2.3:3478");
  expect(to("carol", undefined, 99, true)).toBe("192.0.2.4:3478");
  expect(() => redirectByRules([{ minAllocations: -1, servers: ["192.0.2.1:1"] }])).toThrow(RangeError);
  const first = redirectByFirst([policy, () => ({ servers: ["192.0.2.5:3478"] })]);
  expect(serverOf(redirectionFor(first, question("203.0.113.2")))).toBe("192.0.2.5:3478");
  expect(redirectByFirst([])(question())).toBeUndefined();
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
