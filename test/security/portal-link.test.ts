/** Security case 24: a portal that sends rubbish, half frames, a huge frame, or nothing; TLS with a wrong name. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { MAX_FRAME_LENGTH } from "@turnpike/link";
import { PortalLink, PortalLinkError, type PortalLinkOptions, webSocketConnector } from "@turnpike/relay/link";
import { afterEach, describe, expect, it } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { TestAuthority } from "../support/certificates.ts";
import { RecordingLogger } from "../../packages/relay/src/testing/recording-logger.ts";

const TOKEN = "tr_hunter2";
const clean: (() => void)[] = [];
afterEach(() => {
  for (const each of clean.splice(0).toReversed()) each();
});

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  clean.push(() => {
    server.close();
    if ("closeAllConnections" in server) server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** A portal that speaks as the test says: `talk` gets each connection, counted from 1. */
async function portal(talk: (socket: WebSocket, count: number) => void): Promise<string> {
  const server = createServer();
  const sockets = new WebSocketServer({ server, path: "/relay/websocket" });
  let count = 0;
  sockets.on("connection", (socket) => talk(socket, ++count));
  clean.push(() => sockets.clients.forEach((socket) => socket.terminate()));
  return `http://127.0.0.1:${await listen(server)}`;
}

/** Answers the join and says init. */
function behave(socket: WebSocket): void {
  socket.on("message", (data: Buffer) => {
    const { ref, topic, event } = JSON.parse(data.toString());
    socket.send(JSON.stringify({ ref, topic, event: "phx_reply", payload: { status: "ok", response: {} } }));
    if (event === "phx_join") socket.send(JSON.stringify({ ref: null, topic, event: "init", payload: {} }));
  });
}

function linkTo(url: string, options: Partial<PortalLinkOptions> = {}): { link: PortalLink; logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const link = new PortalLink({
    portal: { url },
    token: TOKEN,
    logger,
    backOff: { initialMs: 1, maxMs: 5 },
    ...options,
  });
  clean.push(() => link.stop());
  link.connect({ ipv4: "127.0.0.1", port: 3478 });
  return { link, logger };
}

const faults: Readonly<Record<string, (socket: WebSocket) => void>> = {
  rubbish: (socket) => {
    for (let index = 0; index < 20; index++) socket.send("\u0000{[");
  },
  "binary frames": (socket) => {
    for (let index = 0; index < 20; index++) socket.send(Buffer.alloc(100));
  },
  "a huge frame": (socket) => socket.send("x".repeat(MAX_FRAME_LENGTH * 3 + 1)),
  "half a frame": (socket) => {
    socket.send('{"topic":', { fin: false });
    setTimeout(() => socket.terminate(), 10);
  },
  "a broken frame": (socket) => {
    const { _socket } = socket as unknown as { _socket: { write(bytes: Uint8Array): void } };
    _socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
  },
  "the end, at once": (socket) => socket.close(1011),
  "a refusal of the join": (socket) =>
    socket.on("message", (data: Buffer) => {
      const { ref, topic } = JSON.parse(data.toString());
      socket.send(JSON.stringify({ ref, topic, event: "phx_reply", payload: { status: "error", response: {} } }));
    }),
};

