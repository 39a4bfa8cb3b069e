import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, PassThrough, Readable } from "node:stream";
import { allocate, createTurnHintHandler } from "@turnpike/client";
import {
  ConnectError,
  Connector,
  connectReference,
  createIdentity,
  Listener,
  netcat,
  nodeDialer,
  parseReference,
  TorControl,
  TorUnavailableError,
  type TorSettings,
} from "@turnpike/hints";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NetcatFolder } from "../support/netcat.ts";
import { type Coturn, startStreamCoturn } from "./support/coturn.ts";
import { ensureDebianPackages } from "./support/debian.ts";
import { internal, startTestPortal } from "../support/portal.ts";
import { watchClient, watchCommand } from "./support/strace.ts";
import { controlPassword, startTorNetwork, type TorNetwork } from "./support/tornet.ts";

const loopback = (port: number) => ({ kind: "tcp", address: "127.0.0.1", port }) as const;
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

let network: TorNetwork;
let echo: Server;
let echoPort: number;
let directory: string;
let coturn: Coturn;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  ensureDebianPackages({
    packages: ["coturn", "tor", "strace"],
    commands: ["turnserver", "tor", "tor-gencert", "strace"],
  });
  directory = await mkdtemp(join(tmpdir(), "hints-tor-"));
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  echoPort = (echo.address() as AddressInfo).port;
  coturn = await startStreamCoturn();
  network = await startTorNetwork({ exitPorts: [echoPort, coturn.port, coturn.tlsPort] });
});

afterAll(async () => {
  await Promise.all(closing.map((close) => close()));
  await network.stop();
  await coturn[Symbol.asyncDispose]();
  echo.close();
  await rm(directory, { recursive: true, force: true });
});

/** A connector that may reach nothing but its Tor; the exit's echo server on loopback is the one exception it may name. */
function hiddenConnector(tor: TorSettings): Connector {
  const connector = new Connector({
    policy: { revealIpAddress: false, allow: ["127.0.0.1"] },
    tcp: "tor",
    tor,
    race: { torAttemptTimeoutMilliseconds: 90_000, deadlineMilliseconds: 150_000 },
  });
  closing.push(() => connector.close());
  return connector;
}

/** Listens on an onion service made on the service's control port, with a key kept in `keys`. */
async function listenOnion(options: { readonly keys: string; readonly identity?: ReturnType<typeof createIdentity> }) {
  const connector = hiddenConnector({ control: loopback(network.service.controlPort) });
  const listener = new Listener({
    gate: connector.gate,
    tor: connector.tor,
    directory: options.keys,
    ...(options.identity === undefined ? {} : { identity: options.identity }),
  });
  const group = listener.listen({
    specs: ["onion:4000"],
    realm: "turnpike",
    onStream: (stream) => {
      stream.on("error", () => undefined);
      stream.pipe(stream);
    },
  });
  const readiness = await group.ready;
  const hint = readiness.advertised[0]?.hint ?? "";
  return { connector, group, readiness, hint };
}

/** Sends bytes to an echo and reads them back. */
async function exchange(stream: Duplex, bytes: Buffer): Promise<Buffer> {
  const output = new PassThrough();
  const chunks: Buffer[] = [];
  const all = new Promise<void>((resolve, reject) => {
    let missing = bytes.length;
    output.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      missing -= chunk.length;
      if (missing === 0) resolve();
    });
    stream.once("error", reject);
    stream.once("end", () => reject(new Error("the stream ended early")));
  });
  stream.pipe(output);
  stream.write(bytes);
  await all;
  stream.destroy();
  return Buffer.concat(chunks);
}

