/** Requests of which the kernel takes the second five-tuple to another reactor than the first. */
import { type BatchedRelay, loadLibc } from "@turnpike/relay";
import {
  attribute,
  evenPort,
  getAttribute,
  mobilityTicket,
  requestedTransport,
  reservationToken,
  sameTransportAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { startBatchedTestRelay } from "../support/batched-relay.ts";
import { ALICE, allocated, keep, openPeer, serverOf } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

const UDP = attribute(requestedTransport, 17);
const libc = loadLibc();

if ("unavailable" in libc) {
  test("elsewhere than on linux-x64 with glibc there is one reactor", () => {
    expect(libc.unavailable.length).toBeGreaterThan(20);
  });
} else {
  const start = (): Promise<BatchedRelay> => startBatchedTestRelay({ libc, threads: 2 });

  /** Which reactor the kernel takes a client to: the one that gets a short allocation of it. */
  const reactorOf = async (relay: BatchedRelay, client: UdpTurnClient): Promise<number> => {
    const before = relay.reactors.map((reactor) => reactor.gauge(0));
    await allocated(client);
    const found = relay.reactors.findIndex((reactor, index) => reactor.gauge(0) !== before[index]);
    expect(await client.refresh(0)).toBe("success");
    return found;
  };

  /** Two clients of different reactors: sockets are opened until the kernel's hash takes one elsewhere. */
  const openTwo = async (relay: BatchedRelay): Promise<readonly [UdpTurnClient, UdpTurnClient]> => {
    const open = async (): Promise<UdpTurnClient> => keep(await UdpTurnClient.open(serverOf(relay), ALICE));
    const first = await open();
    const own = await reactorOf(relay, first);
    for (;;) {
      const second = await open();
      if ((await reactorOf(relay, second)) !== own) return [first, second];
    }
  };

  const valueOf = <T>(found: { readonly ok: true; readonly value: T } | { readonly ok: false } | undefined): T => {
    if (!found?.ok) throw new Error("The attribute is missing");
    return found.value;
  };

  describe("RESERVATION-TOKEN", () => {
    test("is claimed at another reactor, by the same user, once", async () => {
      const relay = await start();
      const [first, second] = await openTwo(relay);
      const answer = await first.request("allocate", [UDP, attribute(evenPort, true)]);
      const token = attribute(reservationToken, valueOf(getAttribute(answer, reservationToken)));
      const relayed = valueOf(getAttribute(answer, xorRelayedAddress));
      expect(relay.stats()).toMatchObject({ allocations: 1, reservedPorts: 1, portsInUse: 2 });
      const claimed = valueOf(getAttribute(await second.request("allocate", [UDP, token]), xorRelayedAddress));
      expect(claimed.port).toBe(relayed.port + 1);
      expect(relay.stats()).toMatchObject({ allocations: 2, reservedPorts: 0, portsInUse: 2 });
      const peer = await openPeer();
      expect(await second.permit(peer.local)).toBe("success");
      second.sendTo(peer.local, Uint8Array.of(1, 2, 3));
      expect(sameTransportAddress((await peer.receive()).from, claimed)).toBe(true);
      expect(await second.refresh(0)).toBe("success");
      // It was claimed: neither here nor there does it open anything again.
      for (const client of [second, keep(await UdpTurnClient.open(serverOf(relay), ALICE))]) {
        expect(await client.allocate(token)).toBe(508);
      }
      expect(relay.stats()).toMatchObject({ allocations: 1, reservedPorts: 0, portsInUse: 1 });
    });

    test("of a reactor that has died opens nothing", async () => {
      const relay = await start();
      const [first, second] = await openTwo(relay);
      const answer = await first.request("allocate", [UDP, attribute(evenPort, true)]);
      const token = attribute(reservationToken, valueOf(getAttribute(answer, reservationToken)));
      await relay.reactors.find((reactor) => reactor.gauge(0) === 1)?.kill();
      expect(await second.allocate(token)).toBe(508);
      expect(relay.stats()).toMatchObject({ allocations: 0, reservedPorts: 0, portsInUse: 0 });
    });
  });

  test("a mobile client goes to a five-tuple of another reactor and back, and its owner gets its packets", async () => {
    const relay = await start();
    const [first, second] = await openTwo(relay);
    const peer = await openPeer();
    const answer = await first.request("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]);
    const relayed = valueOf(getAttribute(answer, xorRelayedAddress));
    expect(await first.bind(0x4001, peer.local)).toBe("success");
    const holds = relay.reactors.map((reactor) => reactor.gauge(0));
    let ticket = valueOf(getAttribute(answer, mobilityTicket));
    for (const [round, client] of [second, first, second, first].entries()) {
      const moved = await client.request("refresh", [attribute(mobilityTicket, ticket)]);
      ticket = valueOf(getAttribute(moved, mobilityTicket));
      client.sendOn(0x4001, new Uint8Array(10 + round));
      const arrived = await peer.receive();
      expect(arrived.bytes.length).toBe(10 + round);
      expect(sameTransportAddress(arrived.from, relayed)).toBe(true);
      peer.send(new Uint8Array(20 + round), relayed);
      expect((await client.receive()).bytes[3]).toBe(20 + round);
      expect(relay.reactors.map((reactor) => reactor.gauge(0))).toEqual(holds);
    }
    expect(await first.refresh(0)).toBe("success");
    expect(relay.stats()).toMatchObject({ allocations: 0, portsInUse: 0 });
  });
}
