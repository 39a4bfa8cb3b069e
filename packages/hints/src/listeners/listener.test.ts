import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { settle } from "../../test/fakes.ts";
import { createGate, type HintPolicy } from "../gate.ts";
import { createIdentity } from "../identity.ts";
import { nodeDialer, systemResolver } from "../network.ts";
import { parseReference } from "../reference.ts";
import type { Listening } from "./handler.ts";
import { ListenError, Listener, type ListenerGroup } from "./listener.ts";
import { allocatePort, createPortStore } from "./port.ts";

const addresses = () => [
  { address: "127.0.0.1", internal: true },
  { address: "fe80::1", internal: false },
  { address: "192.168.4.5", internal: false },
  { address: "2606:4700::9", internal: false },
  { address: "8.8.4.4", internal: false },
];
const onStream = (): void => undefined;

function gate(policy: HintPolicy = {}) {
  return createGate({ policy, dialer: nodeDialer, resolver: systemResolver });
}

let directory: string;
const groups: ListenerGroup[] = [];
const servers: Server[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "hints-"));
});
afterEach(async () => {
  await Promise.all(groups.splice(0).map((group) => group.close()));
  for (const server of servers.splice(0)) server.close();
  await rm(directory, { recursive: true });
});

function up(group: ListenerGroup): ListenerGroup {
  groups.push(group);
  return group;
}

describe("readiness", () => {
  it("is one promise for all listeners and advertisements", async () => {
    const group = up(
      new Listener({ gate: gate(), addresses, identity: createIdentity() }).listen({
        specs: ["tcp:0", "tcp:127.0.0.1:0", `unix:${directory}/s`],
        realm: "r",
        onStream,
      }),
    );
    const { listeners, advertised, reference } = await group.ready;
    expect(listeners).toHaveLength(3);
    const port = listeners[0]?.bound.split(":").at(-1) ?? "";
    const hosts = ["[2606:4700::9]", "8.8.4.4", "192.168.4.5"];
    const wildcard = (listeners[0]?.bound ?? "").startsWith("[") ? hosts : hosts.slice(1);
    expect(advertised.map(({ hint }) => hint)).toEqual([
      ...wildcard.map((host) => `tcp:${host}:${port}`),
      `tcp:${listeners[1]?.bound ?? ""}`,
      `unix:${directory}/s`,
    ]);
    expect(new Set(advertised.map(({ reachability }) => reachability))).toEqual(new Set(["unverified"]));
    expect(parseReference(reference ?? "")).toMatchObject({ realm: "r", hints: advertised.map(({ hint }) => hint) });
  });

  it("says which listeners failed, and closes the others", async () => {
    const taken = createServer();
    servers.push(taken);
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const busy = `tcp:127.0.0.1:${(taken.address() as AddressInfo).port}`;
    const free = await allocatePort({ host: "127.0.0.1" });
    const listener = new Listener({ gate: gate(), addresses });
    const error: unknown = await listener
      .listen({
        specs: [`tcp:127.0.0.1:${free}`, busy, "quic:1", "tls:0", "onion:80", "tcp:x:1", "nonsense"],
        onStream,
      })
      .ready.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ListenError);
    expect((error as ListenError).failures.map(({ spec, cause }) => [spec, cause.message.slice(0, 60)])).toEqual([
      [busy, expect.stringContaining("EADDRINUSE")],
      ["quic:1", expect.stringContaining("no listener")],
      ["tls:0", expect.stringContaining("certificate")],
      ["onion:80", expect.stringContaining("needs Tor")],
      ["tcp:x:1", expect.stringContaining("literal address")],
      ["nonsense", expect.stringContaining("write a type")],
    ]);
    await up(listener.listen({ specs: [`tcp:127.0.0.1:${free}`], onStream })).ready;
  });

  it("asks a peer which hints can be reached, and advertises no others", async () => {
    const asked: string[] = [];
    const group = up(
      new Listener({ gate: gate(), addresses }).listen({
        specs: ["tcp:0.0.0.0:0"],
        onStream,
        verify: (hint) => {
          asked.push(hint);
          if (hint.includes("192.168")) return Promise.resolve(false);
          return Promise.resolve(true);
        },
      }),
    );
    const { advertised, unreachable } = await group.ready;
    expect(asked).toHaveLength(2);
    expect(advertised).toEqual([{ hint: asked[0], reachability: "verified" }]);
    expect(unreachable).toEqual([asked[1]]);
    const unsure = up(
      new Listener({ gate: gate(), addresses }).listen({
        specs: ["tcp:127.0.0.1:0"],
        onStream,
        verify: () => Promise.reject(new Error("nobody there")),
      }),
    );
    expect((await unsure.ready).advertised).toMatchObject([{ reachability: "unverified" }]);
  });

  it("takes an explicit list as it is, and refuses a malformed one at once", async () => {
    const listener = new Listener({ gate: gate(), addresses });
    const advertise = ["tcp:relay.example.org:443", "old.example.org:80"];
    const group = up(listener.listen({ specs: ["tcp:127.0.0.1:0"], advertise, onStream }));
    expect((await group.ready).advertised).toEqual(advertise.map((hint) => ({ hint, reachability: "configured" })));
    expect(() => listener.listen({ specs: [], advertise: ["nonsense"], onStream })).toThrow("colon");
  });

  it("is given up when the caller does", async () => {
    const scope = new AbortController();
    const listener = new Listener({ gate: gate(), addresses });
    let closed = false;
    const late = Promise.withResolvers<Listening>();
    listener.addListenHandler("slow", { listen: () => late.promise });
    const group = listener.listen({ specs: ["slow:1"], onStream, signal: scope.signal });
    await settle();
    scope.abort(new Error("enough"));
    await expect(group.ready).rejects.toThrow("enough");
    late.resolve({
      bound: "x",
      hints: [],
      close: async () => {
        closed = true;
      },
    });
    await settle();
    expect(closed).toBe(true);
    await expect(listener.listen({ specs: ["slow:1"], onStream, signal: scope.signal }).ready).rejects.toThrow(
      "enough",
    );
  });
});