describe("an onion service that our listener made", () => {
  it("carries a stream from a client with a SOCKS port, and keeps its key in a file of mode 0600", async () => {
    const keys = join(directory, "keys-1");
    const { group, hint, connector: serving } = await listenOnion({ keys });
    expect(hint).toMatch(/^tor:[a-z2-7]{56}\.onion:4000$/u);
    expect((await stat(join(keys, "onion-4000.key"))).mode & 0o777).toBe(0o600);
    const connector = hiddenConnector({ socks: loopback(network.client.socksPort) });
    const bytes = randomBytes(2_000_000);
    const { stream, type } = await connector.connect({ hints: [hint] });
    expect(type).toBe("tor");
    expect(sha256(await exchange(stream, bytes))).toBe(sha256(bytes));
    await group.close();
    await serving.close();
    const again = await listenOnion({ keys });
    expect(again.hint).toBe(hint);
    await again.group.close();
  });

  it("carries a reference: TLS 1.3 with the key inside Tor", async () => {
    const identity = createIdentity();
    const { group, readiness } = await listenOnion({ keys: join(directory, "keys-2"), identity });
    const connector = hiddenConnector({ socks: loopback(network.client.socksPort) });
    const reference = parseReference(readiness.reference ?? "");
    const { stream, halfClose } = await connectReference(connector, reference);
    const bytes = randomBytes(100_000);
    const output = new PassThrough();
    const echoed: Buffer[] = [];
    output.on("data", (chunk: Buffer) => echoed.push(chunk));
    // Tor cannot end one direction alone; the TLS of a reference can, and netcat sees the end of the echo.
    await netcat(stream, { input: Readable.from([bytes]), output, halfClose });
    expect([halfClose, sha256(Buffer.concat(echoed))]).toEqual([true, sha256(bytes)]);
    const stranger = { ...reference, keyDigest: createIdentity().keyDigest };
    await expect(connectReference(connector, stranger)).rejects.toMatchObject({ cause: { code: "wrong-key" } });
    await group.close();
  });
});

describe("an exit", () => {
  it("is reached by tor: and by tcp: over Tor; each destination has a circuit of its own", async () => {
    const connector = hiddenConnector({
      control: loopback(network.client.controlPort),
      credentials: { password: controlPassword },
    });
    const watcher = new TorControl(
      await nodeDialer.dial(loopback(network.client.controlPort), { signal: new AbortController().signal }),
    );
    await watcher.authenticate({ password: controlPassword });
    const circuits = new Map<string, Set<string>>();
    watcher.onEvent((lines) => {
      const [event, , state, circuit = "", target = ""] = (lines[0] ?? "").split(" ");
      // Tor's own fetches of descriptors are streams too.
      const ours = target.endsWith(`:${echoPort}`) || target.endsWith(".onion:4000");
      if (event !== "STREAM" || state !== "SUCCEEDED" || !ours) return;
      circuits.set(target, (circuits.get(target) ?? new Set()).add(circuit));
    });
    await watcher.command("SETEVENTS STREAM");
    const { group, hint } = await listenOnion({ keys: join(directory, "keys-3") });
    for (const text of [`tor:127.0.0.1:${echoPort}`, `tcp:127.0.0.1:${echoPort}`, hint, hint]) {
      const { stream, statuses } = await connector.connect({ hints: [text] });
      expect(statuses[0]?.type).toBe(text.split(":")[0]);
      expect((await exchange(stream, Buffer.from("hello"))).toString()).toBe("hello");
    }
    await watcher.info("version");
    expect([...circuits.values()].map((set) => set.size)).toEqual([1, 1]);
    expect(new Set([...circuits.values()].flatMap((set) => [...set])).size).toBe(2);
    watcher.close();
    await group.close();
    await expect(connector.connect({ hints: ["tor:127.0.0.2:80"] })).rejects.toMatchObject({
      cause: { code: "address-refused" },
    });
  });
});

describe("control port", () => {
  it("takes a password, a safe cookie, and says what to do when it takes neither", async () => {
    for (const credentials of [{ password: controlPassword }, {}]) {
      const connector = hiddenConnector({ control: loopback(network.client.controlPort), credentials });
      await connector.tor.ready({ signal: AbortSignal.timeout(60_000) });
      expect(connector.tor.state).toMatchObject({ kind: "ready", mode: "control" });
    }
    const wrong = hiddenConnector({
      control: loopback(network.client.controlPort),
      credentials: { password: "wrong" },
    });
    const failing = wrong.tor.ready({ signal: AbortSignal.timeout(60_000) });
    await expect(failing).rejects.toThrow(TorUnavailableError);
    await expect(failing).rejects.toThrow("515");
    const noCookie = hiddenConnector({
      control: loopback(network.client.controlPort),
      credentials: { cookieFile: join(directory, "nothing") },
    });
    await expect(noCookie.tor.ready({ signal: AbortSignal.timeout(60_000) })).rejects.toThrow("set a password");
    expect(JSON.stringify(wrong.tor.state)).not.toContain("wrong");
  });

  it("of something that is not Tor is told apart", async () => {
    const connector = hiddenConnector({ control: loopback(echoPort) });
    await expect(connector.tor.ready({ signal: AbortSignal.timeout(60_000) })).rejects.toThrow("not the control port");
    const socks = hiddenConnector({ socks: loopback(echoPort) });
    await socks.tor.ready({ signal: AbortSignal.timeout(60_000) });
    await expect(socks.connect({ hints: [`tor:8.8.8.8:80`] })).rejects.toThrow(ConnectError);
  });
});

