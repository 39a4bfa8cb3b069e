import { writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { connect as connectTls } from "node:tls";
import type { Relay, RelayOptions } from "@turnpike/relay";
import {
  formatTransportAddress,
  alternateDomain,
  alternateServer,
  attribute,
  connectionId,
  formatIpAddress,
  getAttribute,
  mobilityTicket,
  requestedTransport,
  sameTransportAddress,
  type TransportAddress,
  transportAddress,
  xorMappedAddress,
  xorPeerAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import { describe, expect, test, vi } from "vitest";
import { outcomeOf, stunOf } from "../sim/support/stun-client.ts";
import { TestCertificate } from "../support/certificate.ts";
import { LinkTurnClient } from "../support/link-turn-client.ts";
import { openStream } from "../support/links.ts";
import { ALICE, BOB, bytes, keep, openClient, openPeer, startTestRelay } from "../support/relay.ts";

const certificate = new TestCertificate();
const LISTEN = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "dtls:127.0.0.1:0", "tcp:[::1]:0"];
type Linked = Exclude<ClientTransport, "udp">;

function startStreams(options: Partial<RelayOptions> = {}): Promise<Relay> {
  return startTestRelay({ listen: LISTEN, tls: certificate, ...options });
}

function serverOf(relay: Relay, transport: ClientTransport, family: 4 | 6 = 4): TransportAddress {
  const found = relay.listening.find((each) => each.transport === transport && each.local.family === family);
  if (found === undefined) throw new Error(`The relay does not listen on ${transport}`);
  return found.local;
}

async function link(
  relay: Relay,
  transport: Linked,
  options: {
    readonly credentials?: typeof ALICE | typeof BOB;
    readonly preamble?: Uint8Array;
    readonly family?: 4 | 6;
  } = {},
): Promise<LinkTurnClient> {
  const server = serverOf(relay, transport, options.family);
  const { credentials = ALICE, preamble } = options;
  return keep(await LinkTurnClient.open({ transport, server, ca: certificate.pem, credentials, preamble }));
}

async function allocated(client: LinkTurnClient, transport: "udp" | "tcp" = "udp"): Promise<TransportAddress> {
  const relayed = await client.allocate(transport);
  if (typeof relayed === "number") throw new TypeError(`Not allocated: ${relayed}`);
  return relayed;
}

/** A raw connection whose end is awaited. */
async function raw(server: TransportAddress): Promise<{ readonly socket: Socket; readonly ended: Promise<unknown> }> {
  const socket = connect({ host: formatIpAddress(server), port: server.port });
  socket.on("error", () => {});
  const ended = new Promise((resolve) => socket.once("close", resolve));
  await once(socket, "connect");
  socket.resume();
  keep({
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await ended;
    },
  });
  return { socket, ended };
}

