import type { ForwardingPlane } from "@turnpike/relay";
import { getAttribute, icmp, type TransportAddress, xorPeerAddress } from "@turnpike/stun";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { stunOf } from "../sim/support/stun-client.ts";
import { ALICE, allocated, bytes, keep, openPeer } from "../support/relay.ts";
import { UdpPeer } from "../support/udp-peer.ts";
import { ipv6Wanted, UdpTurnClient } from "../support/udp-turn-client.ts";
import type { PlaneHarness } from "./support/plane-harness.ts";
import { VirtualReactor } from "./support/virtual-reactor.ts";

const FAMILIES = [
  [4, "127.0.0.1"],
  [6, "::1"],
] as const;
const CHANNEL = 0x4001;
/** RFC 8656 §9 and §12. */
const PERMISSION_SECONDS = 300;
const CHANNEL_SECONDS = 600;
const COOL_DOWN_SECONDS = 300;

/** The contract of every plane under an engine: what time and peers do to flows that are on their way. */
export function describeRelayOverPlane(name: string, harness: PlaneHarness): void {
  describe(`a relay over the ${name} plane`, () => {
    let plane: ForwardingPlane;
    let relay: VirtualReactor;

    beforeEach(async () => {
      plane = harness.createPlane();
      relay = await VirtualReactor.start(plane);
    });
    afterEach(async () => {
      relay.stop();
      await plane.stop();
      expect(relay.internalErrors).toBe(0);
    });

    /** A client with an allocation that outlives the test. */
    const openFlow = async (
      family: 4 | 6,
    ): Promise<{ readonly client: UdpTurnClient; readonly relayed: TransportAddress }> => {
      const client = keep(await UdpTurnClient.open(relay.server(family), ALICE));
      const relayed = await allocated(client, ...(family === 6 ? [ipv6Wanted] : []));
      expect(await client.refresh(3600)).toBe("success");
      return { client, relayed };
    };
    /** Resolves when the plane has taken so many more packets of peers. */
    const peerPackets = (more: number): (() => Promise<void>) => {
      const wanted = plane.counters.snapshot().packetsFromPeers + more;
      return () => expect.poll(() => plane.counters.snapshot().packetsFromPeers, POLL).toBeGreaterThanOrEqual(wanted);
    };

    test.each(FAMILIES)(
      "a permission that expires ends a stream on IPv%i, a new one resumes it",
      async (family, host) => {
        const { client, relayed } = await openFlow(family);
        const peer = await openPeer(host);
        expect(await client.permit(peer.local)).toBe("success");
        const pass = async (length: number): Promise<void> => {
          client.sendTo(peer.local, bytes(length));
          expect([...(await peer.receive()).bytes]).toEqual([...bytes(length)]);
          peer.send(bytes(length, 2), relayed);
          expect([...(await client.receiveData()).bytes]).toEqual([...bytes(length, 2)]);
        };
        await pass(100);
        relay.jump(PERMISSION_SECONDS - 1);
        await pass(101);
        relay.jump(1);
        client.sendTo(peer.local, bytes(102));
        const taken = peerPackets(3);
        for (const length of [103, 104, 105]) peer.send(bytes(length, 2), relayed);
        await taken();
        // Behind the packet of the client on the same socket: when it is answered, that one is gone.
        expect(await client.permit(peer.local)).toBe("success");
        await pass(106);
        expect([client.unread, peer.unread]).toEqual([0, 0]);
      },
    );

    test.each(FAMILIES)("a channel that expires ends its stream on IPv%i, and binds again", async (family, host) => {
      const { client, relayed } = await openFlow(family);
      const peer = await openPeer(host);
      const other = await openPeer(host);
      expect(await client.bind(CHANNEL, peer.local)).toBe("success");
      const pass = async (to: UdpPeer, length: number): Promise<void> => {
        client.sendOn(CHANNEL, bytes(length));
        expect([...(await to.receive()).bytes]).toEqual([...bytes(length)]);
        to.send(bytes(length, 2), relayed);
        const { bytes: arrived } = await client.receive();
        expect([...arrived.subarray(0, 4)]).toEqual([CHANNEL >> 8, CHANNEL & 0xff, 0, length]);
        expect([...arrived.subarray(4)]).toEqual([...bytes(length, 2)]);
      };
      await pass(peer, 100);
      // Bound again in time, channel and permission live on.
      relay.jump(PERMISSION_SECONDS - 1);
      expect(await client.bind(CHANNEL, peer.local)).toBe("success");
      relay.jump(PERMISSION_SECONDS - 1);
      await pass(peer, 101);
      expect(await client.bind(CHANNEL, other.local)).toBe(400);
      // The permission is renewed, the channel isn't: only the channel ends.
      expect(await client.permit(peer.local)).toBe("success");
      relay.jump(PERMISSION_SECONDS - 1);
      expect(await client.permit(peer.local)).toBe("success");
      relay.jump(CHANNEL_SECONDS - 2 * (PERMISSION_SECONDS - 1));
      client.sendOn(CHANNEL, bytes(102));
      peer.send(bytes(103, 2), relayed);
      expect([...(await client.receiveData()).bytes]).toEqual([...bytes(103, 2)]);
      // In its cooling down it is its old peer's, or nobody's.
      expect(await client.bind(CHANNEL, other.local)).toBe(400);
      expect(await client.bind(CHANNEL, peer.local)).toBe("success");
      await pass(peer, 104);
      relay.jump(CHANNEL_SECONDS + COOL_DOWN_SECONDS);
      expect(await client.bind(CHANNEL, other.local)).toBe("success");
      await pass(other, 105);
      expect([client.unread, peer.unread, other.unread]).toEqual([0, 0, 0]);
    });

    test.each(FAMILIES)(
      "an allocation that expires takes its stream on IPv%i and its socket with it",
      async (family, host) => {
        const { client, relayed } = await openFlow(family);
        const peer = await openPeer(host);
        expect(await client.bind(CHANNEL, peer.local)).toBe("success");
        client.sendOn(CHANNEL, bytes(10));
        await peer.receive();
        relay.jump(3600);
        client.sendOn(CHANNEL, bytes(11));
        expect(await client.bind(CHANNEL, peer.local)).toBe(437);
        // Its port is free again.
        const again = await expectBindable(host, relayed.port);
        await again.close();
        const next = await allocated(client, ...(family === 6 ? [ipv6Wanted] : []));
        expect(await client.bind(CHANNEL, peer.local)).toBe("success");
        client.sendOn(CHANNEL, bytes(12));
        const { bytes: arrived, from } = await peer.receive();
        expect([arrived.length, from.port]).toEqual([12, next.port]);
        expect([client.unread, peer.unread]).toEqual([0, 0]);
      },
    );

    test.each(FAMILIES)(
      "a peer on IPv%i that vanishes mid-stream is told by ICMP, and found again",
      async (family, host) => {
        const { client, relayed } = await openFlow(family);
        const peer = await openReturningPeer(host);
        const steady = await openPeer(host);
        for (const each of [peer, steady]) expect(await client.permit(each.local)).toBe("success");
        expect(await client.bind(CHANNEL, peer.local)).toBe("success");
        client.sendOn(CHANNEL, bytes(10));
        await peer.receive();
        await peer.close();
        for (let sent = 0; sent < 20; sent++) {
          client.sendOn(CHANNEL, bytes(20 + sent));
          client.sendTo(steady.local, bytes(20 + sent));
          expect((await steady.receive()).bytes.length).toBe(20 + sent);
        }
        if (harness.seesIcmp) {
          const message = stunOf((await client.receive()).bytes);
          const about = getAttribute(message, xorPeerAddress);
          expect(about?.ok === true && about.value.port).toBe(peer.local.port);
          // RFC 792: port unreachable; RFC 4443 §3.1: the same.
          const [icmpType, icmpCode] = family === 4 ? [3, 3] : [1, 4];
          expect(getAttribute(message, icmp)).toMatchObject({ ok: true, value: { icmpType, icmpCode } });
        }
        const back = keep(await UdpPeer.open(host, peer.local.port));
        client.sendOn(CHANNEL, bytes(99));
        expect([...(await back.receive()).bytes]).toEqual([...bytes(99)]);
        back.send(bytes(98, 2), relayed);
        for (;;) {
          const { bytes: arrived } = await client.receive();
          // Indications of ICMP may still come before it.
          if ((arrived[0] ?? 0) >= 0x40) {
            expect([...arrived.subarray(4)]).toEqual([...bytes(98, 2)]);
            break;
          }
          expect(getAttribute(stunOf(arrived), icmp)?.ok).toBe(harness.seesIcmp);
        }
      },
    );
  });
}

const POLL = { timeout: 20_000 };

/** A peer that can come back: systems give ports above these to who asks for any, so nobody takes its port meanwhile. */
async function openReturningPeer(host: string): Promise<UdpPeer> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const peer = await UdpPeer.open(host, 11_000 + Math.floor(Math.random() * 8_000)).catch(() => undefined);
    if (peer !== undefined) return peer;
  }
  throw new Error(`No port is free on ${host}`);
}

/** Binds a port as soon as the plane has closed it. */
async function expectBindable(host: string, port: number): Promise<UdpPeer> {
  let bound: UdpPeer | undefined;
  await expect
    .poll(async () => (bound = await UdpPeer.open(host, port).catch(() => undefined)) !== undefined, POLL)
    .toBe(true);
  if (bound === undefined) throw new Error("unreachable");
  return bound;
}
