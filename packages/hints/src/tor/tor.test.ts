import { describe, expect, it } from "vitest";
import { answerSocks, FakeNetwork, ManualClock, settle, streamPair } from "../../test/fakes.ts";
import { createGate } from "../gate.ts";
import type { DialTarget } from "../network.ts";
import { parseListener, readTorConfiguration, type TorSettings } from "./start.ts";
import { createTor, describeTorState, type TorState } from "./tor.ts";

const { signal } = new AbortController();

function setUp(options: { readonly settings?: TorSettings; readonly up: (target: DialTarget) => boolean }) {
  const clock = new ManualClock();
  const asked: string[] = [];
  const network = new FakeNetwork({
    answer(target) {
      if (!options.up(target)) return undefined;
      const [near, far] = streamPair();
      answerSocks(far, { asked: (host, port, user, password) => asked.push(`${host}:${port} ${user} ${password}`) });
      return near;
    },
  });
  const gate = createGate({ policy: {}, dialer: network, resolver: network });
  const tor = createTor({ settings: options.settings ?? {}, gate, clock });
  const states: TorState["kind"][] = [];
  tor.watch((state) => states.push(state.kind));
  return { clock, asked, network, tor, states };
}

const port = (target: DialTarget): number => (target.kind === "tcp" ? target.port : 0);

describe("finding Tor", () => {
  it("does nothing before it is used, then tries 9050 and 9150", async () => {
    const { tor, network } = setUp({ up: (target) => port(target) === 9150 });
    expect(tor.state).toEqual({ kind: "idle" });
    expect(network.dialled).toEqual([]);
    await tor.ready({ signal });
    expect(network.dialled.map(port)).toEqual([9050, 9150]);
    expect(tor.state).toMatchObject({ kind: "ready", socks: "127.0.0.1:9150", mode: "socks" });
    await tor.close();
  });

  it("many who wait share one attempt", async () => {
    const { tor, network } = setUp({ up: () => true });
    await Promise.all([tor.ready({ signal }), tor.ready({ signal }), tor.ready({ signal })]);
    expect(network.dialled).toHaveLength(1);
    await tor.close();
  });

  it("a failure is tried again after a back-off that grows to 30 s, never cached for ever", async () => {
    let up = false;
    const { tor, clock, network, states } = setUp({
      settings: { socks: { kind: "tcp", address: "127.0.0.1", port: 9 } },
      up: () => up,
    });
    await expect(tor.ready({ signal })).rejects.toThrow("127.0.0.1:9");
    const waits: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      const before = network.dialled.length;
      const attempt = tor.ready({ signal }).catch(() => undefined);
      const start = clock.now();
      while (network.dialled.length === before) await clock.advance(250);
      waits.push(clock.now() - start);
      await attempt;
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    up = true;
    const attempt = tor.ready({ signal });
    await clock.advance(30_000);
    await attempt;
    expect(states.at(-1)).toBe("ready");
    await tor.close();
  });

  it("one that waits can give up without ending the attempt of others", async () => {
    const { tor, clock } = setUp({ up: () => false });
    await tor.ready({ signal }).catch(() => undefined);
    const scope = new AbortController();
    const impatient = tor.ready({ signal: scope.signal });
    const patient = tor.ready({ signal });
    scope.abort(new Error("enough"));
    await expect(impatient).rejects.toThrow("enough");
    void clock.advance(500);
    await expect(patient).rejects.toThrow("Tor is not available");
    await tor.close();
    await expect(tor.ready({ signal })).rejects.toThrow("closed");
  });

  it("a port that accepts and says nothing, or hangs up, is not taken for Tor", async () => {
    const clock = new ManualClock();
    const network = new FakeNetwork({
      answer(target) {
        const [near, far] = streamPair();
        if (port(target) === 9150) far.end();
        return near;
      },
    });
    const gate = createGate({ policy: {}, dialer: network, resolver: network });
    const tor = createTor({ settings: {}, gate, clock });
    const waiting = expect(tor.ready({ signal })).rejects.toThrow(/9050: it does not answer; .*9150: it closed/u);
    await clock.advance(5_000);
    await waiting;
  });

  it("a start that hangs ends", async () => {
    const clock = new ManualClock();
    const gate = createGate({
      policy: {},
      dialer: { dial: () => new Promise(() => undefined) },
      resolver: new FakeNetwork({}),
    });
    const tor = createTor({ settings: {}, gate, clock });
    const waiting = expect(tor.ready({ signal })).rejects.toThrow("not ready within 180 s");
    await settle();
    await clock.advance(180_000);
    await waiting;
  });
});

