import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import {
  ConnectError,
  connectReference,
  createIdentity,
  Listener,
  netcat,
  nodeDialer,
  parseReference,
  TorControl,
  TorUnavailableError,
} from "@turnpike/hints";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exchange, loopback, sha256, startTorPlace, type TorPlace } from "./support/tor-place.ts";
import { controlPassword } from "./support/tornet.ts";

let place: TorPlace;
let network: TorPlace["network"];
let echoPort: TorPlace["echoPort"];
let directory: TorPlace["directory"];
let hiddenConnector: TorPlace["hiddenConnector"];

beforeAll(async () => {
  place = await startTorPlace();
  ({ network, echoPort, directory, hiddenConnector } = place);
});

afterAll(() => place.stop());

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
