import type { Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { answerSocks, FakeNetwork, ManualClock, settle, streamPair } from "../test/fakes.ts";
import { ConnectError, Connector, type ConnectorOptions, type HintContext, type HintHandler } from "./index.ts";

const onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

function open(): Duplex {
  return streamPair()[0];
}

function setUp(options: ConnectorOptions & { readonly names?: Readonly<Record<string, readonly string[]>> } = {}) {
  const network = new FakeNetwork({
    answer: () => open(),
    names: (name, family) =>
      (options.names?.[name] ?? []).filter((address) => address.includes(":") === (family === 6)),
  });
  return { network, connector: new Connector({ dialer: network, resolver: network, ...options }) };
}

async function failure(work: Promise<unknown>): Promise<ConnectError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw new Error("no ConnectError", { cause: error });
  return error;
}

describe("handlers", () => {
  const handler = (seen: string[], name: string): HintHandler => ({
    toEndpoint(context: HintContext) {
      seen.push(`${name} ${context.hint.rest}`);
      return { lane: "public", connect: () => Promise.resolve(open()) };
    },
  });

  it("are added, replaced, removed one by one and all at once, per connector", async () => {
    const seen: string[] = [];
    const { connector } = setUp();
    const other = setUp().connector;
    connector.addHintHandler("i2p", handler(seen, "first"));
    expect(() => connector.addHintHandler("i2p", handler(seen, "x"))).toThrow(RangeError);
    expect(() => connector.addHintHandler("I2P", handler(seen, "x"))).toThrow(RangeError);
    expect((await connector.connect({ hints: ["i2p:abc"] })).hint).toBe("i2p:abc");
    connector.replaceHintHandler("i2p", handler(seen, "second"));
    await connector.connect({ hints: ["i2p:abc"] });
    expect(seen).toEqual(["first abc", "second abc"]);
    expect(other.hintTypes).not.toContain("i2p");
    expect(connector.removeHintHandler("i2p")).toBe(true);
    expect(connector.removeHintHandler("i2p")).toBe(false);
    expect(() => connector.replaceHintHandler("i2p", handler(seen, "x"))).toThrow(RangeError);
    connector.removeAllHintHandlers();
    expect(connector.hintTypes).toEqual([]);
    const error = await failure(connector.connect({ hints: ["tcp:8.8.8.8:80", "8.8.8.8:80"] }));
    expect(error.failures.map(({ cause }) => cause)).toMatchObject([
      { code: "unknown-type" },
      { code: "unknown-type" },
    ]);
  });

  it("may be asynchronous, may throw, and may answer nothing usable", async () => {
    const { connector } = setUp();
    connector.addHintHandler("late", {
      toEndpoint: async () => {
        await settle();
        return { lane: "public", connect: () => Promise.resolve(open()) };
      },
    });
    connector.addHintHandler("bad", { toEndpoint: () => Promise.reject(new Error("no such network")) });
    const { hint, statuses } = await connector.connect({ hints: ["bad:1", "late:1"] });
    expect(hint).toBe("late:1");
    expect(statuses).toMatchObject([
      { state: "ignored", failure: { phase: "reading", cause: { message: "no such network" } } },
      { state: "won" },
    ]);
  });

  it("unknown types are ignored, with a status that says so", async () => {
    const { connector } = setUp();
    const { statuses } = await connector.connect({ hints: ["quic:a.example:1", "tcp:8.8.8.8:80"] });
    expect(statuses).toMatchObject([
      { hint: "quic:a.example:1", state: "ignored", failure: { cause: { code: "unknown-type" } } },
      { hint: "tcp:8.8.8.8:80", state: "won" },
    ]);
  });
});