describe("streams", () => {
  it("to different destinations, and of different objects, are kept apart; the destination is not told", async () => {
    const one = setUp({ up: () => true });
    const two = setUp({ up: () => true });
    await one.tor.connect({ host: "a.example", port: 1, signal });
    await one.tor.connect({ host: "a.example", port: 1, signal });
    await one.tor.connect({ host: "b.example", port: 1, signal });
    await two.tor.connect({ host: "a.example", port: 1, signal });
    const credentials = [...one.asked, ...two.asked].map((line) => line.split(" ").slice(1).join(" "));
    expect(credentials[0]).toBe(credentials[1]);
    expect(new Set(credentials).size).toBe(3);
    expect(credentials.join()).not.toContain("example");
  });

  it("private numeric addresses and this machine are refused before Tor hears of them", async () => {
    const { tor, network } = setUp({ up: () => true });
    for (const host of ["10.0.0.1", "127.0.0.1", "::1", "169.254.169.254", "100.64.0.1", "localhost", "x.localhost"]) {
      await expect(tor.connect({ host, port: 80, signal })).rejects.toMatchObject({ code: "address-refused" });
    }
    expect(network.dialled).toEqual([]);
  });

  it("an onion service needs a control port, and says so", async () => {
    const { tor } = setUp({ up: () => true });
    const target = { kind: "tcp", address: "127.0.0.1", port: 1 } as const;
    await expect(tor.createOnion({ key: undefined, virtualPort: 80, target, signal })).rejects.toThrow("control port");
  });
});

it("listeners of Tor are read as it writes them", () => {
  expect(parseListener('"127.0.0.1:9050" "unix:/x"')).toEqual({ kind: "tcp", address: "127.0.0.1", port: 9050 });
  expect(parseListener('"unix:/run/tor/socks"')).toEqual({ kind: "unix", path: "/run/tor/socks" });
  expect(parseListener('"[::]:9050"')).toEqual({ kind: "tcp", address: "::1", port: 9050 });
  expect(parseListener("")).toBeUndefined();
});

describe("[hints.tor]", () => {
  it("is read", () => {
    expect(readTorConfiguration({})).toEqual({ credentials: {} });
    expect(readTorConfiguration({ socks: "localhost:9150" })).toMatchObject({
      socks: { address: "127.0.0.1", port: 9150 },
    });
    expect(readTorConfiguration({ control: "unix:/run/tor/control", password: "p" })).toMatchObject({
      control: { kind: "unix", path: "/run/tor/control" },
      credentials: { password: "p" },
    });
    expect(readTorConfiguration({ launch: true, data_dir: "/d", executable: "/t" })).toEqual({
      launch: { dataDirectory: "/d", executable: "/t" },
    });
  });

  it.each([
    [{ socks: "tor.example.org:9050" }, "hints.tor.socks"],
    [{ control: "9051" }, "hints.tor.control"],
    [{ launch: true }, "data_dir"],
    [{ launch: true, data_dir: "/d", socks: "127.0.0.1:9050" }, "excludes"],
    [{ password: "p" }, "hints.tor.control"],
  ])("%j is refused: %s", (configuration, words) => {
    expect(() => readTorConfiguration(configuration)).toThrow(words);
  });
});

it("states have words", () => {
  const cause = new Error("gone");
  expect(describeTorState({ kind: "starting", progress: 45, summary: "Loading" })).toBe("Tor: 45% Loading");
  expect(describeTorState({ kind: "failed", cause, retryAt: 1 })).toContain("gone");
  expect(describeTorState({ kind: "ready", socks: undefined, mode: "control" })).toContain("without a SOCKS port");
});
