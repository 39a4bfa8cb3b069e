/** Chromium through our relay: data channels and media, between relayed candidates only. */
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { BATCHED, PORTABLE } from "../support/both-planes.ts";
import { ALICE } from "../support/relay.ts";
import { startTurnServer, type TurnServerProcess } from "../support/turn-server.ts";

const certificate = new TestCertificate();
const USER = { name: "alice", password: "wonderland" };
const COUNT = 1_000;
/** A secure context, answered by the test itself: `getUserMedia` needs one. */
const PAGE = "https://turnpike.test/";

/** What the page tells of an exchange. */
interface DataResult {
  readonly receivedByCaller: readonly string[];
  readonly receivedByCallee: readonly string[];
  readonly pairs: readonly Pair[];
}

/** The selected candidate pair of one connection. */
interface Pair {
  readonly local: string | undefined;
  readonly remote: string | undefined;
  readonly relayProtocol: string | undefined;
}

/** Packets that `inbound-rtp` counts, by kind. */
interface MediaResult {
  readonly audio: number;
  readonly video: number;
  readonly pairs: readonly Pair[];
}

async function openPage(browser: Browser): Promise<Page> {
  const page = await browser.newPage();
  await page.route(`${PAGE}**`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto(PAGE);
  await page.addScriptTag({ content: PAGE_SCRIPT });
  return page;
}

describe("Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: "/usr/bin/chromium",
      args: [
        "--allow-loopback-in-peer-connection",
        "--disable-gpu",
        "--disable-quic",
        // A relay policy alone would still send mDNS.
        "--disable-features=WebRtcHideLocalIpsWithMdns",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        // The relay's certificate is one of its own making.
        "--ignore-certificate-errors",
      ],
    });
  });
  afterAll(async () => {
    await browser.close();
  });

  // Chromium asks for IPv4 relayed addresses whatever way it takes to the relay.
  // The planes take turns, for each of these takes seconds: which one relays doesn't depend on the way to it.
  describe.each([
    ["127.0.0.1", "batched"],
    ["[::1]", "portable"],
  ] as const)("through a relay at %s, on the %s plane", (host, plane) => {
    let server: TurnServerProcess;
    beforeAll(async () => {
      server = await startTurnServer({ users: [USER], plane });
    });
    afterAll(async () => {
      await server.stop();
    });
    const configuration = () => ({
      iceTransportPolicy: "relay" as const,
      iceServers: [
        { urls: `turn:${host}:${server.port}?transport=udp`, username: USER.name, credential: USER.password },
      ],
    });
    const relayed: Pair = { local: "relay", remote: "relay", relayProtocol: "udp" };

    it(`carries ${COUNT} messages each way over a data channel`, async () => {
      const opened = await openPage(browser);
      const result: DataResult = await opened.evaluate(`exchange(${JSON.stringify(configuration())}, ${COUNT})`);
      const numbers = Array.from({ length: COUNT }, (_, index) => String(index));
      expect(result.receivedByCallee).toEqual(numbers);
      expect(result.receivedByCaller).toEqual(numbers);
      expect(result.pairs).toEqual([relayed, relayed]);
      await opened.close();
    });

    it("brings audio and video across", async () => {
      const opened = await openPage(browser);
      const result: MediaResult = await opened.evaluate(`streamMedia(${JSON.stringify(configuration())})`);
      expect(result.audio).toBeGreaterThan(20);
      expect(result.video).toBeGreaterThan(20);
      expect(result.pairs).toEqual([relayed, relayed]);
      await opened.close();
    });
  });

  // RFC 7065: the way to the relay is the client's; between relay and peers it is UDP all the same.
  describe.each([
    { scheme: "turn", relayProtocol: "tcp", ...PORTABLE },
    { scheme: "turns", relayProtocol: "tls", ...BATCHED },
  ])("by $scheme: and a connection, on the $plane plane", ({ scheme, relayProtocol, start }) => {
    it("carries messages, audio and video, between relayed candidates only", async () => {
      const relay = await start({ listen: ["tcp:127.0.0.1:0"], tls: certificate });
      const port = relay.listening[0]?.local.port ?? 0;
      const iceServers = [
        { urls: `${scheme}:127.0.0.1:${port}?transport=tcp`, username: ALICE.username, credential: ALICE.password },
      ];
      const configuration = JSON.stringify({ iceTransportPolicy: "relay", iceServers });
      const page = await openPage(browser);
      const data: DataResult = await page.evaluate(`exchange(${configuration}, ${COUNT})`);
      const numbers = Array.from({ length: COUNT }, (_, index) => String(index));
      expect(data.receivedByCallee).toEqual(numbers);
      expect(data.receivedByCaller).toEqual(numbers);
      const media: MediaResult = await page.evaluate(`streamMedia(${configuration})`);
      expect(media.audio).toBeGreaterThan(20);
      expect(media.video).toBeGreaterThan(20);
      const relayed: Pair = { local: "relay", remote: "relay", relayProtocol };
      expect([...data.pairs, ...media.pairs]).toEqual([relayed, relayed, relayed, relayed]);
      await page.close();
    });
  });

  it("gathers nothing with a wrong password, and says 401", async () => {
    const server = await startTurnServer({ users: [USER], addresses: ["127.0.0.1"] });
    try {
      const page = await browser.newPage();
      await page.addScriptTag({ content: PAGE_SCRIPT });
      const iceServers = [
        { urls: `turn:127.0.0.1:${server.port}?transport=udp`, username: USER.name, credential: "looking-glass" },
      ];
      const result: { readonly candidates: number; readonly errors: readonly number[] } = await page.evaluate(
        `gather(${JSON.stringify({ iceTransportPolicy: "relay", iceServers })})`,
      );
      expect(result.candidates).toBe(0);
      expect(result.errors).toContain(401);
      await page.close();
    } finally {
      await server.stop();
    }
  });
});

