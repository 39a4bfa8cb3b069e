import { decodeMessage, encodeMessage, type TransportAddress, transportAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { expect, test } from "vitest";
import { Core, type IncomingRequest } from "./core.ts";
import { PendingAuthentications } from "./pending-authentications.ts";
import { createPeerPolicy } from "./peer-policy.ts";
import { prefixHash } from "./reply-limiter.ts";

const NOW = { monotonicMs: 1, unixMs: 1 };

function core(seed: number): Core {
  return new Core({
    crypto: nodeCrypto,
    random: (length) => new Uint8Array(length).fill(seed),
    realm: "example.org",
    listeners: [],
    authenticate: () => ({ kind: "pending" }),
    peerPolicy: createPeerPolicy(),
    hairpin: { isOwn: () => false, isLive: () => false, toLocal: () => false, toRelayed: () => false },
    nonceKey: new Uint8Array(32),
    maxPendingAuthenticationsPerPrefix: 1,
  });
}

function request(remote: TransportAddress): IncomingRequest {
  const bytes = encodeMessage({
    class: "request",
    method: "allocate",
    transactionId: new Uint8Array(12),
    attributes: [],
    fingerprint: false,
  });
  const decoded = decodeMessage(bytes);
  if (!decoded.ok) throw new Error(decoded.error.code);
  return { message: decoded.message, client: { listener: 1, connection: 0, transport: "udp", remote } };
}

test("a prefix that was chosen to collide with a user's doesn't take the user's place", () => {
  const victim = transportAddress("198.51.100.7", 1);
  // What anybody can compute who knows the hash but not its seed.
  const wanted = prefixHash(victim, 0);
  let attacker: TransportAddress = { ...transportAddress("2001:db8::1", 1) };
  for (let w0 = 0x2600_0000; prefixHash(attacker, 0) !== wanted; w0++) {
    // The second word that leads to the victim's hash: prefixHash takes it in by XOR, without its last byte.
    const before = Math.imul(w0, 0x85ebca6b);
    const victims = Math.imul(victim.w3 & ~0xff, 0x85ebca6b);
    const w1 = before ^ (before >>> 15) ^ victims ^ (victims >>> 15) ^ 4;
    attacker = { ...attacker, w0, w1 };
  }
  const pending = new PendingAuthentications(core(3));
  for (const [index, remote] of [attacker, victim].entries()) pending.add(request(remote), index, NOW, () => {});
  expect(pending.has(request(attacker))).toBe(true);
  expect(pending.has(request(victim))).toBe(true);
});
