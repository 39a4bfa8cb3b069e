import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, PassThrough, Readable } from "node:stream";
import { WebSocketServer } from "ws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ManualClock, streamPair } from "../test/fakes.ts";
import {
  Connector,
  connectReference,
  createIdentity,
  type Identity,
  Listener,
  type ListenerGroup,
  netcat,
  parseReference,
} from "./index.ts";

const policy = { privateAddresses: "literal", unixSockets: true } as const;

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

/** Runs netcat on a stream, with `bytes` as input; gives what came out. */
async function exchange(stream: Duplex, bytes: Buffer): Promise<Buffer> {
  const output = new PassThrough();
  const collected = collect(output);
  // In pieces, as a file is read.
  const pieces = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, index) =>
    bytes.subarray(index * 65_536, (index + 1) * 65_536),
  );
  const { sent, received } = await netcat(stream, { input: Readable.from(pieces), output });
  output.end();
  const result = await collected;
  expect([sent, received]).toEqual([bytes.length, result.length]);
  return result;
}

describe("a file both ways", () => {
  let directory: string;
  let identity: Identity;
  const groups: ListenerGroup[] = [];
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "hints-"));
    identity = createIdentity();
  });
  afterAll(async () => {
    await Promise.all(groups.map((group) => group.close()));
    await rm(directory, { recursive: true });
  });

  it.each(["tcp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0/x", "wss:127.0.0.1:0/x/y", "unix:DIR/socket"])(
    "over %s, the halves closed one after the other",
    async (template) => {
      const connector = new Connector({ policy });
      const spec = template.replace("DIR", directory);
      const there = randomBytes(3_000_000);
      const back = randomBytes(2_000_000);
      const served = Promise.withResolvers<Buffer>();
      const listener = new Listener({ gate: connector.gate, tls: identity.tlsOptions() });
      const group = listener.listen({
        specs: [spec],
        onStream: (stream) => void exchange(stream, back).then(served.resolve, served.reject),
      });
      groups.push(group);
      const { advertised } = await group.ready;
      const hints = advertised.map(({ hint }) => hint);
      const { stream } = await connector.connect({
        hints,
        identity: { kind: "pin", keyDigest: identity.keyDigest },
      });
      const [got, gotThere] = await Promise.all([exchange(stream, there), served.promise]);
      expect(sha256(got)).toBe(sha256(back));
      expect(sha256(gotThere)).toBe(sha256(there));
    },
  );

  it.each(["tcp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0", "wss:127.0.0.1:0", "unix:DIR/reference"])(
    "in a reference over %s, the halves closed one after the other",
    async (template) => {
      const connector = new Connector({ policy });
      const there = randomBytes(1_500_000);
      const back = randomBytes(1_000_000);
      const served = Promise.withResolvers<Buffer>();
      const listener = new Listener({ gate: connector.gate, identity });
      const group = listener.listen({
        specs: [template.replace("DIR", directory)],
        onStream: (stream) => void exchange(stream, back).then(served.resolve, served.reject),
      });
      groups.push(group);
      const { reference } = await group.ready;
      const { stream } = await connectReference(connector, parseReference(reference ?? ""));
      const [got, gotThere] = await Promise.all([exchange(stream, there), served.promise]);
      expect(sha256(got)).toBe(sha256(back));
      expect(sha256(gotThere)).toBe(sha256(there));
    },
  );

  it("tls and wss prove the name, or the pinned key", async () => {
    const connector = new Connector({ policy });
    const listener = new Listener({ gate: connector.gate, tls: identity.tlsOptions() });
    const streams: Duplex[] = [];
    const group = listener.listen({
      specs: ["tls:127.0.0.1:0", "wss:127.0.0.1:0"],
      onStream: (stream) => streams.push(stream),
    });
    groups.push(group);
    const { advertised } = await group.ready;
    for (const { hint } of advertised) {
      await expect(connector.connect({ hints: [hint] })).rejects.toMatchObject({ cause: { code: "wrong-name" } });
      const stranger = { kind: "pin", keyDigest: createIdentity().keyDigest } as const;
      await expect(connector.connect({ hints: [hint], identity: stranger })).rejects.toMatchObject({
        cause: { code: "wrong-key" },
      });
      const { stream } = await connector.connect({
        hints: [hint],
        identity: { kind: "pin", keyDigest: identity.keyDigest },
      });
      stream.destroy();
    }
  });
});