describe("ports", () => {
  it("a port that was found is kept for the next start", async () => {
    const ports = createPortStore({ file: join(directory, "ports.json") });
    const listener = new Listener({ gate: gate(), addresses, ports });
    const first = listener.listen({ specs: ["tcp:127.0.0.1:0", "tcp:0.0.0.0:0"], onStream });
    const { listeners } = await first.ready;
    await first.close();
    const second = listener.listen({ specs: ["tcp:127.0.0.1:0", "tcp:0.0.0.0:0"], onStream });
    expect((await second.ready).listeners).toEqual(listeners);
    await second.close();
    const port = Number(listeners[0]?.bound.split(":").at(-1));
    const taken = createServer();
    servers.push(taken);
    await new Promise<void>((resolve) => taken.listen(port, "127.0.0.1", resolve));
    await expect(listener.listen({ specs: ["tcp:127.0.0.1:0"], onStream }).ready).rejects.toThrow(
      "kept from an earlier",
    );
  });

  it("a spoiled file of ports stops the start", async () => {
    for (const text of ["{", "[]", '{"tcp:0": "80"}', '{"tcp:0": 70000}']) {
      await writeFile(join(directory, "ports.json"), text);
      await expect(createPortStore({ file: join(directory, "ports.json") }).get("tcp:0")).rejects.toThrow("mend");
    }
  });

  it("allocatePort gives one that can be bound everywhere", async () => {
    const port = await allocatePort();
    const server = createServer();
    servers.push(server);
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, resolve));
    expect((server.address() as AddressInfo).port).toBe(port);
  });
});

describe("streams that come in", () => {
  it("are capped, and end when they do not prove themselves in time", async () => {
    const { connect } = await import("node:net");
    const seen: number[] = [];
    const group = up(
      new Listener({
        gate: gate(),
        addresses,
        identity: createIdentity(),
        maximumStreams: 2,
        clock: {
          now: () => 0,
          after: (milliseconds, run) => {
            seen.push(milliseconds);
            if (seen.length === 2) setImmediate(run);
            return () => undefined;
          },
        },
      }).listen({ specs: ["tcp:127.0.0.1:0"], onStream }),
    );
    const { listeners } = await group.ready;
    const port = Number(listeners[0]?.bound.split(":").at(-1));
    const dial = () => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      return { socket, closed: new Promise((resolve) => socket.once("close", resolve)) };
    };
    const first = dial();
    const second = dial();
    await second.closed;
    expect(seen).toEqual([10_000, 10_000]);
    const third = dial();
    await vi.waitFor(() => expect(seen).toHaveLength(3));
    await dial().closed;
    expect(seen).toHaveLength(3);
    first.socket.destroy();
    third.socket.destroy();
  });

  it("on a Unix socket: a stale file is replaced, a living one is not", async () => {
    const listener = new Listener({ gate: gate(), addresses });
    const spec = `unix:${directory}/s`;
    const first = up(listener.listen({ specs: [spec], onStream }));
    await first.ready;
    await expect(listener.listen({ specs: [spec], onStream }).ready).rejects.toThrow("EADDRINUSE");
    const { spawnSync } = await import("node:child_process");
    const program = `require("net").createServer().listen(${JSON.stringify(`${directory}/t`)}, () => process.kill(process.pid, 9))`;
    spawnSync(process.execPath, ["-e", program]);
    await up(listener.listen({ specs: [`unix:${directory}/t`], onStream })).ready;
  });
});

describe("plug-ins", () => {
  it("are added and removed by type", async () => {
    const listener = new Listener({ gate: gate(), addresses });
    const handler = {
      listen: () => Promise.resolve({ bound: "x", hints: ["i2p:abc"], close: () => Promise.resolve() }),
    };
    listener.addListenHandler("i2p", handler);
    expect(() => listener.addListenHandler("i2p", handler)).toThrow(RangeError);
    expect((await up(listener.listen({ specs: ["i2p:1"], onStream })).ready).advertised).toMatchObject([
      { hint: "i2p:abc" },
    ]);
    expect(listener.removeListenHandler("i2p")).toBe(true);
    listener.removeAllListenHandlers();
    await expect(listener.listen({ specs: ["tcp:0"], onStream }).ready).rejects.toThrow(ListenError);
  });
});

describe("a hidden address", () => {
  it("is refused to reveal at once, and again at the gate", async () => {
    const hidden = gate({ revealIpAddress: false });
    const listener = new Listener({ gate: hidden, addresses });
    for (const spec of ["tcp:0", "tcp:0.0.0.0:1", "tcp:192.168.1.1:1", "wss:0"]) {
      expect(() => listener.listen({ specs: [spec], advertise: [], onStream })).toThrow("reveal_ip_address");
    }
    expect(() => listener.listen({ specs: ["tcp:127.0.0.1:0"], onStream })).toThrow("hints.advertise");
    expect(() => listener.listen({ specs: [], advertise: ["tcp:8.8.8.8:1"], onStream })).toThrow("hints.advertise");
    expect(() => hidden.checkListen({ kind: "tcp", address: "0.0.0.0", port: 0 })).toThrow("reveal_ip_address");
    await up(listener.listen({ specs: ["tcp:127.0.0.1:0"], advertise: [], onStream })).ready;
  });
});