/** A TCP server that keeps its connections for the test. */
async function openTcpPeer(): Promise<{
  readonly local: TransportAddress;
  readonly next: () => Promise<Socket>;
  readonly server: Server;
}> {
  const waiting: ((socket: Socket) => void)[] = [];
  const arrived: Socket[] = [];
  const all = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    all.add(socket);
    socket.on("error", () => {});
    const taker = waiting.shift();
    if (taker === undefined) arrived.push(socket);
    else taker(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("No address");
  keep({
    async [Symbol.asyncDispose]() {
      for (const socket of all) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  const next = (): Promise<Socket> => {
    const socket = arrived.shift();
    return socket === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(socket);
  };
  return { local: transportAddress("127.0.0.1", address.port), next, server };
}

/** Reads exactly `length` bytes. */
function read(stream: Readable, length: number): Promise<Buffer> {
  let got = Buffer.alloc(0);
  return new Promise((resolve) => {
    const take = (chunk: Buffer): void => {
      got = Buffer.concat([got, chunk]);
      if (got.length < length) return;
      stream.off("data", take);
      if (got.length > length) stream.unshift(got.subarray(length));
      resolve(got.subarray(0, length));
    };
    stream.on("data", take);
    stream.resume();
  });
}

describe.each(["tcp", "tls", "ws", "wss", "dtls"] as const)("a client over %s", (transport) => {
  test("relays both ways, by indications and by channels, every small size and large ones", async () => {
    const relay = await startStreams();
    const client = await link(relay, transport);
    const peer = await openPeer();
    const relayed = await allocated(client);
    expect(await client.permit(peer.local)).toBe("success");
    client.sendTo(peer.local, bytes(100));
    const arrived = await peer.receive();
    expect([...arrived.bytes]).toEqual([...bytes(100)]);
    expect(sameTransportAddress(arrived.from, relayed)).toBe(true);
    expect(await client.bind(0x4001, peer.local)).toBe("success");
    for (const length of [0, 1, 2, 3, 4, 5, 1200, transport === "dtls" ? 16_000 : 60_000]) {
      client.sendOn(0x4001, bytes(length, 3));
      expect([...(await peer.receive()).bytes]).toEqual([...bytes(length, 3)]);
      peer.send(bytes(length, 4), relayed);
      const message = await client.receive();
      expect([...(message ?? new Uint8Array()).subarray(0, 4)]).toEqual([0x40, 0x01, length >> 8, length & 0xff]);
      expect([...(message ?? new Uint8Array()).subarray(4)]).toEqual([...bytes(length, 4)]);
    }
    expect(await client.refresh(0)).toBe("success");
    expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, streams: { connections: 1, accepted: 1 } });
  });

  test("security case 13: the end of its connection ends its allocation, and nothing leaks", async () => {
    const relay = await startStreams({ engine: { mobility: false } });
    const clients = await Promise.all(Array.from({ length: 20 }, () => link(relay, transport)));
    for (const client of clients) await allocated(client);
    expect(relay.stats()).toMatchObject({ allocations: 20, streams: { connections: 20 } });
    for (const client of clients) client.close();
    await vi.waitUntil(() => relay.stats().allocations === 0 && relay.stats().streams.connections === 0);
    expect(relay.stats()).toMatchObject({ relaySockets: 0, portsInUse: 0 });
  });

  test("is told its address, and refused with a wrong password", async () => {
    const relay = await startStreams();
    const client = await link(relay, transport, { credentials: { ...ALICE, password: "wrong" } as never });
    const mapped = getAttribute(await client.exchange(client.stun.plain("binding")), xorMappedAddress);
    expect(mapped?.ok && mapped.value.family).toBe(4);
    expect(await client.allocate()).toBe(401);
  });
});

describe("one port for all streams", () => {
  test("over IPv6 too", async () => {
    const relay = await startStreams();
    for (const transport of ["tcp", "tls", "ws", "wss"] as const) {
      expect((await allocated(await link(relay, transport, { family: 6 }))).port).toBeGreaterThan(0);
    }
  });

  test("the transport that was found is what the engine knows a client by", async () => {
    const events: string[] = [];
    const relay = await startStreams({
      onEvent: (event) => {
        if (event.type === "allocationCreated") events.push(event.context.fiveTuple.transport);
      },
    });
    for (const transport of ["tcp", "tls", "ws", "wss", "dtls"] as const) await allocated(await link(relay, transport));
    expect(events).toEqual(["tcp", "tls", "ws", "wss", "dtls"]);
  });

  test("ALPN: stun.turn and stun.nat-discovery are agreed on, others refused; TLS 1.1 is refused", async () => {
    const relay = await startStreams();
    const { port } = serverOf(relay, "tls");
    const agreed = async (options: object): Promise<string | false | null> => {
      const socket = connectTls({
        host: "127.0.0.1",
        port,
        ca: certificate.pem,
        servername: "relay.example",
        ...options,
      });
      try {
        await once(socket, "secureConnect");
        return socket.alpnProtocol;
      } finally {
        socket.destroy();
      }
    };
    expect(await agreed({ ALPNProtocols: ["stun.turn"] })).toBe("stun.turn");
    expect(await agreed({ ALPNProtocols: ["stun.nat-discovery"] })).toBe("stun.nat-discovery");
    expect(await agreed({})).toBe(false);
    expect(await agreed({ maxVersion: "TLSv1.2" })).toBe(false);
    await expect(agreed({ ALPNProtocols: ["h2"] })).rejects.toThrow("alert");
    await expect(agreed({ minVersion: "TLSv1.1", maxVersion: "TLSv1.1" })).rejects.toThrow();
  });

  test("the certificate is replaced when its files change, for TLS and DTLS; a broken one is not taken", async () => {
    const own = keep(new TestCertificate());
    const relay = await startTestRelay({ listen: LISTEN, tls: own });
    const before = own.pem;
    own.renew();
    expect(relay.reloadCertificate()).toBe(true);
    for (const transport of ["tls", "dtls", "wss"] as const) {
      const server = serverOf(relay, transport);
      const client = keep(await LinkTurnClient.open({ transport, server, ca: own.pem, credentials: ALICE }));
      expect((await allocated(client)).family).toBe(4);
      await expect(LinkTurnClient.open({ transport, server, ca: before, credentials: ALICE })).rejects.toThrow();
    }
    writeFileSync(own.key, "no key");
    expect(relay.reloadCertificate()).toBe(false);
  });

  test("a start without a certificate, or with one that can't be read, is told and leaves nothing open", async () => {
    await expect(startTestRelay({ listen: ["tls:127.0.0.1:0"] })).rejects.toThrow("it needs a certificate");
    await expect(startTestRelay({ listen: ["dtls:127.0.0.1:0"] })).rejects.toThrow("it needs a certificate");
    const missing = { cert: "/nowhere/cert.pem", key: "/nowhere/key.pem" };
    await expect(startTestRelay({ tls: missing })).rejects.toThrow("Cannot read the certificate /nowhere/cert.pem");
  });
});

describe("TCP relay (RFC 6062)", () => {
  test("a client connects to a peer from its relayed address; bytes flow both ways, and so do their ends", async () => {
    const relay = await startStreams();
    const control = await link(relay, "tcp");
    const peer = await openTcpPeer();
    const relayed = await allocated(control, "tcp");
    const id = await control.connectPeer(peer.local);
    expect(id).toBeGreaterThan(0);
    const atPeer = await peer.next();
    expect(atPeer.remotePort).toBe(relayed.port);
    // What the peer says before the client has bound waits.
    atPeer.write("hello ");
    for (const transport of ["tcp"] as const) {
      const dataClient = await link(relay, transport);
      expect(await dataClient.bindConnection(id)).toBe("success");
      const { stream } = dataClient.link;
      if (stream === undefined) throw new Error("No stream");
      atPeer.write("client");
      expect(String(await read(stream, 12))).toBe("hello client");
      const large = bytes(5_000_000);
      stream.write(large);
      atPeer.pause();
      expect(Buffer.compare(await read(atPeer, large.length), large)).toBe(0);
      // The client finishes; the peer may still answer.
      stream.end();
      atPeer.resume();
      await once(atPeer, "end");
      atPeer.end("goodbye");
      expect(String(await read(stream, 7))).toBe("goodbye");
    }
    await vi.waitUntil(() => relay.stats().streams.peerConnections === 0);
    expect(await control.refresh(0)).toBe("success");
    expect(relay.stats()).toMatchObject({ allocations: 0, portsInUse: 0 });
  });

  test("bytes that follow a ConnectionBind in the same packet reach the peer", async () => {
    const relay = await startStreams();
    const control = await link(relay, "tcp");
    const peer = await openTcpPeer();
    await allocated(control, "tcp");
    const id = await control.connectPeer(peer.local);
    const atPeer = await peer.next();
    const dataClient = await link(relay, "tcp");
    dataClient.stun.learn(
      await dataClient.exchange(dataClient.stun.plain("connectionBind", [attribute(connectionId, id)])),
    );
    const request = dataClient.stun.signed("connectionBind", [attribute(connectionId, id)]);
    dataClient.send(Buffer.concat([request, Buffer.from("early bird")]));
    expect(String(await read(atPeer, 10))).toBe("early bird");
  });

  test.each(["tls", "ws", "wss"] as const)("over %s too", async (transport) => {
    const relay = await startStreams();
    const control = await link(relay, transport);
    const peer = await openTcpPeer();
    await allocated(control, "tcp");
    const id = await control.connectPeer(peer.local);
    const atPeer = await peer.next();
    const dataClient = await link(relay, transport);
    expect(await dataClient.bindConnection(id)).toBe("success");
    const { stream } = dataClient.link;
    if (stream === undefined) throw new Error("No stream");
    atPeer.write("secret");
    expect(String(await read(stream, 6))).toBe("secret");
    stream.write(bytes(100_000));
    expect((await read(atPeer, 100_000)).length).toBe(100_000);
    stream.resume();
    atPeer.destroy();
    stream.end();
    await dataClient.closed;
    await vi.waitUntil(() => relay.stats().streams.peerConnections === 0);
  });

  test("a peer with a permission may call, one without may not", async () => {
    const relay = await startStreams();
    const control = await link(relay, "tcp");
    const relayed = await allocated(control, "tcp");
    const refused = await raw(relayed);
    await refused.ended;
    expect(await control.permit(transportAddress("127.0.0.1", 0x1234))).toBe("success");
    const { socket } = await raw(relayed);
    const attempt = stunOf((await control.receive()) ?? new Uint8Array());
    expect(attempt.methodName).toBe("connectionAttempt");
    const id = getAttribute(attempt, connectionId);
    if (!id?.ok) throw new Error("CONNECTION-ID is missing");
    const dataClient = await link(relay, "tcp");
    expect(await dataClient.bindConnection(id.value)).toBe("success");
    socket.write("called");
    const { stream } = dataClient.link;
    expect(stream && String(await read(stream, 6))).toBe("called");
  });

  test("security case 16: another user's connection id is refused", async () => {
    const relay = await startStreams();
    const control = await link(relay, "tcp");
    const peer = await openTcpPeer();
    await allocated(control, "tcp");
    const id = await control.connectPeer(peer.local);
    const thief = await link(relay, "tcp", { credentials: BOB });
    expect(await thief.bindConnection(id)).toBe(441);
    const owner = await link(relay, "tcp");
    expect(await owner.bindConnection(id)).toBe("success");
  });

  test("security case 17: a duplicate Connect gets 446, and dialling delays nobody", async () => {
    const relay = await startStreams({ peers: { allow: ["127.0.0.0/8", "192.0.2.0/24"] } });
    const control = await link(relay, "tcp");
    const peer = await openTcpPeer();
    await allocated(control, "tcp");
    expect(await control.connectPeer(peer.local)).toBeGreaterThan(0);
    expect(await control.connectPeer(peer.local)).toBe(-446);
    // Nobody answers there, or nobody is there: 447 comes at once or late, and meanwhile all goes on.
    const silent = transportAddress("192.0.2.1", 9);
    control.send(control.stun.signed("connect", [attribute(xorPeerAddress, silent)]));
    expect(await control.refresh(600)).toBe("success");
    const closed = transportAddress("127.0.0.1", 1);
    expect(await control.connectPeer(closed)).toBe(-447);
    expect(await control.connectPeer(closed)).toBe(-447);
  });

  test("security case 4: denied peers are refused on Connect as on CreatePermission", async () => {
    const relay = await startStreams({ peers: {} });
    const control = await link(relay, "tcp");
    await allocated(control, "tcp");
    const peer = await openTcpPeer();
    expect(await control.connectPeer(peer.local)).toBe(-403);
    expect(await control.permit(peer.local)).toBe(403);
  });

  test("over UDP and DTLS it is refused, and 442 where TCP relay sockets are turned off", async () => {
    const relay = await startStreams({ tcpRelay: false });
    expect(await (await link(relay, "tcp")).allocate("tcp")).toBe(442);
    const other = await startStreams();
    expect(await (await link(other, "dtls")).allocate("tcp")).toBe(400);
    const udp = await openClient(other);
    expect(outcomeOf(await udp.request("allocate", [attribute(requestedTransport, 6)]))).toBe(400);
  });
});

describe("limits", () => {
  test("security case 5: who never finishes a handshake, or sends no TURN, is closed", async () => {
    const relay = await startStreams({ streams: { handshakeTimeoutMs: 150 } });
    const server = serverOf(relay, "tcp");
    const silent = await raw(server);
    const halfTls = await raw(server);
    halfTls.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    const halfHttp = await raw(server);
    halfHttp.socket.write("GET / HTTP/1.1\r\nHost: x\r\n");
    const noise = await raw(server);
    noise.socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    const channelData = await raw(server);
    channelData.socket.write(Buffer.from([0x40, 0x00, 0xff, 0xff]));
    const badCookie = await raw(server);
    badCookie.socket.write(Buffer.from([0x00, 0x01, 0x00, 0x00, 1, 2, 3, 4]));
    await Promise.all([silent, halfTls, halfHttp, noise, channelData, badCookie].map(({ ended }) => ended));
    await vi.waitUntil(() => relay.stats().streams.connections === 0);
    expect(relay.stats().streams).toMatchObject({ failedHandshakes: 5, malformed: 1 });
  });

  test("security case 5: a ChannelData length of 0xFFFC to 0xFFFF wraps nowhere, and short ones don't wait", async () => {
    const relay = await startStreams();
    const client = await link(relay, "tcp");
    const peer = await openPeer();
    await allocated(client);
    expect(await client.bind(0x4001, peer.local)).toBe("success");
    for (const length of [0xfffc, 0xfffd, 0xfffe, 0xffff]) {
      // Larger than any datagram: dropped, and the stream goes on behind it.
      client.sendOn(0x4001, bytes(length));
      client.sendOn(0x4001, bytes(1, length & 0xff));
      expect([...(await peer.receive()).bytes]).toEqual([...bytes(1, length & 0xff)]);
    }
  });

  test("security case 5: connections of one prefix, and in all, are capped", async () => {
    const relay = await startStreams({ streams: { maxConnectionsPerPrefix: 3 } });
    const server = serverOf(relay, "tcp");
    const kept = await Promise.all([0, 1, 2].map(() => raw(server)));
    await vi.waitUntil(() => relay.stats().streams.connections === 3);
    await (
      await raw(server)
    ).ended;
    expect(relay.stats().streams.refused).toBe(1);
    kept[0]?.socket.destroy();
    await vi.waitUntil(() => relay.stats().streams.connections === 2);
    expect((await allocated(await link(relay, "tcp"))).family).toBe(4);
  });

  test("a connection without allocation is closed when it is silent; one with an allocation stays", async () => {
    const relay = await startStreams({ streams: { idleTimeoutMs: 200 } });
    const idle = await Promise.all((["tcp", "wss", "dtls"] as const).map((transport) => link(relay, transport)));
    for (const client of idle) await client.exchange(client.stun.plain("binding"));
    const busy = await link(relay, "tls");
    await allocated(busy);
    await Promise.all(idle.map(({ closed }) => closed));
    await vi.waitUntil(() => relay.stats().streams.connections === 1);
    expect(relay.stats().streams.idle).toBe(3);
    expect(await busy.refresh(600)).toBe("success");
  });

  test("security case 18: a client that doesn't read loses its oldest datagrams, counted, and no answer", async () => {
    const relay = await startStreams({ streams: { maxOutputQueueBytes: 65_536 } });
    const client = await link(relay, "tcp");
    const peer = await openPeer();
    const relayed = await allocated(client);
    expect(await client.bind(0x4001, peer.local)).toBe("success");
    client.link.stream?.pause();
    const datagram = bytes(50_000);
    const before = relay.stats();
    let sent = 0;
    while (relay.stats().streams.droppedDatagrams < 50) {
      peer.send(datagram, relayed);
      sent++;
      await new Promise((resolve) => setImmediate(resolve));
      if (sent > 5000) expect.unreachable("nothing was dropped");
    }
    // The answer to this finds a full queue.
    const refreshed = client.refresh(600);
    await vi.waitUntil(() => relay.stats().traffic.packetsFromClients > before.traffic.packetsFromClients);
    client.link.stream?.resume();
    expect(await refreshed).toBe("success");
    const last = bytes(10, 9);
    peer.send(last, relayed);
    for (;;) {
      const message = await client.receive();
      if (message?.length === 14) break;
      expect(message?.length).toBe(datagram.length + 4);
    }
    expect(relay.stats().streams.unread).toBe(0);
  });
});

describe("PROXY protocol", () => {
  const trusting = { trustedProxies: ["127.0.0.1/32"] };

  test.each(["tcp", "tls", "wss"] as const)(
    "the client's address is what a trusted proxy says, over %s",
    async (transport) => {
      const relay = await startStreams(trusting);
      const line = Buffer.from("PROXY TCP4 198.51.100.7 127.0.0.1 4711 3478\r\n");
      const client = await link(relay, transport, { preamble: line });
      const mapped = getAttribute(await client.exchange(client.stun.plain("binding")), xorMappedAddress);
      expect(mapped?.ok && sameTransportAddress(mapped.value, transportAddress("198.51.100.7", 4711))).toBe(true);
      expect((await allocated(client)).family).toBe(4);
    },
  );

  test("from a trusted proxy the header must be there, from others it must not", async () => {
    const relay = await startStreams(trusting);
    const bare = await raw(serverOf(relay, "tcp"));
    bare.socket.write(new Uint8Array(20));
    await bare.ended;
    const other = await startStreams();
    await expect(
      openStream({
        transport: "tls",
        server: serverOf(other, "tls"),
        ca: certificate.pem,
        preamble: Buffer.from("PROXY TCP4 198.51.100.7 127.0.0.1 4711 3478\r\n"),
      }),
    ).rejects.toThrow();
    expect(relay.stats().streams.failedHandshakes).toBe(1);
  });
});

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