describe("a faulty portal", () => {
  it.each(Object.keys(faults))("%s: the link recovers, and prints no token", async (name) => {
    const url = await portal((socket, count) => (count === 1 ? faults[name]!(socket) : behave(socket)));
    const { link, logger } = linkTo(url);
    await link.ready;
    expect(link.isUp).toBe(true);
    expect(logger.messages("warn")).toContain("The portal link is away: what lives goes on");
    expect(logger.lines.map(({ text }) => text).join("\n")).not.toContain("hunter2");
    expect(logger.lines.map(({ text }) => text).join("\n")).not.toContain(link.stampSecret);
  });

  it("which says nothing at all is left and tried again", async () => {
    const url = await portal((socket, count) => {
      if (count > 1) behave(socket);
    });
    const { link } = linkTo(url, { times: { joinMs: 20 } });
    await link.ready;
    expect(link.isUp).toBe(true);
  });

  it("which accepts but never answers the request is left and tried again", async () => {
    let connections = 0;
    const port = await listen(createTcpServer(() => void connections++));
    const { logger } = linkTo(`http://127.0.0.1:${port}`, { times: { connectMs: 20 } });
    await expect.poll(() => connections).toBeGreaterThan(2);
    expect(logger.messages("warn").length).toBeGreaterThan(1);
  });

  it("whose messages break their schema is heard no less afterwards", async () => {
    const url = await portal((socket) => {
      behave(socket);
      socket.on("message", () => {
        socket.send(
          JSON.stringify({ topic: "relay", event: "revoke", payload: { revocations: "hunter2" }, ref: null }),
        );
        socket.send(JSON.stringify({ topic: "relay", event: "drain", payload: {}, ref: null }));
      });
    });
    const { promise, resolve } = Promise.withResolvers<string>();
    const { logger } = linkTo(url, { onMessage: ({ event }) => resolve(event) });
    expect(await promise).toBe("drain");
    expect(logger.lines.map(({ text }) => text).join("\n")).not.toContain("hunter2");
  });

  it("which refuses the token ends the link for good", async () => {
    let requests = 0;
    const server = createServer();
    server.on("upgrade", (_request, socket) => {
      requests++;
      socket.on("error", () => {});
      socket.end("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n");
    });
    const { link } = linkTo(`http://127.0.0.1:${await listen(server)}`);
    await expect(link.ready).rejects.toThrow(PortalLinkError);
    await expect(link.ready).rejects.toThrow(/make a new one/);
    await new Promise((resolve) => setImmediate(resolve));
    expect(requests).toBe(1);
  });

  it("which redirects is not followed: the token goes nowhere else", async () => {
    let elsewhere = 0;
    const other = await listen(createServer(() => void elsewhere++));
    let requests = 0;
    const server = createServer();
    server.on("upgrade", (_request, socket) => {
      requests++;
      socket.on("error", () => {});
      socket.end(`HTTP/1.1 302 Found\r\nlocation: ws://127.0.0.1:${other}/\r\nconnection: close\r\n\r\n`);
    });
    linkTo(`http://127.0.0.1:${await listen(server)}`);
    await expect.poll(() => requests).toBeGreaterThan(2);
    expect(elsewhere).toBe(0);
  });
});

describe("TLS", () => {
  async function tlsPortal(name: string): Promise<{ readonly port: number; readonly cert: string; seen: string[] }> {
    const authority = new TestAuthority();
    const { cert, key } = authority.issue([name]);
    const seen: string[] = [];
    const server = createTlsServer({ cert, key });
    const sockets = new WebSocketServer({ server });
    sockets.on("connection", (socket, request) => {
      seen.push(String(request.headers["x-authorization"]));
      behave(socket);
    });
    clean.push(() => sockets.clients.forEach((socket) => socket.terminate()));
    return { port: await listen(server), cert: authority.ca, seen };
  }

  it("with the right name is taken", async () => {
    const { port, cert, seen } = await tlsPortal("localhost");
    const { link } = linkTo(`https://localhost:${port}`, {
      connector: webSocketConnector({ certificateAuthorities: cert }),
    });
    await link.ready;
    expect(seen).toEqual([`Bearer ${TOKEN}`]);
  });

  it.each(["a wrong name", "a stranger's certificate"])("with %s sends no token", async (fault) => {
    const { port, cert, seen } = await tlsPortal(fault === "a wrong name" ? "other.example" : "localhost");
    const trusted = fault === "a wrong name" ? { certificateAuthorities: cert } : {};
    const { logger } = linkTo(`https://localhost:${port}`, { connector: webSocketConnector(trusted) });
    await expect.poll(() => logger.messages("warn").length).toBeGreaterThan(2);
    expect(seen).toEqual([]);
    expect(logger.lines.find(({ level }) => level === "warn")?.text).toMatch(/CERT|SELF_SIGNED|UNABLE_TO|altname/i);
  });
});
