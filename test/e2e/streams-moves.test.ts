import {
  alternateDomain,
  alternateServer,
  attribute,
  formatTransportAddress,
  getAttribute,
  mobilityTicket,
  requestedTransport,
  sameTransportAddress,
  transportAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { outcomeOf } from "../sim/support/stun-client.ts";
import { BOB, bytes, openPeer } from "../support/relay.ts";
import { allocated, link, startStreams } from "../support/streams.ts";

describe("mobility (RFC 8016)", () => {
  test("an allocation moves from one transport to the next, and its data with it", async () => {
    const relay = await startStreams();
    const first = await link(relay, "tcp");
    const peer = await openPeer();
    const answer = await first.request("allocate", [
      attribute(requestedTransport, 17),
      attribute(mobilityTicket, new Uint8Array()),
    ]);
    const relayed = getAttribute(answer, xorRelayedAddress);
    let ticket = getAttribute(answer, mobilityTicket);
    if (!relayed?.ok) throw new Error("Not allocated");
    expect(await first.bind(0x4001, peer.local)).toBe("success");
    first.close();
    for (const transport of ["tls", "dtls", "ws", "tcp"] as const) {
      if (!ticket?.ok) throw new Error("No ticket");
      const next = await link(relay, transport);
      const moved = await next.request("refresh", [attribute(mobilityTicket, ticket.value)]);
      expect(outcomeOf(moved)).toBe("success");
      ticket = getAttribute(moved, mobilityTicket);
      next.sendOn(0x4001, bytes(10));
      expect((await peer.receive()).bytes.length).toBe(10);
      peer.send(bytes(20), relayed.value);
      expect((await next.receive())?.[3]).toBe(20);
      next.close();
      await next.closed;
    }
    expect(relay.stats().allocations).toBe(1);
  });

  test("security case 16: another user's ticket is refused", async () => {
    const relay = await startStreams();
    const first = await link(relay, "tcp");
    const answer = await first.request("allocate", [
      attribute(requestedTransport, 17),
      attribute(mobilityTicket, new Uint8Array()),
    ]);
    const ticket = getAttribute(answer, mobilityTicket);
    if (!ticket?.ok) throw new Error("No ticket");
    const thief = await link(relay, "tls", { credentials: BOB });
    expect(outcomeOf(await thief.request("refresh", [attribute(mobilityTicket, ticket.value)]))).toBe(441);
  });
});

test("300: the policy sends users elsewhere", async () => {
  const elsewhere = transportAddress("192.0.2.44", 3478);
  const relay = await startStreams({
    limits: {
      redirect: ({ username }) =>
        username === "bob" ? { servers: [formatTransportAddress(elsewhere)], domain: "other.example" } : undefined,
    },
  });
  expect((await allocated(await link(relay, "tls"))).family).toBe(4);
  const bob = await link(relay, "tls", { credentials: BOB });
  const answer = await bob.request("allocate", [attribute(requestedTransport, 17)]);
  const alternate = getAttribute(answer, alternateServer);
  expect(outcomeOf(answer)).toBe(300);
  expect(alternate?.ok && sameTransportAddress(alternate.value, elsewhere)).toBe(true);
  expect(getAttribute(answer, alternateDomain)).toEqual({ ok: true, value: "other.example" });
});