describe("a tor of our own", () => {
  it("is launched, tells how its bootstrap goes, makes onion services, is launched again after it died, and ends", async () => {
    const dataDirectory = join(directory, "launched");
    const connector = hiddenConnector({ launch: { dataDirectory, configuration: network.clientConfiguration } });
    const listener = new Listener({ gate: connector.gate, tor: connector.tor, directory: join(directory, "keys-4") });
    const details: string[] = [];
    const group = listener.listen({
      specs: ["onion:4001"],
      onStream: (stream) => stream.pipe(stream),
      onStatus: (_spec, detail) => details.push(detail),
    });
    const { advertised } = await group.ready;
    expect(details.filter((detail) => /^Tor: \d+% /u.test(detail)).length).toBeGreaterThan(1);
    expect(details).toContain("Tor: 100% Done");
    expect(details.at(-1)).toBe("Tor: publishing the onion service");
    const hints = advertised.map(({ hint }) => hint);
    const first = await connector.connect({ hints });
    expect((await exchange(first.stream, Buffer.from("hello"))).toString()).toBe("hello");

    const states: string[] = [];
    const lost = new Promise<void>((resolve) => {
      connector.tor.watch((state) => {
        states.push(state.kind);
        if (state.kind === "failed") resolve();
      });
    });
    process.kill(Number(await processOf(dataDirectory)), "SIGKILL");
    await lost;
    const second = await connector.connect({ hints });
    expect((await exchange(second.stream, Buffer.from("again"))).toString()).toBe("again");
    expect(states).toContain("starting");
    await group.close();
    const pid = await processOf(dataDirectory);
    await connector.close();
    expect(() => process.kill(Number(pid), 0)).toThrow("ESRCH");
  });

  it("that cannot be started says so", async () => {
    const connector = hiddenConnector({
      launch: { executable: "/nonexistent/tor", dataDirectory: join(directory, "none") },
    });
    await expect(connector.tor.ready({ signal: AbortSignal.timeout(60_000) })).rejects.toThrow("could not be started");
    const broken = hiddenConnector({
      launch: { dataDirectory: join(directory, "broken"), configuration: ["NoSuchOption 1"] },
    });
    await expect(broken.tor.ready({ signal: AbortSignal.timeout(60_000) })).rejects.toThrow(
      /ended with code 1: .*NoSuchOption/u,
    );
  });
});

describe("Tor killed in the middle", () => {
  it("is told clearly, and works again after it is back", async () => {
    const connector = hiddenConnector({ socks: loopback(network.client.socksPort) });
    const { group, hint } = await listenOnion({ keys: join(directory, "keys-5") });
    const { stream } = await connector.connect({ hints: [hint] });
    expect(stream.destroyed).toBe(false);
    const broken = new Promise<void>((resolve) => stream.once("end", resolve));
    stream.resume();
    await network.kill("client");
    await broken;
    const details: string[] = [];
    const failing = connector.connect({
      hints: [hint],
      onStatus: (statuses) => details.push(statuses[0]?.detail ?? ""),
    });
    await expect(failing).rejects.toThrow(/Tor is not available.*127\.0\.0\.1/u);
    expect(connector.tor.state.kind).toBe("failed");
    await network.start("client");
    const again = await connector.connect({ hints: [hint] });
    expect((await exchange(again.stream, Buffer.from("back"))).toString()).toBe("back");
    await group.close();
  });

  it("an onion service comes back by itself when its tor does", async () => {
    const { connector: serving, group, hint } = await listenOnion({ keys: join(directory, "keys-6") });
    await network.kill("service");
    await network.start("service");
    await new Promise<void>((resolve) => {
      const check = (): void => {
        if (serving.tor.state.kind === "ready") resolve();
      };
      serving.tor.watch(check);
      check();
    });
    const connector = hiddenConnector({ socks: loopback(network.client.socksPort) });
    const { stream } = await retry(() => connector.connect({ hints: [hint] }));
    expect((await exchange(stream, Buffer.from("risen"))).toString()).toBe("risen");
    await group.close();
  });
});

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

/** A descriptor takes a moment to be published again: what fails is tried again, ten times at most. */
async function retry<Value>(work: () => Promise<Value>): Promise<Value> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 10) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
}

/** The process that a launched tor is, by its data directory. */
async function processOf(dataDirectory: string): Promise<string> {
  const { readdir } = await import("node:fs/promises");
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/u.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (line.startsWith("tor\0") && line.includes(dataDirectory)) return pid;
  }
  throw new Error("the launched tor is not there");
}
