import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { Readable } from "node:stream";
import {
  attribute,
  connectionId,
  getAttribute,
  requestedTransport,
  type TransportAddress,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { describe, expect, test, vi } from "vitest";
import { outcomeOf, stunOf } from "../sim/support/stun-client.ts";
import { BOB, bytes, keep, openClient } from "../support/relay.ts";
import { allocated, link, raw, startStreams } from "../support/streams.ts";

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
