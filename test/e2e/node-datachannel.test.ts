/** npm's node-datachannel, which wraps libdatachannel and libjuice, through our relay. */
import { cleanup, PeerConnection, type DataChannel } from "node-datachannel";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTurnServer, type TurnServerProcess } from "../support/turn-server.ts";
import { exchangeMessages, numbered, type ChannelLike, type PeerLike } from "../support/webrtc.ts";

const COUNT = 1_000;
const USER = { name: "alice", password: "wonderland" };

describe("node-datachannel", () => {
  let server: TurnServerProcess;
  beforeAll(async () => {
    server = await startTurnServer({ users: [USER] });
  });
  afterAll(async () => {
    await server.stop();
    cleanup();
  });

  it(`carries ${COUNT} messages each way over a data channel, between relayed addresses only`, async () => {
    // libjuice tells relayed candidates only, but sends checks from its own socket too. From ::1 those can't reach the
    // relayed addresses, which are IPv4: the relay is the only way.
    const caller = createPeer({ name: "caller", address: "::1", port: server.port });
    const callee = createPeer({ name: "callee", address: "::1", port: server.port });
    try {
      const result = await exchangeMessages({ caller, callee, count: COUNT, timeoutMs: 45_000 });
      expect(result.receivedByCallee).toEqual(numbered("caller", COUNT));
      expect(result.receivedByCaller).toEqual(numbered("callee", COUNT));
      expect([...result.candidateTypes]).toEqual(["relay"]);
      for (const peer of [caller, callee]) expect([...result.addresses]).toContain(peer.remoteAddress());
    } finally {
      await caller.close();
      await callee.close();
    }
  });
});

function createPeer(options: {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}): PeerLike & { remoteAddress(): string } {
  const { name, address, port } = options;
  const connection = new PeerConnection(name, {
    bindAddress: address,
    iceServers: [{ hostname: "::1", port, username: USER.name, password: USER.password, relayType: "TurnUdp" }],
    iceTransportPolicy: "relay",
    disableAutoNegotiation: true,
  });
  const described = (): Promise<string> =>
    new Promise((resolve) => {
      connection.onLocalDescription((sdp) => resolve(sdp));
      connection.setLocalDescription();
    });
  return {
    createChannel: (label) => adapt(connection.createDataChannel(label)),
    onChannel: (listener) => {
      connection.onDataChannel((channel) => listener(adapt(channel)));
    },
    onCandidate: (listener) => {
      connection.onLocalCandidate((candidate, sdpMid) => listener({ candidate, sdpMid }));
    },
    addCandidate: async ({ candidate, sdpMid }) => {
      connection.addRemoteCandidate(candidate, sdpMid ?? "0");
    },
    offer: described,
    answer: (sdp) => {
      connection.setRemoteDescription(sdp, "offer");
      return described();
    },
    accept: async (sdp) => {
      connection.setRemoteDescription(sdp, "answer");
    },
    close: () => connection.close(),
    remoteAddress: () => {
      const remote = connection.getSelectedCandidatePair()?.remote;
      return `${remote?.address} ${remote?.port}`;
    },
  };
}

function adapt(channel: DataChannel): ChannelLike {
  return {
    readyState: channel.isOpen() ? "open" : "connecting",
    onOpen: (listener) => channel.onOpen(listener),
    onMessage: (listener) =>
      channel.onMessage((data) => listener(typeof data === "string" ? data : new TextDecoder().decode(data))),
    send: (text) => {
      channel.sendMessage(text);
    },
  };
}
