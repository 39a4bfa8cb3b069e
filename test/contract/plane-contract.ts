import { readdirSync } from "node:fs";
import type { ForwardingPlane, Opened } from "@turnpike/relay";
import {
  formatTransportAddress,
  sameTransportAddress,
  type TransportAddress,
  transportAddress,
  withPort,
} from "@turnpike/stun";
import { PACKET_HEADROOM, PACKET_TAILROOM } from "@turnpike/turn";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UdpPeer } from "../support/udp-peer.ts";
import {
  closeRelay,
  firstDifference,
  openListener,
  openRelay,
  PATTERN,
  pattern,
  type PlaneHarness,
  TestReceiver,
} from "./support/plane-harness.ts";

/** The contract of every forwarding plane. */
export function describePlane(name: string, harness: PlaneHarness): void {
  describe(`the ${name} plane`, () => {
    let plane: ForwardingPlane;
    let receiver: TestReceiver;
    const peers: UdpPeer[] = [];
    const openPeer = async (address?: string): Promise<UdpPeer> => {
      const peer = await UdpPeer.open(address);
      peers.push(peer);
      return peer;
    };

    beforeEach(() => {
      plane = harness.createPlane();
      receiver = new TestReceiver(plane);
      plane.start(receiver);
    });

    afterEach(async () => {
      await plane.stop();
      await Promise.all(peers.splice(0).map((peer) => peer.close()));
    });

    test.each([
      ["127.0.0.1", 65_507],
      ["::1", 65_527],
    ])("carries every size that UDP has on %s, whole", async (address, largest) => {
      const relay = await openRelay(plane, address);
      const listener = await openListener(plane, 7, address);
      const client = await openPeer(address);
      for (let first = 0; first <= largest; first += WINDOW) {
        const { local } = socketOf(first) === 0 ? relay : listener;
        const last = Math.min(first + WINDOW - 1, largest);
        for (let size = first; size <= last; size++) {
          client.send(PATTERN.subarray(0, size), local);
        }
        for (let size = first; size <= last; size++) {
          const { bytes, from } = await client.receive();
          if (firstDifference(bytes, size) !== -1 || !sameTransportAddress(from, local)) {
            expect.unreachable(`size ${size}: ${bytes.length} bytes, different from ${firstDifference(bytes, size)}`);
          }
        }
      }
      const counts = plane.counters.snapshot();
      const [clientSizes, peerSizes] = [sizesBy(1, largest), sizesBy(0, largest)];
      expect(counts).toEqual({
        ...zeroCounts(plane),
        packetsFromClients: clientSizes.length,
        packetsToClients: clientSizes.length,
        packetsFromPeers: peerSizes.length,
        packetsToPeers: peerSizes.length,
        bytesFromClients: total(clientSizes),
        bytesToClients: total(clientSizes),
        bytesFromPeers: total(peerSizes),
        bytesToPeers: total(peerSizes),
        turns: counts.turns,
        systemCalls: counts.systemCalls,
      });
    });

    test.each([
      ["127.0.0.1", 65_507],
      ["::1", 65_527],
    ])("refuses and counts what no datagram on %s carries, and truncates nothing", async (address, largest) => {
      const relay = await openRelay(plane, address);
      const listener = await openListener(plane, 0, address);
      const peer = await openPeer(address);
      const buffer = pattern(largest + 20);
      for (const excess of [1, 4, 20]) {
        plane.sendToPeer(relay.socket, peer.local, buffer, 0, largest + excess, false);
        plane.sendToClient(0, 0, peer.local, buffer, 0, largest + excess);
      }
      plane.sendToPeer(relay.socket, peer.local, buffer, 0, largest, false);
      plane.sendToClient(listener.socket, 0, peer.local, buffer, 0, 1);
      const lengths = [(await peer.receive()).bytes.length, (await peer.receive()).bytes.length];
      expect(lengths.toSorted((a, b) => a - b)).toEqual([1, largest]);
      const { oversized, packetsToPeers, packetsToClients } = plane.counters.snapshot();
      expect({ oversized, packetsToPeers, packetsToClients }).toEqual({
        oversized: 6,
        packetsToPeers: 1,
        packetsToClients: 1,
      });
      expect(peer.unread).toBe(0);
    });

    test("leaves room around packets, from which more can be sent than was received", async () => {
      const relay = await openRelay(plane);
      const peer = await openPeer();
      receiver.onPeerPacket = (socket, from, buffer, offset, length) => {
        buffer.fill(0xaa, offset - PACKET_HEADROOM, offset);
        buffer.fill(0xbb, offset + length, offset + length + PACKET_TAILROOM);
        const start = offset - PACKET_HEADROOM;
        plane.sendToPeer(socket, from, buffer, start, PACKET_HEADROOM + length + PACKET_TAILROOM, false);
      };
      const sent = 500;
      for (let index = 0; index < sent; index++) {
        peer.send(pattern(index), relay.local);
        const { bytes } = await peer.receive();
        expect(bytes.length).toBe(PACKET_HEADROOM + index + PACKET_TAILROOM);
        expect(firstDifference(bytes.subarray(PACKET_HEADROOM, PACKET_HEADROOM + index), index)).toBe(-1);
        expect([...bytes.subarray(0, PACKET_HEADROOM)].every((byte) => byte === 0xaa)).toBe(true);
        expect([...bytes.subarray(PACKET_HEADROOM + index)].every((byte) => byte === 0xbb)).toBe(true);
      }
    });

    test("brings a burst of many senders to each of them again", async () => {
      const relay = await openRelay(plane);
      const listener = await openListener(plane, 3);
      const senders = await Promise.all(Array.from({ length: 32 }, () => openPeer()));
      for (const [index, sender] of senders.entries()) {
        for (let count = 0; count < 8; count++) {
          sender.send(pattern(100 + index), count % 2 === 0 ? relay.local : listener.local);
        }
      }
      for (const [index, sender] of senders.entries()) {
        for (let count = 0; count < 8; count++) {
          expect((await sender.receive()).bytes.length).toBe(100 + index);
        }
      }
    });

    test("a bound port is taken; another family's wildcard is not", async () => {
      const relay = await openRelay(plane);
      await expectFailure(plane, relay.local, "inUse");
      const wildcard = await openListener(plane, 0, "::");
      const both = await openListener(plane, 1, "0.0.0.0", wildcard.local.port);
      expect(both.local.port).toBe(wildcard.local.port);
    });

    test("an address of another machine can't be had", async () => {
      await expectFailure(plane, transportAddress("203.0.113.77", 0), "addressUnavailable");
      await expectFailure(plane, transportAddress("2001:db8:ffff::77", 0), "addressUnavailable");
    });

    test("a closed relay socket is silent, its port free and its handle used again", async () => {
      const relay = await openRelay(plane);
      const peer = await openPeer();
      peer.send(pattern(10), relay.local);
      await peer.receive();
      peer.send(pattern(11), relay.local);
      await closeRelay(plane, relay.socket);
      const again = await UdpPeer.open("127.0.0.1", relay.local.port);
      peers.push(again);
      peer.send(pattern(12), relay.local);
      expect((await again.receive()).bytes.length).toBe(12);
      expect(receiver.peerPackets).toBe(1);
      plane.sendToPeer(relay.socket, peer.local, pattern(10), 0, 10, false);
      expect(plane.counters.snapshot().closedSocket).toBe(1);
      expect((await openRelay(plane)).socket).toBe(relay.socket);
      await closeRelay(plane, 12_345);
    });

    test("peers that vanish harm nothing", async () => {
      const relay = await openRelay(plane);
      const listener = await openListener(plane, 0);
      const gone = await UdpPeer.open();
      await gone.close();
      const peer = await openPeer();
      for (let index = 0; index < 100; index++) {
        plane.sendToPeer(relay.socket, gone.local, pattern(100), 0, 100, false);
        plane.sendToClient(listener.socket, 0, gone.local, pattern(100), 0, 100);
      }
      peer.send(pattern(5), relay.local);
      expect((await peer.receive()).bytes.length).toBe(5);
      peer.send(pattern(6), listener.local);
      expect((await peer.receive()).bytes.length).toBe(6);
      expect(receiver.errors).toEqual([]);
    });

    test("port 0 and addresses of the other family are refused and counted", async () => {
      const relay = await openRelay(plane);
      plane.sendToPeer(relay.socket, transportAddress("127.0.0.1", 0), pattern(10), 0, 10, false);
      plane.sendToPeer(relay.socket, transportAddress("::1", 9), pattern(10), 0, 10, false);
      const peer = await openPeer();
      plane.sendToPeer(relay.socket, peer.local, pattern(11), 0, 11, false);
      expect((await peer.receive()).bytes.length).toBe(11);
      expect(plane.counters.snapshot().sendErrors).toBe(2);
    });

    test("after a stop no descriptor, no port and no packet is left", async () => {
      const before = descriptors();
      const own = harness.createPlane();
      const silent = new TestReceiver(own);
      own.start(silent);
      const relays = await Promise.all(Array.from({ length: 50 }, () => openRelay(own)));
      const listener = await openListener(own, 0);
      own.openRelaySocket(transportAddress("127.0.0.1", 0), () => {});
      await own.stop();
      expect(descriptors()).toBe(before);
      for (const { local } of [...relays, listener]) {
        await (await UdpPeer.open("127.0.0.1", local.port)).close();
      }
      own.sendToPeer(relays[0]?.socket ?? 0, listener.local, pattern(1), 0, 1, false);
      own.sendToClient(0, 0, listener.local, pattern(1), 0, 1);
      const late = await new Promise<Opened>((done) => own.openRelaySocket(transportAddress("127.0.0.1", 0), done));
      expect(late.kind).toBe("failed");
      await own.stop();
    });
  });
}

async function expectFailure(plane: ForwardingPlane, local: TransportAddress, failure: string): Promise<void> {
  const opened = await new Promise<Opened>((done) => plane.openRelaySocket(withPort(local, local.port), done));
  expect(opened, formatTransportAddress(local)).toMatchObject({ kind: "failed", failure });
}

/** Datagrams under way at once: few enough for any socket's buffer. */
const WINDOW = 3;

/** Which socket carries a size: 0, the relay socket, or 1, the listener. They take turns by windows. */
function socketOf(size: number): 0 | 1 {
  return Math.floor(size / WINDOW) % 2 === 0 ? 0 : 1;
}

function sizesBy(socket: 0 | 1, largest: number): readonly number[] {
  return Array.from({ length: largest + 1 }, (_, size) => size).filter((size) => socketOf(size) === socket);
}

function total(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0);
}

function zeroCounts(plane: ForwardingPlane): Record<string, number> {
  return Object.fromEntries(Object.keys(plane.counters.snapshot()).map((name) => [name, 0]));
}

/** Open descriptors of this process. */
function descriptors(): number {
  return readdirSync("/dev/fd").length;
}
