/** npm's werift, an implementation of WebRTC in TypeScript, through our relay. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RTCPeerConnection } from "werift";
import { startTurnServer, type TurnServerProcess } from "../support/turn-server.ts";
import { exchangeMessages, numbered, type ChannelLike, type PeerLike } from "../support/webrtc.ts";

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

  it(`carries ${COUNT} messages each way over a data channel, between relayed candidates only`, async () => {
    const caller = createPeer(server.port);
    const callee = createPeer(server.port);
    try {
      const result = await exchangeMessages({ caller, callee, count: COUNT, timeoutMs: 45_000 });
      expect(result.receivedByCallee).toEqual(numbered("caller", COUNT));
      expect(result.receivedByCaller).toEqual(numbered("callee", COUNT));
      expect([...result.candidateTypes]).toEqual(["relay"]);
    } finally {
      await caller.close();
      await callee.close();
    }
  });
});

function createPeer(port: number): PeerLike {
  const connection = new RTCPeerConnection({
    iceServers: [{ urls: `turn:127.0.0.1:${port}?transport=udp`, username: USER.name, credential: USER.password }],
    iceTransportPolicy: "relay",
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
