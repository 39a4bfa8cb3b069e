import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { createTurnAuthenticator, oauth } from "@turnpike/authn/turn";
import { type Relay, startRelay } from "@turnpike/relay";
import { formatTransportAddress } from "@turnpike/stun";
import type { AuthenticationDecision, AuthenticationRequest, LifecycleEvent } from "@turnpike/turn";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { staticUsers } from "../sim/support/authentication.ts";
import { TestCertificate } from "../support/certificate.ts";
import { startTestRelay } from "../support/relay.ts";
import { runUclient, startEchoPeer } from "../support/uclient.ts";

const run = promisify(execFile);
const certificate = new TestCertificate();
const REALM = "turnpike";
/** What coturn's client is built with (`-J`); of a key that is too long the first bytes count. */
const COTURN_KEYS = [
  { kid: "north", key: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEK" },
  { kid: "union", key: "MTIzNDU2Nzg5MDEyMzQ1Ngo=", algorithm: "A128GCM" },
  { kid: "oldempire", key: "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIK" },
] as const;
const NUMBERS = ["-n", "20", "-m", "2", "-c"];
const USER = ["-u", "alice", "-w", "wonderland"];
const BETWEEN_CLIENTS = ["-y"];
const LISTEN = ["udp:127.0.0.1:3478", "tcp:127.0.0.1:3478", "tls:127.0.0.1:5349", "dtls:127.0.0.1:5349"];

beforeAll(() => {
  if (existsSync("/usr/bin/turnutils_uclient")) return;
  execFileSync("apt-get", ["install", "-y", "-o", "DPkg::Lock::Timeout=300", "coturn"], { stdio: "ignore" });
});

/** Static users, and whoever has a token by one of coturn's keys. */
function authenticate(): (request: AuthenticationRequest) => AuthenticationDecision {
  const users = staticUsers({ alice: "wonderland" });
  const schemes = [oauth({ serverName: "relay.example", keys: COTURN_KEYS })];
  const tokens = createTurnAuthenticator({ realm: REALM, schemes });
  return (request) => (request.accessToken === undefined ? users(request) : tokens.authenticate(request));
}

describe("turnutils_uclient", () => {
  const events: LifecycleEvent[] = [];
  let relay: Relay;
  let peer: Awaited<ReturnType<typeof startEchoPeer>>;
  let toPeer: readonly string[] = [];

  beforeAll(async () => {
    relay = await startRelay({
      listen: LISTEN,
      relayAddresses: ["127.0.0.1"],
      tls: certificate,
      realm: REALM,
      authenticate: authenticate(),
      engine: { thirdPartyAuthorization: "relay.example" },
      peers: { allow: ["127.0.0.0/8"] },
      onEvent: (event) => events.push(event),
    });
    peer = await startEchoPeer("127.0.0.1");
    toPeer = ["-e", "127.0.0.1", "-r", String(peer.port)];
  });

  afterAll(async () => {
    await peer.child.stop();
    await relay.stop();
    expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, portsInUse: 0, internalErrors: 0 });
  });

  const uclient = (port: number, options: readonly string[]) =>
    runUclient({ port, args: [...USER, ...NUMBERS, ...options] });

  describe("loses nothing", { concurrent: true }, () => {
    test.each([
      ["UDP", [], 3478],
      ["TCP", ["-t"], 3478],
      ["DTLS", ["-S"], 5349],
      ["mobility", ["-M"], 3478],
      ["mobility over TCP", ["-M", "-t"], 3478],
      ["access tokens over UDP", ["-J"], 3478],
      ["access tokens over TCP", ["-J", "-t"], 3478],
      ["access tokens over DTLS", ["-J", "-S"], 5349],
    ])("to a peer: %s", async (_what, options, port) => {
      const { code, lost, output } = await uclient(port, [...options, ...toPeer]);
      expect({ code, lost }, output).toEqual({ code: 0, lost: 0 });
    });

    test.each([
      ["mobility, where one only listens at first", ["-M"], 3478],
      ["TCP relay", ["-T"], 3478],
      ["TCP relay over TLS", ["-T", "-S"], 5349],
      ["TCP relay with access tokens", ["-J", "-T"], 3478],
    ])("between clients: %s", async (_what, options, port) => {
      const { code, lost, output } = await uclient(port, [...options, ...BETWEEN_CLIENTS]);
      expect({ code, lost }, output).toEqual({ code: 0, lost: 0 });
    });

    test("as a peer that calls (-P) reaches the client, which doesn't count what goes the other way", async () => {
      const { code, sent, received, output } = await uclient(3478, ["-P", ...BETWEEN_CLIENTS]);
      expect({ code, isSent: sent > 0, missing: sent / 2 - received }, output).toEqual({
        code: 0,
        isSent: true,
        missing: 0,
      });
    });
  });

  /** Of allocations that were made over a transport since `events` was emptied: whether all have ended. */
  const haveEnded = (...transports: string[]): boolean => {
    const living = new Set<string>();
    for (const event of events) {
      if (event.type === "allocationCreated" && transports.includes(event.context.fiveTuple.transport)) {
        living.add(event.context.allocationId);
      } else if (event.type === "allocationDeleted") living.delete(event.context.allocationId);
    }
    return living.size === 0;
  };

  // The client takes what one read from TLS gives for one message, and loses the others that came with it.
  test("has its packets relayed there and back over TLS", async () => {
    events.length = 0;
    const results = await Promise.all(
      [
        ["-t", "-S"],
        ["-J", "-t", "-S"],
      ].map((each) => uclient(5349, [...each, ...toPeer])),
    );
    for (const { code, output } of results) expect(code, output).toBe(0);
    await vi.waitUntil(() => haveEnded("tls"), { timeout: 20_000 });
    const sent = results.reduce((sum, result) => sum + result.sent, 0);
    expect(sent).toBeGreaterThan(0);
    const totals = events.flatMap((event) => (event.type === "allocationDeleted" ? [event.totals] : []));
    expect(totals.reduce((sum, { packetsToPeers }) => sum + packetsToPeers, 0)).toBe(sent);
    expect(totals.reduce((sum, { packetsFromPeers }) => sum + packetsFromPeers, 0)).toBe(sent);
    expect(relay.stats().streams.droppedDatagrams).toBe(0);
  });

  test("moves where it is asked to (-M)", async () => {
    events.length = 0;
    await uclient(3478, ["-M", ...toPeer]);
    const homes = new Map<string, string>();
    const moved = new Set<string>();
    for (const event of events) {
      if (event.type !== "allocationCreated" && event.type !== "channelCreated") continue;
      const { allocationId, fiveTuple } = event.context;
      const client = formatTransportAddress(fiveTuple.client);
      if (event.type === "allocationCreated") homes.set(allocationId, client);
      else if (homes.get(allocationId) !== client) moved.add(allocationId);
    }
    expect(moved.size).toBe(2);
  });

  test("leaves nothing behind from clients that go as they please", async () => {
    events.length = 0;
    const modes = [["-B"], ["-B", "-t"], ["-O"], ["-O", "-t"], ["-B", "-T"], ["-O", "-T"]];
    const args = [...USER, ...NUMBERS, ...BETWEEN_CLIENTS];
    await Promise.all(modes.map((mode) => runUclient({ port: 3478, args: [...args, ...mode], timeoutMs: 8000 })));
    expect(events.some(({ type }) => type === "allocationCreated")).toBe(true);
    await vi.waitUntil(() => haveEnded("tcp") && relay.stats().streams.peerConnections === 0, { timeout: 20_000 });
    expect(relay.stats().internalErrors).toBe(0);
  });
});

describe("turnutils_stunclient and turnutils_natdiscovery", () => {
  beforeEach(async () => {
    // The tools know no other ports than those.
    await startTestRelay({ listen: [], natDiscovery: { addresses: ["127.0.0.1", "127.0.0.2"], ports: [3478, 3479] } });
  });

  test("learn both addresses", async () => {
    const { stdout } = await run("turnutils_stunclient", ["127.0.0.1"]);
    expect(stdout).toMatch(/Other addr: : 127\.0\.0\.2:3479/);
    expect(stdout).toContain("UDP reflexive addr: 127.0.0.1:");
  });

  test.each(["-m", "-f"])("(%s) find no NAT on loopback", async (behaviour) => {
    const { stdout } = await run("turnutils_natdiscovery", [behaviour, "127.0.0.1"]);
    expect(stdout).toMatch(
      behaviour === "-m" ? /No NAT|Endpoint Independent Mapping/i : /Endpoint Independent Filtering/i,
    );
  });
});
