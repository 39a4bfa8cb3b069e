import { type BatchedRelay, loadLibc } from "@turnpike/relay";
import {
  attribute,
  getAttribute,
  mobilityTicket,
  requestedTransport,
  type StunMessage,
  type TransportAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import { expect, test, vi } from "vitest";
import { outcomeOf } from "../sim/support/stun-client.ts";
import { startBatchedTestRelay } from "../support/batched-relay.ts";
import { TestCertificate } from "../support/certificate.ts";
import { LinkTurnClient } from "../support/link-turn-client.ts";
import { ALICE, bytes, keep, openPeer } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

const libc = loadLibc();
const certificate = new TestCertificate();
const MOBILE = [attribute(requestedTransport, 17), attribute(mobilityTicket, new Uint8Array())];

if ("unavailable" in libc) {
  test("elsewhere than on linux-x64 with glibc, the reason is told", () => {
    expect(libc.unavailable.length).toBeGreaterThan(20);
  });
} else {
  const start = (threads: number): Promise<BatchedRelay> =>
    startBatchedTestRelay({
      libc,
      threads,
      listen: ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "dtls:127.0.0.1:0"],
      tls: certificate,
    });
  const serverOf = (relay: BatchedRelay, transport: ClientTransport): TransportAddress => {
    const found = relay.listening.find((each) => each.transport === transport);
    if (found === undefined) throw new Error(`The relay does not listen on ${transport}`);
    return found.local;
  };
  const link = async (relay: BatchedRelay, transport: Exclude<ClientTransport, "udp">): Promise<LinkTurnClient> => {
    const server = serverOf(relay, transport);
    return keep(await LinkTurnClient.open({ transport, server, ca: certificate.pem, credentials: ALICE }));
  };
  const udp = async (relay: BatchedRelay): Promise<UdpTurnClient> =>
    keep(await UdpTurnClient.open(serverOf(relay, "udp"), ALICE));
  const ticketOf = (answer: StunMessage): Uint8Array => {
    const ticket = getAttribute(answer, mobilityTicket);
    if (!ticket?.ok) throw new Error(`No ticket: ${outcomeOf(answer)}`);
    return ticket.value;
  };

  test("UDP goes to the threads, all else to the event loop, and both relay", async () => {
    const relay = await start(2);
    const peer = await openPeer();
    for (const transport of ["tcp", "tls", "ws", "wss", "dtls"] as const) {
      const client = await link(relay, transport);
      const relayed = await client.allocate();
      if (typeof relayed === "number") throw new TypeError(`Not allocated: ${relayed}`);
      expect(await client.bind(0x4001, peer.local)).toBe("success");
      client.sendOn(0x4001, bytes(100));
      expect((await peer.receive()).bytes.length).toBe(100);
      peer.send(bytes(50), relayed);
      expect((await client.receive())?.[3]).toBe(50);
    }
    const client = await udp(relay);
    expect(await client.allocate()).toMatchObject({ family: 4 });
    await vi.waitUntil(() => relay.stats().allocations === 6);
    expect(await (await link(relay, "tcp")).allocate("tcp")).toMatchObject({ family: 4 });
  });

  test.each([1, 3])(
    "a mobile client goes from TCP to UDP and back, whoever owns it, with %i threads",
    async (threads) => {
      const relay = await start(threads);
      const peer = await openPeer();
      const first = await link(relay, "tcp");
      const answer = await first.request("allocate", MOBILE);
      const relayed = getAttribute(answer, xorRelayedAddress);
      if (!relayed?.ok) throw new Error("Not allocated");
      expect(await first.bind(0x4001, peer.local)).toBe("success");
      let ticket = ticketOf(answer);
      for (let round = 0; round < 3; round++) {
        const datagrams = await udp(relay);
        ticket = ticketOf(await datagrams.request("refresh", [attribute(mobilityTicket, ticket)]));
        await vi.waitUntil(async () => {
          // Until the socket of its own is connected, its packets reach another reactor.
          datagrams.sendOn(0x4001, bytes(10));
          return (await datagrams.refresh(600)) === "success";
        });
        datagrams.sendOn(0x4001, bytes(11));
        while ((await peer.receive()).bytes.length !== 11);
        peer.send(bytes(20), relayed.value);
        expect((await datagrams.receive()).bytes[3]).toBe(20);
        const stream = await link(relay, "tls");
        ticket = ticketOf(await stream.request("refresh", [attribute(mobilityTicket, ticket)]));
        stream.sendOn(0x4001, bytes(12));
        while ((await peer.receive()).bytes.length !== 12);
        peer.send(bytes(30), relayed.value);
        expect((await stream.receive())?.[3]).toBe(30);
      }
    },
  );

  test("a mobile client that began on a thread goes from UDP to TLS, to another UDP port, and back", async () => {
    const relay = await start(3);
    const peer = await openPeer();
    const first = await udp(relay);
    const answer = await first.request("allocate", MOBILE);
    const relayed = getAttribute(answer, xorRelayedAddress);
    if (!relayed?.ok) throw new Error("Not allocated");
    expect(await first.bind(0x4001, peer.local)).toBe("success");
    let ticket = ticketOf(answer);
    for (let round = 0; round < 4; round++) {
      const stream = await link(relay, "tls");
      ticket = ticketOf(await stream.request("refresh", [attribute(mobilityTicket, ticket)]));
      stream.sendOn(0x4001, bytes(12));
      while ((await peer.receive()).bytes.length !== 12);
      peer.send(bytes(30), relayed.value);
      expect((await stream.receive())?.[3]).toBe(30);
      const datagrams = await udp(relay);
      ticket = ticketOf(await datagrams.request("refresh", [attribute(mobilityTicket, ticket)]));
      // Until the socket of its own is connected, its packets reach another reactor.
      await vi.waitUntil(async () => (await datagrams.refresh(600)) === "success");
      datagrams.sendOn(0x4001, bytes(11));
      while ((await peer.receive()).bytes.length !== 11);
      peer.send(bytes(20), relayed.value);
      expect((await datagrams.receive()).bytes[3]).toBe(20);
    }
  });
}
