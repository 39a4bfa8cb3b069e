import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { allocate, binding, TurnClientError, type Allocation, type AllocateOptions } from "@turnpike/client";
import { formatTransportAddress, transportAddress } from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { TestAuthority, type TestCertificate } from "../../support/certificates.ts";
import { EngineServer } from "../../support/engine-server.ts";

const ALICE = { username: "alice", credential: "wonderland" };
const TRANSPORTS: readonly ClientTransport[] = ["udp", "tcp", "tls", "dtls", "ws", "wss"];

const SECURE = ["tls", "dtls", "wss"] as const;

let authority: TestAuthority;
let certificate: TestCertificate;
const open: AsyncDisposable[] = [];

beforeAll(() => {
  authority = new TestAuthority();
  certificate = authority.issue(["localhost", "127.0.0.1"]);
});

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function keep<T extends AsyncDisposable>(each: T): T {
  open.push(each);
  return each;
}

async function serve(options: Parameters<typeof EngineServer.start>[0] = {}): Promise<EngineServer> {
  return keep(await EngineServer.start({ transports: TRANSPORTS, certificate, ...options }));
}

async function allocated(
  server: EngineServer,
  transport: ClientTransport,
  options: AllocateOptions = {},
): Promise<Allocation> {
  const trusted = { ...ALICE, tls: { ca: authority.ca }, ...options } as AllocateOptions;
  return keep(await allocate(server.uri(transport), trusted));
}

