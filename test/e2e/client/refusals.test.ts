import { createSocket } from "node:dgram";
import { once } from "node:events";
import { allocate, type Resolver } from "@turnpike/client";
import { attribute, encodeMessage, errorCode, getAttribute, longTermKey, nonce, realm, username } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { expect, test } from "vitest";
import { stunOf } from "../../sim/support/stun-client.ts";
import { EngineServer } from "../../support/engine-server.ts";

const ALICE = { username: "alice", credential: "wonderland" };

/** A server on UDP that challenges, and then refuses with one code. @returns its port, and the ports that asked it. */
async function startRefusing(code: number) {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const ports = new Set<number>();
  const key = longTermKey({
    algorithm: "md5",
    username: ALICE.username,
    realm: "r",
    password: ALICE.credential,
    crypto: nodeCrypto,
  });
  socket.on("message", (bytes, from) => {
    const request = stunOf(bytes);
    const { transactionId } = request;
    const isSigned = getAttribute(request, username) !== undefined;
    ports.add(from.port);
    const answer = encodeMessage({
      class: "error",
      method: "allocate",
      transactionId,
      attributes: isSigned
        ? [attribute(errorCode, { code, reason: "No" })]
        : [
            attribute(errorCode, { code: 401, reason: "Unauthorized" }),
            attribute(realm, "r"),
            attribute(nonce, "nonce"),
          ],
      ...(isSigned ? { integrity: { algorithm: "sha1", key, crypto: nodeCrypto } } : {}),
    });
    socket.send(answer, from.port, from.address);
  });
  return { port: socket.address().port, ports, close: () => socket.close() };
}

/** DNS that leads to one server by UDP, and to another one at the same address by TCP. */
function udpThenTcp(udpPort: number, second: EngineServer): Resolver {
  const tcpPort = second.listening.get("tcp")!.port;
  return {
    addresses: async () => ["127.0.0.1"],
    srv: async (name) => {
      const port = name.startsWith("_turn._udp") ? udpPort : tcpPort;
      return [{ priority: 0, weight: 0, port, name: "localhost" }];
    },
    naptr: async () => [],
  };
}

test("RFC 8656 §7.4: after 437 another port is taken, and the third is the last", async () => {
  const server = await startRefusing(437);
  await expect(allocate(`turn:127.0.0.1:${server.port}?transport=udp`, ALICE)).rejects.toMatchObject({
    serverCode: 437,
  });
  expect(server.ports.size).toBe(3);
  server.close();
});

test.each([400, 403, 440, 442, 486, 508])("RFC 8656 §7.4: %d is not asked for twice", async (code) => {
  const server = await startRefusing(code);
  await using second = await EngineServer.start({ transports: ["tcp"] });
  const resolver = udpThenTcp(server.port, second);
  await expect(allocate("turn:localhost", { ...ALICE, resolver })).rejects.toMatchObject({ serverCode: code });
  expect(server.ports.size).toBe(1);
  server.close();
});

test("RFC 5928 §3: the next server is tried when one is out of order", async () => {
  const server = await startRefusing(500);
  await using second = await EngineServer.start({ transports: ["tcp"] });
  const resolver = udpThenTcp(server.port, second);
  await using allocation = await allocate("turn:localhost", { ...ALICE, resolver });
  expect(allocation.transport).toBe("tcp");
  server.close();
});