describe("hostile lists", () => {
  it("of ten thousand hints sixteen are used", async () => {
    const { connector, network } = setUp({ race: { paceMilliseconds: 0 } });
    const hints = Array.from({ length: 10_000 }, (_, index) => `tcp:8.8.${index >> 8}.${index & 255}:80`);
    const { statuses } = await connector.connect({ hints });
    expect(network.dialled.length).toBeLessThanOrEqual(16);
    expect(statuses.length).toBeLessThan(100);
    expect(statuses[16]).toMatchObject({ state: "ignored", failure: { cause: { code: "too-many" } } });
  });

  it.each([
    "tcp:8.8.8.8:80\nHost: evil",
    "tor:x.onion:80:socksProxy=attacker.example:1234",
    `tor:${onion}:80:socks=127.0.0.1:1`,
    "tcp:8.8.8.8:80:interface=eth0",
    "tls:8.8.8.8:443?rejectUnauthorized=false",
    "wss:8.8.8.8:443#x",
    "socks:8.8.8.8:80",
    "unix:/var/run/docker.sock",
    "unix:../../etc/passwd",
    "tcp:127.0.0.1:22",
    "tcp:localhost:22",
    "tcp:[::1]:22",
    "tcp:[::ffff:127.0.0.1]:22",
    "tcp:169.254.169.254:80",
    "tcp:10.0.0.1:80",
    "tcp:2130706433:80",
    "tcp:rebound.example:80",
    "tcp:x.onion:80",
    "tor:192.168.0.1:80",
    "tor:localhost:80",
    "tor:[::1]:80",
    `tor:${onion.replace("2", "3")}:80`,
    "a".repeat(1_000_000),
  ])("nothing is dialled for %.60j", async (hint) => {
    const { connector, network } = setUp({
      names: { "rebound.example": ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254"] },
    });
    const error = await failure(connector.connect({ hints: [hint] }));
    if (hint.startsWith("tor:")) expect(error.failures).toMatchObject([{ phase: "reading" }]);
    expect(network.dialled).toEqual([]);
    expect(error.message.length).toBeLessThan(1_000);
  });

  it("the address that was checked is the address that is dialled", async () => {
    let asked = 0;
    const network = new FakeNetwork({
      answer: () => open(),
      names: (_name, family) => {
        asked += 1;
        return family === 6 ? [] : asked <= 2 ? ["8.8.8.8"] : ["127.0.0.1"];
      },
    });
    const connector = new Connector({ dialer: network, resolver: network });
    await connector.connect({ hints: ["tcp:rebinding.example:80"] });
    expect(network.dialled).toEqual([{ kind: "tcp", address: "8.8.8.8", port: 80 }]);
    expect(asked).toBe(2);
  });
});

describe("policy opens what it names", () => {
  it("private addresses that the hint spells, Unix sockets, an allow list", async () => {
    const { connector, network } = setUp({
      policy: { privateAddresses: "literal", unixSockets: true, allow: ["10.9.0.0/16"] },
      names: { "inside.example": ["10.9.1.1"], "other.example": ["10.8.1.1"] },
    });
    for (const hint of ["tcp:127.0.0.1:80", "tcp:localhost:80", "unix:/run/x.sock", "tcp:inside.example:80"]) {
      expect((await connector.connect({ hints: [hint] })).hint).toBe(hint);
    }
    expect(network.resolvedNames).toEqual(["inside.example/6", "inside.example/4"]);
    await failure(connector.connect({ hints: ["tcp:other.example:80"] }));
  });

  it("overrides choose the route of a target, the first match first", async () => {
    const { connector, network } = setUp({
      tcp: "disabled",
      overrides: [
        { target: "a.example:80", route: "tcp" },
        { target: "*.onward.example", route: "tor" },
      ],
      tor: { socks: { kind: "tcp", address: "127.0.0.1", port: 9050 } },
      names: { "a.example": ["8.8.8.8"] },
    });
    expect((await connector.connect({ hints: ["tcp:a.example:80"] })).address).toBe("8.8.8.8");
    const error = await failure(connector.connect({ hints: ["tcp:a.example:81"] }));
    expect(error.cause).toMatchObject({ code: "route-disabled" });
    network.dialled.length = 0;
    void connector.connect({ hints: ["tcp:x.onward.example:80"] }).catch(() => undefined);
    await settle();
    expect(network.dialled).toEqual([{ kind: "tcp", address: "127.0.0.1", port: 9050 }]);
    expect(network.resolvedNames).toEqual(["a.example/6", "a.example/4"]);
  });

  it("socks: goes through the proxy of local configuration", async () => {
    const asked: unknown[] = [];
    const network = new FakeNetwork({
      answer() {
        const [near, far] = streamPair();
        answerSocks(far, { asked: (...what) => asked.push(what) });
        return near;
      },
    });
    const connector = new Connector({
      dialer: network,
      resolver: network,
      socksProxy: { target: { kind: "tcp", address: "127.0.0.1", port: 1080 }, username: "u", password: "p" },
    });
    await connector.connect({ hints: ["socks:a.example:80"] });
    expect(asked).toEqual([["a.example", 80, "u", "p"]]);
    expect(network.dialled).toEqual([{ kind: "tcp", address: "127.0.0.1", port: 1080 }]);
    expect((await failure(connector.connect({ hints: ["socks:10.0.0.1:80"] }))).cause).toMatchObject({
      code: "address-refused",
    });
  });
});

describe("races", () => {
  it("close every loser, even one that comes too late", async () => {
    const clock = new ManualClock();
    const streams: Duplex[] = [];
    const late = Promise.withResolvers<Duplex>();
    const connector = new Connector({ clock, builtInHandlers: false });
    connector.addHintHandler("late", { toEndpoint: () => ({ lane: "public", connect: () => late.promise }) });
    connector.addHintHandler("stuck", {
      toEndpoint: () => ({
        lane: "public",
        connect: () => {
          const stream = open();
          streams.push(stream);
          return Promise.resolve(stream);
        },
        negotiate: () => new Promise<Duplex>(() => undefined),
      }),
    });
    connector.addHintHandler("good", {
      toEndpoint: () => ({ lane: "public", connect: () => Promise.resolve(open()) }),
    });
    const connecting = connector.connect({ hints: ["late:1", "stuck:1", "good:1"] });
    await clock.advance(600);
    const { hint, stream, statuses } = await connecting;
    expect(hint).toBe("good:1");
    expect(stream.destroyed).toBe(false);
    expect(streams.map(({ destroyed }) => destroyed)).toEqual([true]);
    expect(statuses.map(({ state }) => state)).toEqual(["abandoned", "abandoned", "won"]);
    const tooLate = open();
    late.resolve(tooLate);
    await settle();
    expect(tooLate.destroyed).toBe(true);
  });

  it("have one winner, even when two prove themselves at the same moment", async () => {
    const streams = [open(), open()];
    const connector = new Connector({ builtInHandlers: false, race: { paceMilliseconds: 0 } });
    const moment = Promise.withResolvers<void>();
    connector.addHintHandler("twin", {
      toEndpoint: ({ hint: { rest } }) => ({
        lane: "public",
        connect: () => moment.promise.then(() => streams[Number(rest)] ?? open()),
      }),
    });
    const connecting = connector.connect({ hints: ["twin:0", "twin:1"] });
    await settle();
    moment.resolve();
    const { stream } = await connecting;
    await settle();
    expect(streams.map((one) => one.destroyed)).toEqual([false, true]);
    expect(stream).toBe(streams[0]);
  });

  it("win only when the caller's proof is given", async () => {
    const { connector } = setUp({ race: { paceMilliseconds: 0 } });
    let proofs = 0;
    const statuses: string[] = [];
    const { hint } = await connector.connect({
      hints: ["tcp:8.8.8.8:1", "tcp:8.8.8.8:2"],
      onStatus: (list) => statuses.push(list.map(({ state }) => state).join(" ")),
      prove: (stream) => {
        proofs += 1;
        return proofs === 1 ? Promise.reject(new Error("impostor")) : Promise.resolve(stream);
      },
    });
    expect(hint).toBe("tcp:8.8.8.8:2");
    expect(statuses).toContain("negotiating negotiating");
    expect(statuses.at(-1)).toBe("failed won");
  });

  it("take hints that come while they run, and let go of the source when they are over", async () => {
    const { connector } = setUp();
    const gate = Promise.withResolvers<void>();
    let returned = false;
    async function* source(): AsyncGenerator<readonly string[]> {
      try {
        await gate.promise;
        yield ["tcp:8.8.4.4:80"];
        yield ["tcp:8.8.4.5:80"];
      } finally {
        returned = true;
      }
    }
    const connecting = connector.connect({ hints: ["quic:x"], moreHints: source() });
    await settle();
    gate.resolve();
    expect((await connecting).hint).toBe("tcp:8.8.4.4:80");
    await settle();
    expect(returned).toBe(true);
  });

  it("stop when the caller gives up, before or during", async () => {
    const { connector } = setUp();
    connector.addHintHandler("never", {
      toEndpoint: () => ({ lane: "public", connect: () => new Promise<Duplex>(() => undefined) }),
    });
    const scope = new AbortController();
    const connecting = connector.connect({ hints: ["never:1"], signal: scope.signal });
    await settle();
    scope.abort(new Error("enough"));
    expect(await failure(connecting)).toMatchObject({ code: "stopped", cause: { message: "enough" } });
    expect(await failure(connector.connect({ hints: ["tcp:8.8.8.8:80"], signal: scope.signal }))).toMatchObject({
      code: "stopped",
    });
  });

  it("a status listener that throws harms nothing", async () => {
    const { connector } = setUp();
    const { hint } = await connector.connect({
      hints: ["tcp:8.8.8.8:80"],
      onStatus: () => {
        throw new Error("oops");
      },
    });
    expect(hint).toBe("tcp:8.8.8.8:80");
  });
});
