import type { ForwardingPlane } from "@turnpike/relay";
import { AddressRegister } from "@turnpike/stun";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { keep, openPeer } from "../support/relay.ts";
import {
  firstDifference,
  openListener,
  openRelay,
  PATTERN,
  pattern,
  type PlaneHarness,
  TestReceiver,
} from "./support/plane-harness.ts";

const POLL = { timeout: 20_000 };

/** The contract of every plane with a system that refuses and drops. */
export function describePlaneFaults(name: string, harness: PlaneHarness): void {
  describe(`the ${name} plane on a system with faults`, () => {
    let plane: ForwardingPlane;
    let receiver: TestReceiver;
    let failSends: string | undefined;
    /** Codes of the next receives that fail. */
    const failReceives: string[] = [];

    beforeEach(() => {
      failSends = undefined;
      failReceives.length = 0;
      plane = harness.createPlane({ failSends: () => failSends, failReceives: () => failReceives.shift() });
      receiver = new TestReceiver(plane);
      plane.start(receiver);
    });
    afterEach(() => plane.stop());

    test.each(["EAGAIN", "ENOBUFS", "EMSGSIZE", "ECONNREFUSED", "EPERM", "EHOSTUNREACH"])(
      "a send that the system refuses with %s is counted, and the next one goes out",
      async (code) => {
        const relay = await openRelay(plane);
        await openListener(plane, 0);
        const peer = await openPeer();
        failSends = code;
        plane.sendToPeer(relay.socket, peer.local, pattern(10), 0, 10, false);
        plane.sendToClient(0, 0, peer.local, pattern(10), 0, 10);
        failSends = undefined;
        plane.sendToPeer(relay.socket, peer.local, pattern(20), 0, 20, false);
        expect((await peer.receive()).bytes.length).toBe(20);
        plane.sendToClient(0, 0, peer.local, pattern(21), 0, 21);
        expect((await peer.receive()).bytes.length).toBe(21);
        expect(plane.counters.snapshot().sendErrors).toBe(2);
        expect(receiver.errors).toEqual([]);
      },
    );

    test.each(["EAGAIN", "ENOBUFS", "EMSGSIZE", "ECONNREFUSED", "EPERM", "EHOSTUNREACH", "ENOMEM"])(
      "a receive that the system refuses with %s loses nothing and ends no socket",
      async (code) => {
        const relay = await openRelay(plane);
        const listener = await openListener(plane, 0);
        const peer = await openPeer();
        for (const [index, { local }] of [relay, listener, relay, listener].entries()) {
          failReceives.push(code);
          peer.send(pattern(30 + index), local);
          const { bytes, from } = await peer.receive();
          expect([firstDifference(bytes, 30 + index), from.port]).toEqual([-1, local.port]);
          expect(failReceives).toEqual([]);
        }
        // That nothing is there yet is no error.
        expect(plane.counters.snapshot()).toMatchObject({ receiveErrors: code === "EAGAIN" ? 0 : 4, sendErrors: 0 });
        expect(receiver.errors).toEqual([]);
      },
    );

    test.each(["a relay socket", "a listener"])(
      "what overflows the buffer of %s is lost alone, and told",
      async (kind) => {
        const small = harness.createPlane({ bufferBytes: 65_536 });
        keep({ [Symbol.asyncDispose]: () => small.stop() });
        const flooded = new TestReceiver(small);
        small.start(flooded);
        const lengths = new Set<number>();
        const to = new AddressRegister();
        flooded.onPeerPacket = (socket, from, buffer, offset, length) => {
          lengths.add(length);
          if (length !== 1000) small.sendToPeer(socket, from, buffer, offset, length, false);
        };
        flooded.onClientPacket = (source, buffer, offset, length) => {
          lengths.add(length);
          to.set(source.remote);
          if (length !== 1000) small.sendToClient(source.listener, 0, to, buffer, offset, length);
        };
        const { local } = await (kind === "a listener" ? openListener(small, 0) : openRelay(small));
        const peer = await openPeer();
        // All of it leaves before this thread takes the plane's next turn.
        let sent = 2000;
        for (let index = 0; index < sent; index++) peer.send(PATTERN.subarray(0, 1000), local);
        const packets = (): number => {
          const { packetsFromPeers, packetsFromClients } = small.counters.snapshot();
          return packetsFromPeers + packetsFromClients;
        };
        await expect.poll(packets, POLL).toBeGreaterThan(0);
        // The way is free again, and what passes is whole.
        const passed = peer.receive().then(() => true);
        do {
          sent++;
          peer.send(pattern(50), local);
        } while (!(await Promise.race([passed, soon()])));
        expect(packets()).toBeLessThan(2000);
        expect(lengths).toEqual(new Set([1000, 50]));
        const total = (): number => {
          harness.readDrops?.(small);
          return packets() + small.counters.snapshot().receiveOverflow;
        };
        if (harness.readDrops === undefined) expect(total()).toBe(packets());
        else await expect.poll(total, POLL).toBe(sent);
      },
    );
  });
}

/** False, a moment later: what a plane has to do by then is done. */
function soon(): Promise<false> {
  return new Promise((done) => setTimeout(() => done(false), 20));
}