/** A TCP peer that sends back what it gets. */
async function echoServer(): Promise<{ readonly address: string; readonly sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  keep({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

async function firstBytes(stream: Duplex, length: number): Promise<string> {
  let text = "";
  for await (const chunk of stream) {
    text += String(chunk);
    if (text.length >= length) break;
  }
  return text;
}

describe.each(TRANSPORTS)("over %s", (transport) => {
  test("two clients reach each other, by indications and by channels", async () => {
    const server = await serve();
    const [alice, bob] = [await allocated(server, transport), await allocated(server, transport)];
    expect(alice.mappedAddress).toMatchObject({ family: 4 });
    expect(alice.security?.applicationProtocol).toBe(
      { udp: undefined, tcp: undefined, tls: "stun.turn", dtls: "stun.turn", ws: undefined, wss: "http/1.1" }[
        transport
      ],
    );
    await bob.permit("127.0.0.1");
    alice.send(formatTransportAddress(bob.relayedAddress), "hello");
    for await (const { data, peer, channel } of bob) {
      expect([Buffer.from(data).toString(), peer, channel]).toEqual(["hello", alice.relayedAddress, 0]);
      break;
    }
    expect(await bob.bindChannel(alice.relayedAddress)).toBe(0x4000);
    for (const length of [0, 1, 2, 3, 4, 5, 1200]) bob.send(alice.relayedAddress, new Uint8Array(length).fill(length));
    const lengths: number[] = [];
    for await (const { data } of alice) {
      lengths.push(data.length);
      if (lengths.length === 7) break;
    }
    expect(lengths.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 1200]);
    expect(alice.stats).toEqual({ sent: 1, received: 7, droppedIncoming: 0, droppedOutgoing: 0 });
    expect(await alice.refresh({ lifetimeSeconds: 1000 })).toBe(1000);
    await Promise.all([alice.close(), alice.close(), bob.close()]);
    expect(await alice.closed).toBeUndefined();
    expect(server.server.allocationCount).toBe(0);
    expect(() => alice.send("127.0.0.1:9", "x")).toThrow(TurnClientError);
  });

  test("binding", async () => {
    const server = await serve();
    const mapped = await binding(server.uri(transport), { tls: { ca: authority.ca } });
    expect(mapped).toMatchObject({ family: 4, w3: transportAddress("127.0.0.1", 0).w3 });
  });

  test("a wrong credential is told as what it is", async () => {
    const server = await serve();
    await expect(allocated(server, transport, { credential: "no" } as AllocateOptions)).rejects.toMatchObject({
      code: "unauthenticated",
      message: 'Cannot allocate: the server doesn\'t accept the user name and credential (401, realm "example.org")',
    });
  });
});

describe("TCP allocations (RFC 6062)", () => {
  test.each(["tcp", "tls"] as const)("over %s: out to a peer and back, and to its end", async (transport) => {
    const server = await serve();
    const allocation = await allocated(server, transport, { relay: "tcp" });
    const peer = await echoServer();
    const connection = await allocation.connect(peer.address);
    connection.write("ping");
    expect(await firstBytes(connection, 4)).toBe("ping");
    const second = await echoServer();
    const other = await allocation.connect(second.address);
    second.sockets[0]!.end("bye");
    expect(await firstBytes(other, 100)).toBe("bye");
    expect(() => allocation.send("127.0.0.1:9", "x")).toThrow("use connect()");
  });

  test("a peer that calls comes in as a stream", async () => {
    const server = await serve();
    const calls: Duplex[] = [];
    const called = Promise.withResolvers<void>();
    const onConnection = (connection: Duplex): void => {
      calls.push(connection);
      called.resolve();
    };
    const callee = await allocated(server, "tcp", { relay: "tcp", onConnection });
    await callee.permit("127.0.0.1");
    const caller = await allocated(server, "tcp", { relay: "tcp" });
    const connection = await caller.connect(callee.relayedAddress);
    connection.write("who is there?");
    await called.promise;
    expect(await firstBytes(calls[0]!, 13)).toBe("who is there?");
  });

  test("a peer that isn't there is 447; UDP can't carry it", async () => {
    const server = await serve();
    const allocation = await allocated(server, "tcp", { relay: "tcp" });
    await expect(allocation.connect("127.0.0.1:1")).rejects.toMatchObject({ code: "refused", serverCode: 447 });
    await expect(allocated(server, "udp", { relay: "tcp" })).rejects.toThrow("needs a TCP or TLS transport");
  });
});

describe("who the server is", () => {
  test.each(SECURE)("%s: an unknown authority, a wrong name, a wrong key: refused, unsent", async (transport) => {
    const server = await serve();
    const uri = server.uri(transport);
    await expect(allocate(uri, ALICE)).rejects.toMatchObject({ code: "certificateRejected" });
    const elsewhere = server.uri(transport, "other.example");
    const resolver = { addresses: async () => ["127.0.0.1"], srv: async () => [], naptr: async () => [] };
    const trusted = { ...ALICE, resolver, tls: { ca: authority.ca } };
    await expect(allocate(elsewhere, trusted)).rejects.toMatchObject({ code: "certificateRejected" });
    const wrong = { pins: [`sha256/${Buffer.alloc(32).toString("base64")}`] };
    await expect(allocate(uri, { ...ALICE, tls: wrong })).rejects.toMatchObject({ code: "certificateRejected" });
    for (const mistake of [{ pins: ["abc"] }, { ca: certificate.key }, { ca: [] }]) {
      await expect(allocate(uri, { ...ALICE, tls: mistake })).rejects.toThrow(TypeError);
    }
    expect(server.server.allocationCount).toBe(0);
  });

  test.each(SECURE)("a pinned key is enough over %s", async (transport) => {
    const server = await serve();
    const pin = createHash("sha256").update(certificate.spki).digest("base64");
    const allocation = await allocated(server, transport, { tls: { pins: [pin] } });
    expect(allocation.security?.protocol).toBe(transport === "dtls" ? "DTLSv1.2" : "TLSv1.3");
  });

  test.each(["tls", "dtls"] as const)("RFC 7443: what ALPN agrees on over %s can be chosen", async (transport) => {
    const server = await serve();
    const ca = authority.ca;
    const offering = async (applicationProtocols: readonly string[]) => {
      const allocation = await allocated(server, transport, { tls: { ca, applicationProtocols } });
      return allocation.security?.applicationProtocol;
    };
    expect(await offering(["stun.nat-discovery"])).toBe("stun.nat-discovery");
    expect(await offering([])).toBeUndefined();
    await expect(offering(["h2"])).rejects.toMatchObject({
      code: "notConnected",
      message: expect.stringMatching(/no.application.protocol/i),
    });
  });

  test.each(["tls", "dtls"] as const)(
    "RFC 7443: over %s stuns: is NAT discovery, turns: is TURN",
    async (transport) => {
      const server = await serve({ applicationProtocols: ["stun.nat-discovery"] });
      const tls = { ca: authority.ca };
      await expect(binding(server.uri(transport), { tls })).rejects.toMatchObject({ code: "notConnected" });
      const { port } = server.listening.get(transport)!;
      expect(await binding(`stuns:127.0.0.1:${port}`, { tls, transports: [transport] })).toMatchObject({ family: 4 });
    },
  );
});

describe("what goes wrong", () => {
  test("DTLS to who doesn't speak it: told after the time-out, at once if nobody listens, and by an abort", async () => {
    const silent = createSocket("udp4");
    silent.bind(0, "127.0.0.1");
    await once(silent, "listening");
    const uri = `turns:127.0.0.1:${silent.address().port}?transport=udp`;
    await expect(allocate(uri, { ...ALICE, connectTimeoutMs: 300 })).rejects.toMatchObject({
      code: "notConnected",
      message: expect.stringContaining("no answer within 0.3 s"),
    });
    const controller = new AbortController();
    silent.once("message", () => controller.abort(new Error("enough")));
    await expect(allocate(uri, { ...ALICE, signal: controller.signal })).rejects.toThrow("enough");
    silent.close();
    await once(silent, "close");
    await expect(allocate(uri, ALICE)).rejects.toMatchObject({
      code: "notConnected",
      message: expect.stringContaining("ECONNREFUSED"),
    });
  });

  test("a DTLS handshake survives lost datagrams", async () => {
    const server = await serve();
    const { port } = server.listening.get("dtls")!;
    const lossy = createSocket("udp4");
    const inner = createSocket("udp4");
    lossy.bind(0, "127.0.0.1");
    await once(lossy, "listening");
    let client = 0;
    let count = 0;
    lossy.on("message", (data, from) => {
      client = from.port;
      // The first ClientHello, and the flight that ends with Finished.
      const isLost = [1, 4].includes(++count);
      if (!isLost) inner.send(data, port, "127.0.0.1");
    });
    inner.on("message", (data) => lossy.send(data, client, "127.0.0.1"));
    keep({
      async [Symbol.asyncDispose]() {
        lossy.close();
        inner.close();
      },
    });
    const uri = `turns:127.0.0.1:${lossy.address().port}?transport=udp`;
    const allocation = keep(await allocate(uri, { ...ALICE, tls: { ca: authority.ca }, connectTimeoutMs: 60_000 }));
    expect(allocation.transport).toBe("dtls");
    expect(count).toBeGreaterThan(5);
  });

  test("a datagram that is longer than a DTLS record is dropped, and counted", async () => {
    const server = await serve();
    const allocation = await allocated(server, "dtls");
    await allocation.permit("127.0.0.1");
    expect(allocation.send("127.0.0.1:9", new Uint8Array(16_000))).toBe(true);
    expect(allocation.send("127.0.0.1:9", new Uint8Array(16_384))).toBe(false);
    const plain = await allocated(server, "udp");
    await plain.permit("127.0.0.1");
    expect(plain.send("127.0.0.1:9", new Uint8Array(65_500))).toBe(false);
    expect([allocation.stats, plain.stats]).toMatchObject([
      { sent: 1, droppedOutgoing: 1 },
      { sent: 0, droppedOutgoing: 1 },
    ]);
  });

  test("nobody listens: told at once, over UDP too", async () => {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const { port } = socket.address();
    socket.close();
    await once(socket, "close");
    await expect(allocate(`turn:127.0.0.1:${port}`, ALICE)).rejects.toMatchObject({
      code: "allFailed",
      errors: [
        { code: "transportFailed", message: expect.stringContaining("ECONNREFUSED") },
        { code: "notConnected", message: expect.stringContaining("ECONNREFUSED") },
      ],
    });
  });

  test("half of the credentials, a stun: URI and an empty list of families are mistakes", async () => {
    await expect(allocate("turn:127.0.0.1", { username: "alice" } as AllocateOptions)).rejects.toThrow(TypeError);
    await expect(allocate("stun:127.0.0.1", ALICE)).rejects.toThrow(TypeError);
    const server = await serve();
    await expect(allocated(server, "udp", { families: [] })).rejects.toThrow(TypeError);
  });

  test("an abort ends each step, and leaves nothing at the server", async () => {
    const server = await serve({ authenticate: () => ({ kind: "pending" }) });
    for (const transport of TRANSPORTS) {
      const controller = new AbortController();
      const allocating = allocated(server, transport, { signal: controller.signal });
      setTimeout(() => controller.abort(new Error("enough")), 50);
      await expect(allocating).rejects.toThrow("enough");
      await expect(allocated(server, transport, { signal: controller.signal })).rejects.toThrow("enough");
    }
    const aborted = AbortSignal.abort(new Error("enough"));
    const other = await serve();
    const allocation = await allocated(other, "udp");
    await expect(allocation.permit("127.0.0.1", { signal: aborted })).rejects.toThrow("enough");
    await expect(allocation.bindChannel("127.0.0.1:9", { signal: aborted })).rejects.toThrow("enough");
    await expect(allocation.refresh({ signal: aborted })).rejects.toThrow("enough");
  });

  test.each(["tcp", "dtls"] as const)(
    "%s that breaks ends the allocation, its readers and its promises",
    async (transport) => {
      const server = await serve();
      const allocation = await allocated(server, transport);
      const reading = allocation[Symbol.asyncIterator]().next();
      server.breakConnections();
      expect(await allocation.closed).toMatchObject({ code: "transportFailed" });
      await expect(reading).rejects.toMatchObject({ code: "transportFailed" });
      await expect(allocation.permit("127.0.0.1")).rejects.toMatchObject({ code: "closed" });
      await allocation.close();
    },
  );

  test("a mobile allocation whose connection broke says so at once, and lives on by another", async () => {
    const server = await serve();
    const allocation = await allocated(server, "tcp", { mobility: true });
    await allocation.permit("127.0.0.1");
    server.breakConnections();
    while (allocation.send("127.0.0.1:9", "x")) await new Promise((resolve) => setImmediate(resolve));
    await expect(allocation.refresh()).rejects.toMatchObject({ code: "transportFailed" });
    await allocation.move();
    expect(await allocation.refresh()).toBe(600);
  });

  test("a peer that the policy forbids: the datagram is dropped, and counted, and told", async () => {
    const server = await serve();
    const lost = Promise.withResolvers<string>();
    const allocation = await allocated(server, "udp", {
      onLost: (what, _peer, failure) => lost.resolve(`${what} ${failure.code}`),
    });
    expect(allocation.send("10.0.0.1:9", "x")).toBe(true);
    expect(await lost.promise).toBe("permission refused");
    expect(allocation.stats).toMatchObject({ sent: 0, droppedOutgoing: 1 });
    await expect(allocation.permit("10.0.0.1")).rejects.toMatchObject({ serverCode: 403 });
    expect(() => allocation.send("example.org:80", "x")).toThrow("expected an address and a port");
    expect(() => allocation.send("127.0.0.1:9", new Uint8Array(65_508))).toThrow(RangeError);
  });

  test("what nobody reads is bounded", async () => {
    const server = await serve();
    const reader = await allocated(server, "udp", { queueDatagrams: 10 });
    await reader.permit("127.0.0.1");
    const writer = await allocated(server, "udp");
    await writer.permit("127.0.0.1");
    for (let i = 0; i < 200; i++) {
      writer.send(reader.relayedAddress, Uint8Array.of(i));
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    while (reader.stats.received < 100) await new Promise((resolve) => setImmediate(resolve));
    expect(reader.stats.received - reader.stats.droppedIncoming).toBeLessThanOrEqual(10);
  });
});

describe("servers and addresses that change", () => {
  test.each(["udp", "tcp", "tls", "dtls"] as const)(
    "a redirect over %s leads to the other server",
    async (transport) => {
      const second = await serve();
      const first = await serve({ admission: true });
      answerAdmissions(first, second, transport);
      const allocation = await allocated(first, transport);
      expect(formatTransportAddress(allocation.server)).toBe(formatTransportAddress(second.listening.get(transport)!));
      expect([first.server.allocationCount, second.server.allocationCount]).toEqual([0, 1]);
    },
  );

  test.each(["udp", "tcp"] as const)(
    "a mobile allocation over %s follows its client to a new port",
    async (transport) => {
      const server = await serve();
      const allocation = await allocated(server, transport, { mobility: true });
      const other = await allocated(server, "udp");
      await other.permit("127.0.0.1");
      await allocation.move();
      allocation.send(other.relayedAddress, "still me");
      for await (const { data, peer } of other) {
        expect([Buffer.from(data).toString(), peer]).toEqual(["still me", allocation.relayedAddress]);
        break;
      }
      expect(server.server.allocationCount).toBe(2);
    },
  );

  test("an allocation without a ticket stays where it is", async () => {
    const server = await serve();
    const allocation = await allocated(server, "udp");
    await expect(allocation.move()).rejects.toMatchObject({ code: "notMobile" });
    expect(await allocation.refresh()).toBe(600);
  });

  test("a family of two that can't be had is told", async () => {
    const server = await serve();
    const allocation = await allocated(server, "udp", { families: [4, 6] });
    expect(allocation.granted.addressError).toMatchObject({ family: 6, code: 440 });
  });
});

/** Has the first server send everybody to the second. */
function answerAdmissions(first: EngineServer, second: EngineServer, transport: ClientTransport): void {
  first.admit = () => ({ admitted: false, code: 300, alternateServer: second.listening.get(transport)! });
}
