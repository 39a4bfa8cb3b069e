import { createSocket } from "node:dgram";
import { getEventListeners, once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { allocate, binding, type AllocateOptions, type Allocation } from "@turnpike/client";
import type { ClientTransport } from "@turnpike/turn";
import { afterEach, expect, test, vi } from "vitest";
import { TestAuthority } from "../../support/certificates.ts";
import { EngineServer } from "../../support/engine-server.ts";

const ALICE = { username: "alice", credential: "wonderland" };
const TRANSPORTS: readonly ClientTransport[] = ["udp", "tcp", "tls", "dtls", "ws", "wss"];
const PATIENCE = { timeout: 30_000, interval: 20 };

const authority = new TestAuthority();
const certificate = authority.issue(["127.0.0.1"]);
const tls = { ca: authority.ca };
const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function serve(options: Parameters<typeof EngineServer.start>[0] = {}): Promise<EngineServer> {
  const server = await EngineServer.start({ transports: TRANSPORTS, certificate, ...options });
  open.push(server);
  return server;
}

async function allocated(server: EngineServer, transport: ClientTransport, options: AllocateOptions = {}) {
  const allocation = await allocate(server.uri(transport), { ...ALICE, tls, ...options } as AllocateOptions);
  open.push(allocation);
  return allocation;
}

/** A TCP peer that takes connections and says nothing. */
async function silentPeer(): Promise<{ readonly address: string; readonly sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on("error", () => undefined)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

/** How many of these keep this process going. */
function active(...names: readonly string[]): number {
  return process.getActiveResourcesInfo().filter((name) => names.includes(name)).length;
}

const SOCKETS = ["TCPSocketWrap", "UDPWrap"];

test("after close, failure and abort no socket, timer or listener is left", async () => {
  const [sockets, timers] = [active(...SOCKETS), active("Timeout")];
  const controller = new AbortController();
  const { signal } = controller;
  const server = await serve();
  for (const transport of TRANSPORTS) {
    const allocation = await allocate(server.uri(transport), { ...ALICE, tls, signal });
    await allocation.permit("127.0.0.1", { signal });
    await allocation.bindChannel("127.0.0.1:9", { signal });
    allocation.send("127.0.0.1:9", "x");
    await allocation.refresh({ signal });
    await allocation.close();
    await expect(allocate(server.uri(transport), { ...ALICE, credential: "no", tls, signal })).rejects.toThrow("401");
    await binding(server.uri(transport), { tls, signal });
    if (transport === "tls" || transport === "dtls" || transport === "wss") {
      await expect(allocate(server.uri(transport), { ...ALICE, signal })).rejects.toThrow("certificate");
    }
  }
  expect(getEventListeners(signal, "abort")).toEqual([]);
  await server[Symbol.asyncDispose]();
  open.length = 0;
  await vi.waitFor(() => expect(active(...SOCKETS)).toBeLessThanOrEqual(sockets), PATIENCE);
  expect(active("Timeout")).toBeLessThanOrEqual(timers);
});

test("what waits for a permission is a copy: the caller may use its buffer again", async () => {
  const server = await serve();
  const [alice, bob] = [await allocated(server, "udp"), await allocated(server, "udp")];
  await bob.permit("127.0.0.1");
  const buffer = Buffer.from("hello");
  alice.send(bob.relayedAddress, buffer);
  buffer.fill("x");
  for await (const { data } of bob) {
    expect(Buffer.from(data).toString()).toBe("hello");
    break;
  }
});

test.each(["tcp", "tls"] as const)(
  "a server that grants over %s and goes away at once: it is told",
  async (transport) => {
    const server = await serve({ hangUpAfterAllocate: true });
    // Either the Allocate fails, or its allocation says that it is over: never one that nobody ends.
    const outcome = await allocated(server, transport).then(
      (allocation) => allocation.closed,
      (error: unknown) => error,
    );
    expect(outcome).toMatchObject({ code: "transportFailed" });
  },
);

test("close ends the connections to peers, and what is being opened", async () => {
  const server = await serve();
  const calls: Duplex[] = [];
  const allocation = await allocated(server, "tcp", { relay: "tcp", onConnection: (call) => calls.push(call) });
  const [first, second] = [await silentPeer(), await silentPeer()];
  const connection = await allocation.connect(first.address);
  const closed = once(connection, "close");
  server.holdBinds = true;
  const opening = allocation.connect(second.address);
  const rejected = expect(opening).rejects.toMatchObject({ code: "closed" });
  await vi.waitFor(() => expect(server.heldBinds).toBe(1), PATIENCE);
  await allocation.close();
  await rejected;
  await closed;
  expect(connection.destroyed).toBe(true);
});

test("an allocation that is lost takes its connections to peers along", async () => {
  const server = await serve();
  const allocation = await allocated(server, "tcp", { relay: "tcp" });
  const peer = await silentPeer();
  const connection = await allocation.connect(peer.address);
  const closed = once(connection, "close");
  server.breakControl();
  expect(await allocation.closed).toMatchObject({ code: "transportFailed" });
  await closed;
});

test("two moves at a time: one after the other, and both hold", async () => {
  const server = await serve();
  const allocation = await allocated(server, "tcp", { mobility: true });
  await Promise.all([allocation.move(), allocation.move()]);
  expect(await allocation.refresh()).toBe(600);
  const other: Allocation = await allocated(server, "udp");
  await other.permit("127.0.0.1");
  allocation.send(other.relayedAddress, "still me");
  for await (const { data } of other) {
    expect(Buffer.from(data).toString()).toBe("still me");
    break;
  }
});

test("binding asks the next server when the first doesn't answer", async () => {
  const server = await serve();
  const unused = createSocket("udp4");
  unused.bind(0, "127.0.0.2");
  await once(unused, "listening");
  unused.close();
  const { port } = server.listening.get("udp")!;
  const resolver = { addresses: async () => ["127.0.0.2", "127.0.0.1"], srv: async () => [], naptr: async () => [] };
  expect(await binding(`stun:stun.example:${port}`, { resolver })).toMatchObject({ family: 4 });
  const nowhere = { ...resolver, addresses: async () => ["127.0.0.2", "127.0.0.3"] };
  await expect(binding(`stun:stun.example:${port}`, { resolver: nowhere, transports: ["udp"] })).rejects.toMatchObject({
    code: "allFailed",
    errors: [{ code: "transportFailed" }, { code: "transportFailed" }],
  });
});

test("an iterator that waits ends when its allocation is closed, and can be left before", async () => {
  const server = await serve();
  const allocation = await allocated(server, "udp");
  const waiting = allocation[Symbol.asyncIterator]().next();
  const another = allocation[Symbol.asyncIterator]().next();
  await allocation.close();
  expect(await Promise.all([waiting, another])).toEqual([
    { done: true, value: undefined },
    { done: true, value: undefined },
  ]);
});