/** Runs in the page: plain JavaScript, since what compiles this file must not change it. */
const PAGE_SCRIPT = `
const LIMIT_MS = 60_000;

function connect(configuration) {
  const caller = new RTCPeerConnection(configuration);
  const callee = new RTCPeerConnection(configuration);
  const errors = [];
  for (const [from, to] of [[caller, callee], [callee, caller]]) {
    from.onicecandidate = ({ candidate }) => { if (candidate) to.addIceCandidate(candidate); };
    from.onicecandidateerror = ({ errorCode, errorText }) => errors.push(errorCode + " " + errorText);
  }
  return { caller, callee, errors };
}

async function negotiate(caller, callee) {
  await caller.setLocalDescription();
  await callee.setRemoteDescription(caller.localDescription);
  await callee.setLocalDescription();
  await caller.setRemoteDescription(callee.localDescription);
}

async function selectedPair(connection) {
  const stats = await connection.getStats();
  const transport = [...stats.values()].find(({ type }) => type === "transport");
  const pair = stats.get(transport?.selectedCandidatePairId);
  const local = stats.get(pair?.localCandidateId);
  const remote = stats.get(pair?.remoteCandidateId);
  return { local: local?.candidateType, remote: remote?.candidateType, relayProtocol: local?.relayProtocol };
}

function limited(promise, describe) {
  return Promise.race([
    promise,
    new Promise((_, reject) => setTimeout(() => reject(new Error("time is up: " + describe())), LIMIT_MS)),
  ]);
}

async function exchange(configuration, count) {
  const { caller, callee, errors } = connect(configuration);
  const receivedByCaller = [];
  const receivedByCallee = [];
  const run = (channel, received) => new Promise((resolve) => {
    const send = () => { for (let i = 0; i < count; i++) channel.send(String(i)); };
    channel.onmessage = ({ data }) => {
      received.push(data);
      if (received.length === count) resolve();
    };
    if (channel.readyState === "open") send(); else channel.onopen = send;
  });
  const done = Promise.all([
    run(caller.createDataChannel("test"), receivedByCaller),
    new Promise((resolve) => { callee.ondatachannel = ({ channel }) => run(channel, receivedByCallee).then(resolve); }),
  ]);
  await negotiate(caller, callee);
  await limited(done, () => receivedByCaller.length + " and " + receivedByCallee.length + " received; " + errors.join());
  const pairs = [await selectedPair(caller), await selectedPair(callee)];
  caller.close();
  callee.close();
  return { receivedByCaller, receivedByCallee, pairs };
}

async function streamMedia(configuration) {
  const { caller, callee, errors } = connect(configuration);
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  for (const track of media.getTracks()) caller.addTrack(track, media);
  await negotiate(caller, callee);
  const packets = async () => {
    const counts = { audio: 0, video: 0 };
    for (const stat of (await callee.getStats()).values()) {
      if (stat.type === "inbound-rtp") counts[stat.kind] += stat.packetsReceived;
    }
    return counts;
  };
  let last = { audio: 0, video: 0 };
  await limited((async () => {
    while (last.audio <= 20 || last.video <= 20) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      last = await packets();
    }
  })(), () => JSON.stringify(last) + " " + errors.join());
  const pairs = [await selectedPair(caller), await selectedPair(callee)];
  for (const track of media.getTracks()) track.stop();
  caller.close();
  callee.close();
  return { ...last, pairs };
}

async function gather(configuration) {
  const connection = new RTCPeerConnection(configuration);
  const errors = [];
  let candidates = 0;
  connection.createDataChannel("test");
  connection.onicecandidateerror = ({ errorCode }) => errors.push(errorCode);
  connection.onicecandidate = ({ candidate }) => { if (candidate?.candidate) candidates++; };
  await connection.setLocalDescription();
  await limited(new Promise((resolve) => {
    const check = () => { if (connection.iceGatheringState === "complete") resolve(); };
    connection.onicegatheringstatechange = check;
    check();
  }), () => connection.iceGatheringState);
  connection.close();
  return { candidates, errors };
}
`;
