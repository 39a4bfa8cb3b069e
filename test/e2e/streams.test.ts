import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect as connectTls } from "node:tls";
import { getAttribute, sameTransportAddress, transportAddress, xorMappedAddress } from "@turnpike/stun";
import { describe, expect, test, vi } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { LinkTurnClient } from "../support/link-turn-client.ts";
import { openStream } from "../support/links.ts";
import { ALICE, bytes, keep, openPeer, startTestRelay } from "../support/relay.ts";
import { allocated, certificate, link, LISTEN, raw, serverOf, startStreams } from "../support/streams.ts";

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

  test("is given each of many packets that arrive together as its peer sent it", async () => {
    const relay = await startStreams();
    const client = await link(relay, transport);
    const peer = await openPeer();
    const relayed = await allocated(client);
    expect(await client.bind(0x4001, peer.local)).toBe("success");
    const contents = Array.from({ length: 20 }, (_, index) => [...bytes(40 + index * 4, index)]);
    for (const content of contents) peer.send(Uint8Array.from(content), relayed);
    for (const content of contents) {
      const message = await client.receive();
      expect([...(message ?? new Uint8Array()).subarray(4)]).toEqual(content);
    }
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