describe("netcat", () => {
  it("where one direction cannot end alone, waits for silence, and then ends both", async () => {
    const clock = new ManualClock();
    const [near, far] = streamPair();
    const output = new PassThrough();
    const collected = collect(output);
    const ended = new Promise((resolve) => far.once("end", resolve));
    far.on("data", () => undefined);
    const done = netcat(near, { input: Readable.from(["question"]), output, halfClose: false, clock });
    await clock.advance(4_000);
    far.write("answer");
    await clock.advance(4_000);
    expect(near.writableEnded).toBe(false);
    await clock.advance(1_000);
    await ended;
    far.end();
    expect(await done).toEqual({ sent: 8, received: 6 });
    output.end();
    expect((await collected).toString()).toBe("answer");
  });
});

describe("WebSocket", () => {
  const servers: Server[] = [];
  afterAll(() => servers.forEach((server) => server.close()));
  async function answering(status: number, headers: Record<string, string>): Promise<number> {
    const server = createServer((_request, response) => response.writeHead(status, headers).end("no"));
    server.on("upgrade", (_request, socket) => {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.end(`HTTP/1.1 ${status} X\r\n${lines.join("")}content-length: 0\r\n\r\n`);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    servers.push(server);
    return (server.address() as AddressInfo).port;
  }

  it("does not follow redirects", async () => {
    const dialled: string[] = [];
    const { nodeDialer } = await import("./network.ts");
    const connector = new Connector({
      policy,
      dialer: {
        dial(target, options) {
          dialled.push(target.kind === "tcp" ? `${target.address}:${target.port}` : target.path);
          return nodeDialer.dial(target, options);
        },
      },
    });
    const elsewhere = await answering(200, {});
    const port = await answering(302, { location: `http://127.0.0.1:${elsewhere}/` });
    await expect(connector.connect({ hints: [`ws:127.0.0.1:${port}/x`] })).rejects.toMatchObject({
      cause: { message: expect.stringContaining("HTTP 302") },
    });
    expect(dialled).toEqual([`127.0.0.1:${port}`]);
  });

  it("that is closed ends; one that is cut off is an error; text and large messages pass", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await new Promise<void>((resolve) => server.once("listening", resolve));
    const bound = server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    server.on("connection", (socket, request) => {
      if (request.url === "/closed") {
        socket.send("text ");
        socket.send(Buffer.alloc(300_000, "x"), () => socket.close());
      } else {
        socket.send("half", () => socket.terminate());
      }
    });
    const connector = new Connector({ policy });
    const closed = await connector.connect({ hints: [`ws:127.0.0.1:${port}/closed`] });
    expect((await collect(closed.stream)).toString()).toBe(`text ${"x".repeat(300_000)}`);
    const cut = await connector.connect({ hints: [`ws:127.0.0.1:${port}/cut`] });
    await expect(collect(cut.stream)).rejects.toThrow("cut off");
    server.close();
  });

  it("closes on a path that it does not serve, and on plain requests", async () => {
    const connector = new Connector({ policy });
    const listener = new Listener({ gate: connector.gate });
    const group = listener.listen({ specs: ["ws:127.0.0.1:0/right"], onStream: (stream) => stream.destroy() });
    const { listeners } = await group.ready;
    const bound = listeners[0]?.bound ?? "";
    await expect(connector.connect({ hints: [`ws:${bound}/wrong`] })).rejects.toMatchObject({
      cause: { message: expect.stringContaining("HTTP 400") },
    });
    expect((await fetch(`http://${bound}/right`)).status).toBe(404);
    await group.close();
  });
});
