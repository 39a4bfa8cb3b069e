/** npm's werift, an implementation of WebRTC in TypeScript, through our relay. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RTCPeerConnection } from "werift";
import { TestCertificate } from "../support/certificate.ts";
import { startTestRelay } from "../support/relay.ts";
import { startTurnServer, type TurnServerProcess } from "../support/turn-server.ts";
import { exchangeMessages, numbered, type ChannelLike, type PeerLike } from "../support/webrtc.ts";

const certificate = new TestCertificate();
const COUNT = 1_000;
const USER = { name: "alice", password: "wonderland" };

describe("werift", () => {
  let server: TurnServerProcess;
  beforeAll(async () => {
    server = await startTurnServer({ users: [USER] });
  });
  afterAll(async () => {
    await server.stop();
  });

  const exchangesBy = async (url: string): Promise<void> => {
    const caller = createPeer(url);
    const callee = createPeer(url);
    try {
      const result = await exchangeMessages({ caller, callee, count: COUNT, timeoutMs: 45_000 });
      expect(result.receivedByCallee).toEqual(numbered("caller", COUNT));
      expect(result.receivedByCaller).toEqual(numbered("callee", COUNT));
      expect([...result.candidateTypes]).toEqual(["relay"]);
    } finally {
      await caller.close();
      await callee.close();
    }
  };

  it(`carries ${COUNT} messages each way over a data channel, between relayed candidates only`, async () => {
    await exchangesBy(`turn:127.0.0.1:${server.port}?transport=udp`);
  });

  it.each(["turn", "turns"])("carries them by %s: and a connection", async (scheme) => {
    const relay = await startTestRelay({ listen: ["tcp:127.0.0.1:0"], tls: certificate });
    await exchangesBy(`${scheme}:127.0.0.1:${relay.listening[0]?.local.port}?transport=tcp`);
  });
});

function createPeer(urls: string): PeerLike {
  const connection = new RTCPeerConnection({
    iceServers: [{ urls, username: USER.name, credential: USER.password }],
    iceTransportPolicy: "relay",
    turnTlsOptions: { ca: certificate.pem },
  });
  return {
    createChannel: (label) => adapt(connection.createDataChannel(label)),
    onChannel: (listener) => {
      connection.onDataChannel.subscribe((channel) => listener(adapt(channel)));
    },
    onCandidate: (listener) => {
      connection.onIceCandidate.subscribe((candidate) => {
        if (candidate !== undefined) listener(candidate.toJSON());
      });
    },
    addCandidate: async ({ candidate, sdpMid }) => {
      await connection.addIceCandidate({ candidate, sdpMid: sdpMid ?? "0" });
    },
    offer: async () => {
      await connection.setLocalDescription(await connection.createOffer());
      return connection.localDescription?.sdp ?? "";
    },
    answer: async (sdp) => {
      await connection.setRemoteDescription({ type: "offer", sdp });
      await connection.setLocalDescription(await connection.createAnswer());
      return connection.localDescription?.sdp ?? "";
    },
    accept: async (sdp) => {
      await connection.setRemoteDescription({ type: "answer", sdp });
    },
    close: () => connection.close(),
  };
}

function adapt(channel: ReturnType<RTCPeerConnection["createDataChannel"]>): ChannelLike {
  return {
    readyState: channel.readyState,
    onOpen: (listener) => {
      channel.stateChanged.subscribe((state) => {
        if (state === "open") listener();
      });
    },
    onMessage: (listener) => {
      channel.onMessage.subscribe((data) => listener(String(data)));
    },
    send: (text) => {
      channel.send(text);
    },
  };
}
