/** What clients with connections may not gain by having them. */
import {
  attribute,
  getAttribute,
  mobilityTicket,
  passwordAlgorithm,
  passwordAlgorithms,
  requestedTransport,
  type TransportAddress,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import type { Relay, RelayOptions } from "@turnpike/relay";
import { describe, expect, test, vi } from "vitest";
import { EngineHarness, TCP_LISTENER } from "../sim/support/engine-harness.ts";
import { type ClientCredentials, outcomeOf, StunClient } from "../sim/support/stun-client.ts";
import { TestCertificate } from "../support/certificate.ts";
import { LinkTurnClient } from "../support/link-turn-client.ts";
import type { LinkOptions } from "../support/links.ts";
import { ALICE, BOB, keep, startTestRelay } from "../support/relay.ts";

const certificate = new TestCertificate();
const TCP = attribute(requestedTransport, 6);
const UDP = attribute(requestedTransport, 17);

const EVERY = ["tcp", "tls", "ws", "wss", "dtls"] as const;

/** A relay with every transport but UDP. */
function start(options: Partial<RelayOptions> = {}): Promise<Relay> {
  return startTestRelay({
    listen: ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "dtls:127.0.0.1:0"],
    tls: certificate,
    ...options,
  });
}

/** A client by one of {@link EVERY}, closed at the end of the test. */
async function link(
  relay: Relay,
  transport: LinkOptions["transport"],
  credentials: ClientCredentials = ALICE,
): Promise<LinkTurnClient> {
  const found = relay.listening.find((each) => each.transport === transport);
  if (found === undefined) throw new Error(`The relay does not listen on ${transport}`);
  return keep(await LinkTurnClient.open({ transport, server: found.local, ca: certificate.pem, credentials }));
}

describe("case 9: nonces of connections", () => {
  test.each(EVERY)("that of another connection, from the same address, is stale (%s)", async (transport) => {
    const relay = await start();
    const [first, second] = [await link(relay, "tcp"), await link(relay, transport)];
    expect(await first.allocate("udp")).toMatchObject({ family: 4 });
    expect(await second.allocate("udp")).toMatchObject({ family: 4 });
    const refresh = async (nonce: string): Promise<unknown> =>
      outcomeOf(await second.exchange(second.stun.signed("refresh", [], { nonce })));
    expect(await refresh(first.stun.nonce)).toBe(438);
    expect(await refresh(second.stun.nonce)).toBe("success");
  });
});

describe("case 11: bid-down over connections", () => {
  test.each(EVERY)("PASSWORD-ALGORITHMS stripped of SHA-256 gets 400 (%s)", async (transport) => {
    const relay = await start();
    const client = await link(relay, transport);
    client.stun.learn(await client.exchange(client.stun.plain("allocate", [UDP])));
    const md5 = { algorithm: 1, parameters: new Uint8Array(0) };
    const stripped = [UDP, attribute(passwordAlgorithms, [md5]), attribute(passwordAlgorithm, md5)];
    expect(outcomeOf(await client.exchange(client.stun.signed("allocate", stripped)))).toBe(400);
    expect(relay.stats().allocations).toBe(0);
  });
});

describe("case 15: a credential that ends, over connections", () => {
  test.each(EVERY)("what it made ends at once, and nothing of anybody else (%s)", async (transport) => {
    const relay = await start();
    const [alice, bob] = [await link(relay, transport), await link(relay, transport, BOB)];
    expect(await alice.allocate("udp")).toMatchObject({ family: 4 });
    expect(await bob.allocate("udp")).toMatchObject({ family: 4 });
    expect(await relay.endAllocations({ by: "username", value: ALICE.username }, "credentialRevoked")).toBe(1);
    expect(relay.stats().allocations).toBe(1);
    expect(outcomeOf(await bob.request("refresh", []))).toBe("success");
  });
});

describe("case 16: another user on the same connection", () => {
  test.each(EVERY)("gets 441, and the allocation stays its owner's (%s)", async (transport) => {
    const relay = await start();
    const client = await link(relay, transport);
    expect(await client.allocate("udp")).toMatchObject({ family: 4 });
    const thief = BOB.username;
    for (const method of ["refresh", "createPermission", "channelBind"] as const) {
      const request = client.stun.signed(method, [], { username: thief, password: BOB.password });
      expect(outcomeOf(await client.exchange(request)), method).toBe(441);
    }
    expect(outcomeOf(await client.request("refresh", []))).toBe("success");
    expect(relay.stats().allocations).toBe(1);
  });
});

