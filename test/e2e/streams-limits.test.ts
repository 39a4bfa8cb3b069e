import { describe, expect, test, vi } from "vitest";
import { bytes, openPeer } from "../support/relay.ts";
import { allocated, link, raw, serverOf, startStreams } from "../support/streams.ts";

describe("limits", () => {
  test("security case 5: who never finishes a handshake, or sends no TURN, is closed", async () => {
    const relay = await startStreams({ streams: { handshakeTimeoutMs: 150 } });
    const server = serverOf(relay, "tcp");
    const silent = await raw(server);
    const halfTls = await raw(server);
    halfTls.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    const halfHttp = await raw(server);
    halfHttp.socket.write("GET / HTTP/1.1\r\nHost: x\r\n");
    const noise = await raw(server);
    noise.socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    const channelData = await raw(server);
    channelData.socket.write(Buffer.from([0x40, 0x00, 0xff, 0xff]));
    const badCookie = await raw(server);
    badCookie.socket.write(Buffer.from([0x00, 0x01, 0x00, 0x00, 1, 2, 3, 4]));
    await Promise.all([silent, halfTls, halfHttp, noise, channelData, badCookie].map(({ ended }) => ended));
    await vi.waitUntil(() => relay.stats().streams.connections === 0);
    expect(relay.stats().streams).toMatchObject({ failedHandshakes: 5, malformed: 1 });
  });

  test("security case 5: a ChannelData length of 0xFFFC to 0xFFFF wraps nowhere, and short ones don't wait", async () => {
    const relay = await startStreams();
    const client = await link(relay, "tcp");
    const peer = await openPeer();
    await allocated(client);
    expect(await client.bind(0x4001, peer.local)).toBe("success");
    for (const length of [0xfffc, 0xfffd, 0xfffe, 0xffff]) {
      // Larger than any datagram: dropped, and the stream goes on behind it.
      client.sendOn(0x4001, bytes(length));
      client.sendOn(0x4001, bytes(1, length & 0xff));
      expect([...(await peer.receive()).bytes]).toEqual([...bytes(1, length & 0xff)]);
    }
  });

  test("security case 5: connections of one prefix, and in all, are capped", async () => {
    const relay = await startStreams({ streams: { maxConnectionsPerPrefix: 3 } });
    const server = serverOf(relay, "tcp");
    const kept = await Promise.all([0, 1, 2].map(() => raw(server)));
    await vi.waitUntil(() => relay.stats().streams.connections === 3);
    await (
      await raw(server)
    ).ended;
    expect(relay.stats().streams.refused).toBe(1);
    kept[0]?.socket.destroy();
    await vi.waitUntil(() => relay.stats().streams.connections === 2);
    expect((await allocated(await link(relay, "tcp"))).family).toBe(4);
  });

  test("a connection without allocation is closed when it is silent; one with an allocation stays", async () => {
    const relay = await startStreams({ streams: { idleTimeoutMs: 200 } });
    const idle = await Promise.all((["tcp", "wss", "dtls"] as const).map((transport) => link(relay, transport)));
    for (const client of idle) await client.exchange(client.stun.plain("binding"));
    const busy = await link(relay, "tls");
    await allocated(busy);
    await Promise.all(idle.map(({ closed }) => closed));
    await vi.waitUntil(() => relay.stats().streams.connections === 1);
    expect(relay.stats().streams.idle).toBe(3);
    expect(await busy.refresh(600)).toBe("success");
  });

  test("security case 18: a client that doesn't read loses its oldest datagrams, counted, and no answer", async () => {
    const relay = await startStreams({ streams: { maxOutputQueueBytes: 65_536 } });
    const client = await link(relay, "tcp");
    const peer = await openPeer();
    const relayed = await allocated(client);
    expect(await client.bind(0x4001, peer.local)).toBe("success");
    client.link.stream?.pause();
    const datagram = bytes(50_000);
    const before = relay.stats();
    let sent = 0;
    while (relay.stats().streams.droppedDatagrams < 50) {
      peer.send(datagram, relayed);
      sent++;
      await new Promise((resolve) => setImmediate(resolve));
      if (sent > 5000) expect.unreachable("nothing was dropped");
    }
    // The answer to this finds a full queue.
    const refreshed = client.refresh(600);
    await vi.waitUntil(() => relay.stats().traffic.packetsFromClients > before.traffic.packetsFromClients);
    client.link.stream?.resume();
    expect(await refreshed).toBe("success");
    const last = bytes(10, 9);
    peer.send(last, relayed);
    for (;;) {
      const message = await client.receive();
      if (message?.length === 14) break;
      expect(message?.length).toBe(datagram.length + 4);
    }
    expect(relay.stats().streams.unread).toBe(0);
  });
});
