import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { allocate, createTurnHintHandler } from "@turnpike/client";
import { Connector, Listener, nodeDialer } from "@turnpike/hints";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NetcatFolder } from "../support/netcat.ts";
import { internal, startTestPortal } from "../support/portal.ts";
import { watchClient, watchCommand } from "./support/strace.ts";
import { exchange, loopback, sha256, startTorPlace, type TorPlace } from "./support/tor-place.ts";

let place: TorPlace;
let network: TorPlace["network"];
let echoPort: TorPlace["echoPort"];
let coturn: TorPlace["coturn"];
let directory: TorPlace["directory"];
let closing: TorPlace["closing"];
let hiddenConnector: TorPlace["hiddenConnector"];

beforeAll(async () => {
  place = await startTorPlace();
  ({ network, echoPort, coturn, directory, closing, hiddenConnector } = place);
});

afterAll(() => place.stop());

describe("TURN over TCP through Tor", () => {
  const alice = { username: "alice", credential: "wonderland" };

  /** A connector that hides the address, and what it dials. */
  function watchedConnector() {
    const dialled = new Set<string>();
    const connector = new Connector({
      policy: { revealIpAddress: false, allow: ["127.0.0.1"] },
      tcp: "tor",
      tor: { socks: loopback(network.client.socksPort) },
      dialer: {
        dial(target, options) {
          dialled.add(target.kind === "tcp" ? `${target.address}:${target.port}` : target.path);
          return nodeDialer.dial(target, options);
        },
      },
    });
    closing.push(() => connector.close());
    return { connector, dialled };
  }

  it.each(["turn", "turns"])(
    "allocates by %s: and exchanges datagrams with a peer, by Tor's port alone",
    async (scheme) => {
      const { connector, dialled } = watchedConnector();
      const port = scheme === "turn" ? coturn.port : coturn.tlsPort;
      const uri = `${scheme}:127.0.0.1:${port}?transport=tcp`;
      await using hidden = await allocate(uri, { ...alice, connector, tls: { ca: coturn.ca } });
      await using peer = await allocate(`turn:127.0.0.1:${coturn.port}?transport=udp`, alice);
      await peer.permit("127.0.0.1");
      await hidden.permit("127.0.0.1");
      hidden.send(peer.relayedAddress, "hello out of Tor");
      for await (const { data, peer: from } of peer) {
        expect([Buffer.from(data).toString(), from.port]).toEqual(["hello out of Tor", hidden.relayedAddress.port]);
        break;
      }
      expect([...dialled]).toEqual([`127.0.0.1:${network.client.socksPort}`]);
      await expect(allocate(`turn:127.0.0.1:${coturn.port}?transport=udp`, { ...alice, connector })).rejects.toThrow(
        "Cannot connect by UDP through a connector",
      );
    },
  );

  it("carries a stream by a turn: hint, control and data connection through Tor", async () => {
    const { connector, dialled } = watchedConnector();
    const relay = `turns:127.0.0.1:${coturn.tlsPort}`;
    connector.addHintHandler("turn", createTurnHintHandler({ relay, ...alice, connector, tls: { ca: coturn.ca } }));
    const { stream, type, halfClose } = await connector.connect({ hints: [`turn:127.0.0.1:${echoPort}`] });
    expect([type, halfClose]).toEqual(["turn", false]);
    const bytes = randomBytes(200_000);
    expect(sha256(await exchange(stream, bytes))).toBe(sha256(bytes));
    expect([...dialled]).toEqual([`127.0.0.1:${network.client.socksPort}`]);
  });
});

describe("turnpike connect and turnpike listen", () => {
  it("carry a file both ways through an onion service, tcp: and turn: tried beside it, the address hidden", async () => {
    const folder = new NetcatFolder();
    closing.push(() => folder.remove());
    const control = `--tor-control=127.0.0.1:${network.service.controlPort}`;
    const listening = await folder.listen(["onion:4000", "--reference", "--hide-ip", "--status", control], 90_000);
    const socks = `--tor-socks=127.0.0.1:${network.client.socksPort}`;
    await writeFile(join(directory, "credential"), "wonderland\n");
    const others = [`tcp:127.0.0.1:1`, `turn:127.0.0.1:1`];
    const connecting = folder.start([
      "connect",
      // By a reference TLS says where each direction ends, which Tor does not.
      listening.reference ?? "",
      ...others,
      "--status",
      "--hide-ip",
      "--via=tor",
      socks,
      `--turn-relay=turn:127.0.0.1:${coturn.port}`,
      "--turn-username=alice",
      "--allow-address=127.0.0.1",
      `--turn-credential-file=${join(directory, "credential")}`,
    ]);
    const codes = await Promise.all([connecting.child.ended, listening.child.ended]);
    expect(codes, `${connecting.child.stderr()}\n${listening.child.stderr()}`).toEqual([0, 0]);
    expect(listening.receivedHash()).toBe(connecting.sentHash);
    expect(connecting.receivedHash()).toBe(listening.sentHash);
    expect(connecting.child.stderr()).toMatch(/^✓ tor:\S+ +won/mu);
  });
});

