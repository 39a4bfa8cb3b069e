import { randomBytes } from "node:crypto";
import { createServer, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { allocate, binding, checkServers, createTurnHintHandler } from "@turnpike/client";
import { Connector, nodeDialer } from "@turnpike/hints";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestAuthority } from "../../support/certificates.ts";
import { EngineServer } from "../../support/engine-server.ts";

const ALICE = { username: "alice", credential: "wonderland" };
const STREAMS = ["tcp", "tls", "ws", "wss"] as const;
const authority = new TestAuthority();

let server: EngineServer;
let echo: Server;
beforeAll(async () => {
  server = await EngineServer.start({
    transports: [...STREAMS, "udp"],
    certificate: authority.issue(["relay.example"]),
  });
  echo = createServer((socket) => socket.pipe(socket).on("error", () => undefined));
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
});
afterAll(async () => {
  echo.close();
  await server[Symbol.asyncDispose]();
});

/** A connector that knows where relay.example is, and says what it dials. */
function watched() {
  const dialled: string[] = [];
  const asked: string[] = [];
  const connector = new Connector({
    policy: { allow: ["127.0.0.1"] },
    resolver: {
      resolve(name, { family }) {
        asked.push(name);
        return family === 4 ? Promise.resolve(["127.0.0.1"]) : Promise.reject(new Error("no IPv6 here"));
      },
    },
    dialer: {
      dial(target, options) {
        dialled.push(target.kind === "tcp" ? `${target.address}:${target.port}` : target.path);
        return nodeDialer.dial(target, options);
      },
    },
  });
  return { connector, dialled, asked };
}

function uriOf(transport: (typeof STREAMS)[number]): string {
  return server.uri(transport).replace("127.0.0.1", "relay.example").replace("localhost", "relay.example");
}

/** No name is asked for but by the connector. */
const resolver = {
  addresses: () => Promise.reject(new Error("asked for a name")),
  srv: () => Promise.reject(new Error("asked for SRV records")),
  naptr: () => Promise.reject(new Error("asked for NAPTR records")),
};

describe.each(STREAMS)("a client whose streams come from a connector, over %s", (transport) => {
  test("allocates by name; the connector resolves it and dials everything", async () => {
    const { connector, dialled, asked } = watched();
    const options = { ...ALICE, connector, resolver, tls: { ca: authority.ca } };
    await using allocation = await allocate(uriOf(transport), options);
    await allocation.permit("127.0.0.1");
    const place = `127.0.0.1:${server.listening.get(transport)?.port ?? 0}`;
    expect(dialled).toEqual([place]);
    expect(new Set(asked)).toEqual(new Set(["relay.example"]));
    expect(allocation.server.port).toBe(server.listening.get(transport)?.port);
    expect(await binding(uriOf(transport), options)).toMatchObject({ family: 4 });
    await expect(allocate(uriOf(transport), { ...options, localAddress: "127.0.0.1" })).rejects.toThrow(TypeError);
  });
});

test("data connections go to the address that the control connection found", async () => {
  const { connector, dialled } = watched();
  await using allocation = await allocate(uriOf("tls"), {
    ...ALICE,
    connector,
    resolver,
    tls: { ca: authority.ca },
    relay: "tcp",
  });
  const stream = await allocation.connect(`127.0.0.1:${(echo.address() as AddressInfo).port}`);
  stream.resume().write("hello");
  expect(String(await once(stream, "data"))).toBe("hello");
  stream.destroy();
  const place = `127.0.0.1:${server.listening.get("tls")?.port ?? 0}`;
  expect(dialled).toEqual([place, place]);
});

test("the policy of the connector holds for the server; UDP is refused", async () => {
  const connector = new Connector();
  const refused = allocate(uriOf("tcp").replace("relay.example", "127.0.0.1"), { ...ALICE, connector });
  await expect(refused).rejects.toThrow("127.0.0.1 is a loopback address");
  await expect(allocate(server.uri("udp"), { ...ALICE, connector })).rejects.toMatchObject({
    code: "unsupportedTransport",
  });
});

test("turnpike check runs through a connector", async () => {
  const { connector } = watched();
  const [report] = await checkServers([uriOf("tls")], { ...ALICE, connector, resolver, tls: { ca: authority.ca } });
  expect(report).toMatchObject({ ok: true, transport: "tls" });
  expect(report?.server).toMatch(/^relay\.example:\d+$/u);
});

describe("turn: hints", () => {
  test("carry bytes through the relay of local configuration, and give the allocation back", async () => {
    const { connector } = watched();
    connector.addHintHandler(
      "turn",
      createTurnHintHandler({ relay: uriOf("tls"), ...ALICE, connector, tls: { ca: authority.ca } }),
    );
    const { port } = echo.address() as AddressInfo;
    const { stream, type, halfClose, host } = await connector.connect({ hints: [`turn:127.0.0.1:${port}`] });
    expect([type, halfClose, host]).toEqual(["turn", false, "127.0.0.1"]);
    const bytes = randomBytes(100_000);
    stream.write(bytes);
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      if (Buffer.concat(chunks).length === bytes.length) break;
    }
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    await expect.poll(() => server.server.allocationCount).toBe(0);
  });

  test("a name is resolved behind the gate before the relay hears of its address", async () => {
    const { connector, asked } = watched();
    connector.addHintHandler("turn", createTurnHintHandler({ relay: uriOf("tcp"), ...ALICE, connector }));
    const { port } = echo.address() as AddressInfo;
    const { stream } = await connector.connect({ hints: [`turn:peer.example:${port}`] });
    expect(asked).toContain("peer.example");
    stream.destroy();
  });

  test("no hint names a relay, a user or a transport", async () => {
    const { connector, dialled } = watched();
    connector.addHintHandler("turn", createTurnHintHandler({ relay: uriOf("tcp"), ...ALICE, connector }));
    for (const rest of [
      "8.8.8.8:80?transport=udp",
      "evil.example:3478/8.8.8.8:80",
      "alice:x@8.8.8.8:80",
      "10.0.0.1:80",
    ]) {
      await expect(connector.connect({ hints: [`turn:${rest}`] }), rest).rejects.toMatchObject({ code: "all-failed" });
    }
    expect(dialled).toEqual([]);
    expect(() => createTurnHintHandler({ relay: "stun:relay.example", connector })).toThrow(TypeError);
  });
});
