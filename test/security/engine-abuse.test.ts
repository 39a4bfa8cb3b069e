import {
  attribute,
  channelNumber,
  connectionId,
  evenPort,
  lifetime,
  mobilityTicket,
  getAttribute,
  parseIpAddress,
  requestedAddressFamily,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { EngineHarness, sourceOf, TCP_LISTENER, UDP_LISTENER } from "../sim/support/engine-harness.ts";
import { outcomeOf, StunClient } from "../sim/support/stun-client.ts";

const HOME = transportAddress("198.51.100.7", 40_000);
const UDP = attribute(requestedTransport, 17);

function join(harness: EngineHarness, address = HOME, listener = UDP_LISTENER): StunClient {
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  challenge(harness, client, address, listener);
  return client;
}

function challenge(harness: EngineHarness, client: StunClient, address: typeof HOME, listener = UDP_LISTENER): void {
  harness.fromClient(address, client.plain("refresh"), listener);
  client.learn(harness.answer());
}

test("one request that names one peer many times announces each of its channels once (case 19)", () => {
  const harness = new EngineHarness();
  const client = join(harness);
  harness.fromClient(HOME, client.signed("allocate", [UDP]));
  for (let i = 0; i < 100; i++) {
    const peer = attribute(xorPeerAddress, transportAddress("8.8.8.8", 1000 + i));
    harness.fromClient(HOME, client.signed("channelBind", [attribute(channelNumber, 0x4000 + i), peer]));
  }
  harness.take();
  const peers = Array.from({ length: 50 }, () => attribute(xorPeerAddress, transportAddress("8.8.8.8", 1)));
  harness.fromClient(HOME, client.signed("createPermission", peers));
  const kinds = harness.takeKinds();
  expect(kinds.filter((kind) => kind === "channelBound")).toHaveLength(100);
  expect(kinds.filter((kind) => kind === "permissionRefreshed")).toHaveLength(1);
  expect(kinds.at(-1)).toBe("sendToClient");
});

describe("held ports (case 13)", () => {
  test("one user can't hold more than 32 reserved ports, whose allocations are gone; others can", () => {
    const harness = new EngineHarness();
    const client = join(harness);
    const outcomes: (string | number)[] = [];
    for (let i = 0; i < 40; i++) {
      harness.fromClient(HOME, client.signed("allocate", [UDP, attribute(evenPort, true)]));
      outcomes.push(outcomeOf(harness.answer()));
      harness.fromClient(HOME, client.signed("refresh", [attribute(lifetime, 0)]));
      harness.take();
    }
    expect(outcomes.filter((outcome) => outcome === "success")).toHaveLength(32);
    expect(outcomes.at(-1)).toBe(486);
    expect(harness.reservations.size).toBe(32);

    const away = transportAddress("203.0.113.9", 50_000);
    const bob = new StunClient({ username: "bob", password: "builder" }, harness.random);
    challenge(harness, bob, away);
    harness.fromClient(away, bob.signed("allocate", [UDP, attribute(evenPort, true)]));
    expect(outcomeOf(harness.answer())).toBe("success");

    harness.advance(41_000);
    harness.take();
    harness.fromClient(HOME, client.signed("allocate", [UDP, attribute(evenPort, true)]));
    expect(outcomeOf(harness.answer())).toBe("success");
  });
});

describe("several engines", () => {
  test("only a signed ConnectionBind from a stream is handed to another engine", () => {
    const harness = new EngineHarness({ engine: 0, engines: 2, tcpRelay: true });
    const client = join(harness);
    const elsewhere = attribute(connectionId, 0x01_000001);
    harness.fromClient(HOME, client.plain("connectionBind", [elsewhere]), TCP_LISTENER);
    expect(harness.takeKinds()).toEqual(["sendToClient"]);
    harness.fromClient(HOME, client.signed("connectionBind", [elsewhere]));
    expect(harness.takeKinds()).not.toContain("handOver");
    harness.fromClient(HOME, client.signed("connectionBind", [elsewhere]), TCP_LISTENER);
    expect(harness.takeKinds()).toEqual(["handOver"]);
  });

  test("a client that moves on and on leaves no adopted five-tuples behind (case 16)", () => {
    const harness = new EngineHarness({ engine: 0, engines: 2, mobility: true });
    const client = join(harness);
    harness.fromClient(HOME, client.signed("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]));
    let ticket = ticketOf(harness);
    const adopted = new Set<number>();
    for (let port = 50_000; port < 50_020; port++) {
      const next = transportAddress("203.0.113.9", port);
      challenge(harness, client, next);
      const bytes = client.signed("refresh", [attribute(mobilityTicket, ticket)]);
      harness.server.handleHandedOver(sourceOf(next, UDP_LISTENER), bytes, harness.clock);
      harness.drain();
      for (const output of harness.outputs) {
        if (output.kind === "adoptClient") adopted.add(output.client.port);
        if (output.kind === "releaseClient") adopted.delete(output.client.port);
      }
      ticket = ticketOf(harness);
      expect(adopted.has(port)).toBe(true);
    }
    expect(adopted.size).toBeLessThanOrEqual(2);
    harness.server.shutdown(harness.clock);
    harness.drain();
    for (const output of harness.take()) if (output.kind === "releaseClient") adopted.delete(output.client.port);
    expect(adopted.size).toBe(0);
  });
});

function ticketOf(harness: EngineHarness): Uint8Array {
  const ticket = getAttribute(harness.answer(), mobilityTicket);
  return ticket?.ok ? ticket.value : new Uint8Array(0);
}

test("a new connection that ends before its first data doesn't take the old one along (RFC 8016 §3.2.2)", () => {
  const harness = new EngineHarness({ mobility: true });
  const client = join(harness, HOME, TCP_LISTENER);
  const mobile = [UDP, attribute(mobilityTicket, new Uint8Array(0))];
  harness.fromClient(HOME, client.signed("allocate", mobile), TCP_LISTENER);
  const ticket = ticketOf(harness);
  const peer = transportAddress("8.8.8.8", 5000);
  const bind = [attribute(channelNumber, 0x4000), attribute(xorPeerAddress, peer)];
  harness.fromClient(HOME, client.signed("channelBind", bind), TCP_LISTENER);
  harness.take();
  const away = transportAddress("203.0.113.9", 50_000);
  challenge(harness, client, away, TCP_LISTENER);
  harness.fromClient(away, client.signed("refresh", [attribute(mobilityTicket, ticket)]), TCP_LISTENER);
  expect(outcomeOf(harness.answer())).toBe("success");
  harness.close(away, TCP_LISTENER);
  expect(harness.fromPeer(0, peer, Uint8Array.of(1))?.destination).toMatchObject(HOME);
});

test("the relay's own address isn't reached through a translator either (case 2)", () => {
  const own = parseIpAddress("203.1.113.5");
  const harness = new EngineHarness({
    hairpin: {
      isOwn: (ip) => ip.family === 4 && ip.w3 === own?.w3,
      isLive: () => false,
      toLocal: () => false,
      toRelayed: () => false,
    },
  });
  const client = join(harness);
  harness.fromClient(HOME, client.signed("allocate", [UDP, attribute(requestedAddressFamily, 6)]));
  harness.take();
  const outcome = (peer: string): string | number => {
    harness.fromClient(
      HOME,
      client.signed("createPermission", [attribute(xorPeerAddress, transportAddress(peer, 22))]),
    );
    return outcomeOf(harness.answer());
  };
  expect(outcome("64:ff9b::203.1.113.5")).toBe(403);
  expect(outcome("2600::5efe:203.1.113.5")).toBe(403);
  expect(outcome("64:ff9b::203.1.113.6")).toBe("success");
});
