import type { TransportAddress } from "@turnpike/stun";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Allocation, Channel, Permission } from "./allocation.ts";
import { Registry } from "./registry.ts";

const addressOf = (port: number): TransportAddress => ({ family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0x0a000001, port });

function allocation(id: number): Allocation {
  return new Allocation({
    id,
    transport: "udp",
    client: { listener: 0, connection: 0, transport: "udp", remote: addressOf(id) },
    credential: {
      username: "alice",
      actor: "alice",
      scheme: "static",
      key: new Uint8Array(16),
      passwordAlgorithm: "md5",
      expiresAtUnixMs: undefined,
      credentialId: undefined,
      label: undefined,
      boundsLifetime: false,
    },
    transactionId: new Uint8Array(12),
    createdAtMs: 0,
    admissionQuestionId: undefined,
    relays: [],
    reservationToken: undefined,
    addressError: undefined,
    maxLifetimeSeconds: 600,
  });
}

test("channels are found by number and by peer, as they come and go, and never another's", () => {
  const which = { owner: fc.nat({ max: 1 }), number: fc.integer({ min: 0x4000, max: 0x4003 }) };
  const operation = fc.oneof(
    fc.record({ kind: fc.constant("toggle" as const), ...which }),
    fc.record({ kind: fc.constant("byNumber" as const), ...which }),
    fc.record({ kind: fc.constant("byPeer" as const), ...which }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const registry = new Registry(() => 1);
      const owners = [allocation(1), allocation(2)] as const;
      const model = new Map<string, Channel>();
      for (const each of owners) registry.addAllocation(each);
      for (const { kind, owner, number } of operations) {
        const of = owner === 0 ? owners[0] : owners[1];
        const known = model.get(`${owner}/${number}`);
        const peer = addressOf(number);
        if (kind === "byNumber") {
          expect(registry.findChannel(of, number)).toBe(known);
        } else if (kind === "byPeer") {
          expect(registry.findChannelOfPeer(of, peer)).toBe(known);
        } else if (known !== undefined) {
          registry.removeChannel(known);
          model.delete(`${owner}/${number}`);
        } else {
          const permission = new Permission(of, peer, false);
          const relay = { socket: 0, local: peer, relayed: peer };
          const channel = new Channel({ number, peer, destination: peer, relay, permission });
          registry.addChannel(channel);
          model.set(`${owner}/${number}`, channel);
        }
      }
    }),
  );
});