describe("reveal_ip_address = false, watched from outside", () => {
  it("not one packet or DNS query leaves except to Tor's port, with hostile hints, redirects and rebinding", async () => {
    const connector = hiddenConnector({ control: loopback(network.service.controlPort) });
    const group = new Listener({
      gate: connector.gate,
      tor: connector.tor,
      directory: join(directory, "keys-7"),
    }).listen({
      specs: ["onion:4000"],
      onStream: (stream) => {
        stream.on("error", () => undefined);
        stream.once("data", () => stream.end("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"));
      },
    });
    const onion = ((await group.ready).advertised[0]?.hint ?? "").slice("tor:".length);
    const hostile = [
      `tor:${onion}`,
      `ws:${onion}/redirected`,
      `tls:${onion}`,
      "tor:rebinding.example.invalid:80",
      "tcp:rebinding.example.invalid:80",
      "rebinding.example.invalid:80",
      "wss:rebinding.example.invalid:443/x",
      "tcp:192.0.2.1:80",
      "tcp:[2001:db8::1]:80",
      "tcp:8.8.8.8:53",
      "tcp:127.0.0.1:22",
      "tcp:localhost:22",
      "tcp:169.254.169.254:80",
      "tor:10.0.0.1:80",
      "tor:localhost:80",
      `tor:${onion}:socksProxy=192.0.2.1:1234`,
      "socks:192.0.2.1:80",
      "unix:/run/systemd/resolve/io.systemd.Resolve",
      "turn:192.0.2.1:3478",
      "turn:8.8.8.8:3478",
      "turn:rebinding.example.invalid:3478",
      "tcp:192.0.2.1:80\ntcp:192.0.2.2:80",
    ];
    const { said, reached } = await watchClient(directory, ["hidden", String(network.client.socksPort), ...hostile]);
    const outcomes = new Map(
      said
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as [string, string]),
    );
    expect([...outcomes.keys()]).toEqual(hostile);
    expect(outcomes.get(`tor:${onion}`)).toBe("connected");
    expect(outcomes.get(`ws:${onion}/redirected`)).toContain("HTTP 302");
    expect([...outcomes.values()].filter((outcome) => outcome === "connected")).toHaveLength(1);
    expect(new Set(reached)).toEqual(new Set([`127.0.0.1:${network.client.socksPort}`]));
    expect(reached.length).toBeGreaterThan(5);
    await group.close();
  });

  const RELAY = [
    "relay",
    "--hide-ip",
    "--via=tor",
    "--listen=tcp:127.0.0.1:0",
    "--relay-address=127.0.0.1",
    "--metrics=off",
    "--health=off",
  ];

  it("a relay links to a portal at an onion service, and reaches nothing but Tor's port", async () => {
    const portal = await startTestPortal();
    const token = await portal.portal.createRelayToken(internal, "hidden");
    const connector = hiddenConnector({ control: loopback(network.service.controlPort) });
    const group = new Listener({
      gate: connector.gate,
      tor: connector.tor,
      directory: join(directory, "keys-8"),
    }).listen({
      specs: ["onion:80"],
      onStream: (stream) => {
        const onward = connect({ host: "127.0.0.1", port: portal.portal.address.port });
        onward.on("error", () => stream.destroy()).once("close", () => stream.destroy());
        stream.on("error", () => onward.destroy()).once("close", () => onward.destroy());
        stream.pipe(onward).pipe(stream);
      },
    });
    const onion = (await group.ready).advertised[0]?.hint ?? "";
    const host = onion.replace(/^tor:(.*):80$/u, "$1");
    for (const url of [onion, `http://${host}`]) {
      const { said, reached } = await watchCommand({
        directory,
        args: [...RELAY, `--portal=${url}`, `--tor-socks=127.0.0.1:${network.client.socksPort}`],
        environment: { TURNPIKE_TOKEN: token, XDG_RUNTIME_DIR: "" },
        isDone: (child) => child.stderr().includes("The portal link is up"),
      });
      expect(said).not.toContain(token);
      expect(reached).toContain(`127.0.0.1:${network.client.socksPort}`);
      // Once it serves, the relay sends itself a datagram or two, to learn what the system can do.
      expect(reached.filter((place) => !/^(?:127\.0\.0\.1|::1):\d+$/u.test(place))).toEqual([]);
    }
    await group.close();
  });

  it.each(["https://rebinding.example.invalid", "https://192.0.2.1", "tls:8.8.8.8:53", "https://10.0.0.1"])(
    "a relay whose portal is %s asks nobody but Tor's port",
    async (portal) => {
      const { reached } = await watchCommand({
        directory,
        args: [...RELAY, `--portal=${portal}`, `--tor-socks=127.0.0.1:${network.client.socksPort}`],
        environment: { TURNPIKE_TOKEN: "tr_none", XDG_RUNTIME_DIR: "" },
        isDone: (child) => child.stderr().includes("The portal link is away"),
      });
      expect([...new Set(reached)].filter((place) => place !== `127.0.0.1:${network.client.socksPort}`)).toEqual([]);
    },
  );

  it("the watch sees what a client does that may reveal its address", async () => {
    const hints = [`tcp:127.0.0.1:${echoPort}`, "unix:/run/x", `tcp:[::1]:${echoPort}`];
    const { reached } = await watchClient(directory, ["open", String(network.client.socksPort), ...hints]);
    expect(new Set(reached)).toEqual(new Set([`127.0.0.1:${echoPort}`, `::1:${echoPort}`]));
  });
});
