import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { Readable, Writable, type Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { allocate, createTurnHintHandler } from "@turnpike/client";
import { Connector, netcat } from "@turnpike/hints";
import type { Relay } from "@turnpike/relay";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { ALICE, keep, startTestRelay } from "../support/relay.ts";

const certificate = new TestCertificate();

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What a peer sends, and when it begins to read. */
interface Play {
  readonly scheme: "turn" | "turns";
  readonly bytesThere: number;
  readonly bytesBack: number;
  /** The peer sends its end before it reads anything. */
  readonly peerEndsFirst: boolean;
}

async function listenFor(
  play: Play,
  back: Buffer,
): Promise<{ readonly port: number; readonly received: Promise<Buffer> }> {
  const got = Promise.withResolvers<Buffer>();
  const serve = async (socket: Socket): Promise<void> => {
    socket.on("error", got.reject);
    const sent = new Promise<void>((resolve) => socket.end(back, resolve));
    if (play.peerEndsFirst) await sent;
    got.resolve(await buffer(socket));
  };
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    void serve(socket).catch((error: unknown) => got.reject(error));
  });
  got.promise.catch(() => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  keep({
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return { port: (server.address() as AddressInfo).port, received: got.promise };
}

/** A stream through the relay; whoever closes it gives the allocation back at once. */
async function connectThrough(relay: Relay, play: Play, port: number): Promise<Duplex> {
  const connector = new Connector({ policy: { allow: ["127.0.0.1"] } });
  const transport = play.scheme === "turn" ? "tcp" : "tls";
  const local = relay.listening.find((listener) => listener.transport === transport)?.local;
  connector.addHintHandler(
    "turn",
    createTurnHintHandler({
      relay: `${play.scheme}:127.0.0.1:${local?.port}?transport=tcp`,
      username: ALICE.username,
      credential: ALICE.password,
      connector,
      tls: { ca: String(certificate.pem) },
    }),
  );
  const { stream } = await connector.connect({ hints: [`turn:127.0.0.1:${port}`] });
  return stream;
}

test("TCP relay: every byte of both directions arrives, whoever ends first, though the allocation is given back at once", async () => {
  const relay = await startTestRelay({ listen: ["tcp:127.0.0.1:0", "udp:127.0.0.1:0"], tls: certificate });
  const play = fc.record({
    scheme: fc.constantFrom("turn" as const, "turns" as const),
    bytesThere: fc.integer({ min: 0, max: 3_000_000 }),
    bytesBack: fc.integer({ min: 0, max: 3_000_000 }),
    peerEndsFirst: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(play, async (each) => {
      const there = randomBytes(each.bytesThere);
      const back = randomBytes(each.bytesBack);
      const peer = await listenFor(each, back);
      const stream = await connectThrough(relay, each, peer.port);
      const chunks: Buffer[] = [];
      const output = new Writable({
        write(chunk: Buffer, _encoding, done) {
          chunks.push(chunk);
          done();
        },
      });
      await netcat(stream, { input: Readable.from([there]), output });
      expect(hashOf(Buffer.concat(chunks))).toBe(hashOf(back));
      expect(hashOf(await peer.received)).toBe(hashOf(there));
    }),
    { numRuns: 25 },
  );
});

/** A connection through an allocation, and the peer's end of it, which nobody reads. */
async function connectedPair(relay: Relay) {
  const arrived = Promise.withResolvers<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, arrived.resolve);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = relay.listening.find((listener) => listener.transport === "tcp")?.local.port;
  const allocation = await allocate(`turn:127.0.0.1:${port}?transport=tcp`, {
    username: ALICE.username,
    credential: ALICE.password,
    relay: "tcp",
  });
  const stream = await allocation.connect(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  const peer = await arrived.promise;
  peer.on("error", () => undefined);
  server.close();
  return { allocation, stream, peer };
}

/** Resolves when the other side has ended a stream, or cut it. */
function over(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    for (const event of ["end", "close"]) stream.once(event, () => resolve());
  });
}

test("TCP relay: what was sent before the allocation was given back reaches a peer that reads later", async () => {
  const relay = await startTestRelay({ listen: ["tcp:127.0.0.1:0"] });
  const { allocation, stream, peer } = await connectedPair(relay);
  const sent = randomBytes(1_000_000);
  peer.end();
  stream.resume();
  stream.end(sent);
  await once(stream, "close");
  await allocation.close();
  await vi.waitUntil(() => relay.stats().allocations === 0, { timeout: 30_000 });
  expect(hashOf(await buffer(peer))).toBe(hashOf(sent));
});

test("TCP relay: a client that goes on sending without its allocation is cut off", async () => {
  const relay = await startTestRelay({ listen: ["tcp:127.0.0.1:0"], streams: { halfClosedTimeoutMs: 200 } });
  const { allocation, stream, peer } = await connectedPair(relay);
  stream.on("error", () => undefined);
  peer.resume();
  const closed = [over(stream), over(peer)];
  await allocation.close();
  const writing = setInterval(() => stream.write("x"), 10);
  await Promise.all(closed);
  clearInterval(writing);
  expect(relay.stats().streams.peerConnections).toBe(0);
});

test("TCP relay: an allocation that is ended by the relay ends its connections at once", async () => {
  const relay = await startTestRelay({ listen: ["tcp:127.0.0.1:0"] });
  const { stream, peer } = await connectedPair(relay);
  stream.on("error", () => undefined);
  stream.resume();
  peer.resume();
  const closed = [over(stream), over(peer)];
  await relay.endAllocations({ by: "username", value: ALICE.username }, "administrator");
  await Promise.all(closed);
  expect(relay.stats().allocations).toBe(0);
});