describe("case 14: a quota over connections", () => {
  const limited = (options: Partial<RelayOptions> = {}): Promise<Relay> =>
    start({ limits: { quotas: { user: 1 } }, ...options });

  test("no other transport, and no TCP allocation, makes room for another one of the same user", async () => {
    const relay = await limited();
    const first = await link(relay, "tcp");
    expect(await first.allocate("udp")).toMatchObject({ family: 4 });
    for (const transport of EVERY) {
      expect(await (await link(relay, transport)).allocate("udp"), transport).toBe(486);
    }
    expect(await (await link(relay, "tls")).allocate("tcp")).toBe(486);
    expect(await (await link(relay, "tls", BOB)).allocate("udp")).toMatchObject({ family: 4 });
  });

  test("a connection that ends gives its share back, once", async () => {
    const relay = await limited();
    for (let time = 0; time < 3; time++) {
      const client = await link(relay, "tls");
      expect(await client.allocate("udp")).toMatchObject({ family: 4 });
      expect(await (await link(relay, "tcp")).allocate("udp")).toBe(486);
      client.link.close();
      await vi.waitUntil(() => relay.stats().allocations === 0);
    }
  });

  test("a move from connection to connection makes no room, and an old one that ends gives nothing back", async () => {
    const relay = await limited({ engine: { mobility: true } });
    const [home, away] = [await link(relay, "tcp"), await link(relay, "tls")];
    const made = await home.request("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]);
    const ticket = getAttribute(made, mobilityTicket);
    const moved = await away.request("refresh", [
      attribute(mobilityTicket, ticket?.ok ? ticket.value : new Uint8Array(0)),
    ]);
    expect(outcomeOf(moved)).toBe("success");
    expect(await (await link(relay, "tcp")).allocate("udp")).toBe(486);
    home.link.close();
    await home.closed;
    expect(await (await link(relay, "tcp")).allocate("udp")).toBe(486);
    expect(relay.stats().allocations).toBe(1);
  });
});

describe("case 17: Connect as a port scanner", () => {
  const CLIENT = transportAddress("198.51.100.7", 40_000);
  const MOST = 5;

  function allocated(): { harness: EngineHarness; connect: (peer: TransportAddress) => void } {
    const harness = new EngineHarness({ tcpRelay: true, maxConnectionsPerAllocation: MOST });
    const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
    harness.fromClient(CLIENT, client.plain("allocate", [TCP]), TCP_LISTENER);
    client.learn(harness.answer());
    harness.fromClient(CLIENT, client.signed("allocate", [TCP]), TCP_LISTENER);
    expect(outcomeOf(harness.answer())).toBe("success");
    const connect = (peer: TransportAddress): void =>
      void harness.fromClient(CLIENT, client.signed("connect", [attribute(xorPeerAddress, peer)]), TCP_LISTENER);
    return { harness, connect };
  }

  test("inside the network no port is knocked at, and all are answered alike", () => {
    const { harness, connect } = allocated();
    const answers = new Set<string>();
    for (const address of ["10.0.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.64.0.1"]) {
      for (const port of [1, 22, 80, 443, 65_535]) {
        connect(transportAddress(address, port));
        const outputs = harness.take();
        expect(outputs.some(({ kind }) => kind === "connectPeer")).toBe(false);
        const sent = outputs.find((output) => output.kind === "sendToClient");
        // All but transaction id and integrity.
        answers.add(Buffer.from(sent?.kind === "sendToClient" ? sent.bytes.subarray(20, 40) : []).toString("hex"));
      }
    }
    expect(answers.size).toBe(1);
  });

  test("outside few ports are knocked at at once, and silence and refusal are told alike", () => {
    const { harness, connect } = allocated();
    const dialled: number[] = [];
    for (let port = 1; port <= 1000; port++) {
      connect(transportAddress("8.8.8.8", port));
      const outputs = harness.take();
      const question = outputs.find((output) => output.kind === "connectPeer");
      if (question?.kind === "connectPeer") dialled.push(question.questionId);
      else expect(outputs.map(({ kind }) => kind)).toContain("sendToClient");
    }
    expect(dialled).toHaveLength(MOST);
    const outcomes = dialled.map((questionId) => {
      harness.server.handleAnswer({ kind: "peerConnectFailed", questionId }, harness.clock);
      harness.drain();
      return outcomeOf(harness.answer());
    });
    expect(new Set(outcomes)).toEqual(new Set([447]));
  });
});
