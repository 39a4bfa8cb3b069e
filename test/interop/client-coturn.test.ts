import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { allocate, bench, binding, checkServers, type Allocation } from "@turnpike/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { uriOf as everyTransportUri } from "../support/every-transport-relay.ts";
import { startStreamCoturn, type Coturn } from "./support/coturn.ts";

const ALICE = { username: "alice", credential: "wonderland" };

let coturn: Coturn;
beforeAll(async () => {
  coturn = await startStreamCoturn();
});
afterAll(async () => {
  await coturn[Symbol.asyncDispose]();
});

type Transport = "udp" | "tcp" | "tls" | "dtls";

function uriOf(transport: Transport): string {
  const isSecure = transport === "tls" || transport === "dtls";
  return everyTransportUri(transport, `127.0.0.1:${isSecure ? coturn.tlsPort : coturn.port}`);
}

function at(transport: Transport, options: object = {}): Promise<Allocation> {
  return allocate(uriOf(transport), { ...ALICE, tls: { ca: coturn.ca }, ...options });
}

describe.each(["udp", "tcp", "tls", "dtls"] as const)("our client at coturn over %s", (transport) => {
  test("allocate, permit, send, bind a channel, refresh, close", async () => {
    await using alice = await at(transport);
    await using bob = await at(transport);
    await bob.permit("127.0.0.1");
    await alice.permit("127.0.0.1");
    alice.send(bob.relayedAddress, "hello");
    for await (const { data, peer } of bob) {
      expect([Buffer.from(data).toString(), peer.port]).toEqual(["hello", alice.relayedAddress.port]);
      break;
    }
    const channel = await bob.bindChannel(alice.relayedAddress);
    expect(channel).toBeGreaterThanOrEqual(0x4000);
    for (const length of [1, 2, 3, 4, 1200]) bob.send(alice.relayedAddress, new Uint8Array(length));
    const lengths: number[] = [];
    for await (const { data } of alice) {
      lengths.push(data.length);
      if (lengths.length === 5) break;
    }
    expect(new Set(lengths)).toEqual(new Set([1, 2, 3, 4, 1200]));
    expect(await bob.refresh({ lifetimeSeconds: 900 })).toBe(900);
  });

  test("binding, and a wrong credential", async () => {
    const uri = uriOf(transport).replace("turn", "stun").replace(/\?.*/, "");
    if (transport === "udp") expect(await binding(uri)).toMatchObject({ family: 4 });
    else expect(await binding(uriOf(transport), { tls: { ca: coturn.ca } })).toMatchObject({ family: 4 });
    await expect(at(transport, { credential: "no" })).rejects.toMatchObject({ code: "unauthenticated" });
  });
});

test("over DTLS coturn and our client agree on a cipher, and on stun.turn", async () => {
  await using allocation = await at("dtls");
  expect(allocation.security).toMatchObject({ protocol: "DTLSv1.2", applicationProtocol: "stun.turn" });
});

test.each(["tcp", "tls"] as const)("a TCP allocation at coturn over %s carries bytes both ways", async (transport) => {
  const echo = createServer((socket) => socket.pipe(socket).on("error", () => undefined));
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  await using allocation = await at(transport, { relay: "tcp" });
  const connection = await allocation.connect(`127.0.0.1:${(echo.address() as AddressInfo).port}`);
  const sent = Buffer.alloc(100_000, "turn");
  connection.write(sent);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of connection as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= sent.length) break;
  }
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  echo.close();
});

test("turnpike check finds a coturn that relays for anybody", async () => {
  await using open = await startStreamCoturn({ anybody: true });
  const [report] = await checkServers([`turn:127.0.0.1:${open.port}?transport=udp`], ALICE);
  expect(report?.ok).toBe(false);
  expect(report?.steps.find(({ step }) => step === "challenge")).toMatchObject({
    status: "failed",
    detail: "the server relays for anybody: it asked for no credentials",
  });
});

test("turnpike bench counts every datagram at coturn", async () => {
  const report = await bench(uriOf("udp"), { ...ALICE, flows: 2, rate: 100, seconds: 1 });
  expect(report).toMatchObject({ kind: "traffic", sent: 200, notSent: 0 });
  expect(report.kind === "traffic" && report.received).toBeGreaterThan(190);
});

test("a mobile allocation at coturn follows its client", async () => {
  await using allocation = await at("udp", { mobility: true });
  await using other = await at("udp");
  await other.permit("127.0.0.1");
  await allocation.permit("127.0.0.1");
  await allocation.move();
  allocation.send(other.relayedAddress, "still me");
  for await (const { data, peer } of other) {
    expect([Buffer.from(data).toString(), peer.port]).toEqual(["still me", allocation.relayedAddress.port]);
    break;
  }
});

test("a coturn that redirects to another is followed", async () => {
  await using first = await startStreamCoturn({ alternateServer: `127.0.0.1:${coturn.port}` });
  await using allocation = await allocate(`turn:127.0.0.1:${first.port}?transport=udp`, ALICE);
  expect(allocation.server.port).toBe(coturn.port);
});

test("an even port with its neighbour at coturn, and the neighbour by its token", async () => {
  await using first = await at("udp", { port: "evenPair" });
  expect(first.relayedAddress.port % 2).toBe(0);
  const reservationToken = first.granted.reservationToken;
  await using second = await at("udp", { reservationToken });
  expect(second.relayedAddress.port).toBe(first.relayedAddress.port + 1);
});

test("a peer that coturn forbids is refused by name", async () => {
  await using allocation = await at("udp");
  await expect(allocation.permit("0.0.0.0")).rejects.toMatchObject({ code: "refused", serverCode: 403 });
});
