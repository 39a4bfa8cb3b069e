import type { RelayOptions } from "@turnpike/relay";
import { parseIpAddress, sameTransportAddress, withPort } from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { ALICE, allocated, BOB, bytes, openClient, openPeer, serverOf, startTestRelay } from "../support/relay.ts";

describe("case 2: the relay's own addresses behind a 1:1 NAT, under the default policy", () => {
  const nat: Partial<RelayOptions> = {
    listen: ["udp:127.0.0.1:0"],
    relayAddresses: ["127.0.0.1"],
    externalAddresses: ["203.0.113.5/127.0.0.1"],
    peers: {},
  };

  test("two clients of one relay reach each other by their public relayed addresses", async () => {
    const relay = await startTestRelay(nat);
    const [alice, bob] = [await openClient(relay, ALICE), await openClient(relay, BOB)];
    const [ofAlice, ofBob] = [await allocated(alice), await allocated(bob)];
    expect(ofAlice).toMatchObject({ ...parseIpAddress("203.0.113.5") });
    expect(await alice.bind(0x4000, ofBob)).toBe("success");
    expect(await bob.permit(ofAlice)).toBe("success");
    alice.sendOn(0x4000, bytes(50));
    const atBob = await bob.receiveData();
    expect([...atBob.bytes]).toEqual([...bytes(50)]);
    expect(sameTransportAddress(atBob.peer, ofAlice)).toBe(true);
    bob.sendTo(ofAlice, bytes(60));
    expect([...(await alice.receive()).bytes.subarray(4)]).toEqual([...bytes(60)]);
  });

  test("nothing but live relayed addresses is reached at the relay's own", async () => {
    const relay = await startTestRelay(nat);
    const service = await openPeer();
    const [alice, bob] = [await openClient(relay, ALICE), await openClient(relay, BOB)];
    const [ofAlice, ofBob] = [await allocated(alice), await allocated(bob)];
    expect(await alice.permit(service.local)).toBe(403);
    expect(await alice.permit(ofBob)).toBe("success");
    expect(await bob.permit(ofAlice)).toBe("success");
    alice.sendTo(withPort(ofBob, service.local.port), bytes(10));
    alice.sendTo(withPort(ofBob, serverOf(relay).port), alice.stun.plain("binding"));
    service.send(bytes(11), withPort(serverOf(relay), ofAlice.port));
    expect(await bob.refresh(0)).toBe("success");
    alice.sendTo(ofBob, bytes(12));
    const again = await openClient(relay, BOB);
    const next = await allocated(again);
    await again.permit(ofAlice);
    alice.sendTo(next, bytes(13));
    expect((await again.receiveData()).bytes.length).toBe(13);
    expect([service.unread, alice.unread, bob.unread]).toEqual([0, 0, 0]);
    expect(relay.stats().traffic.packetsToPeers).toBe(1);
  });
});
