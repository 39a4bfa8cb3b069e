import { readFile } from "node:fs/promises";
import { ConnectError, type RaceOptions } from "@turnpike/hints";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Behaviour, simulate, type SimulatedHint } from "./support/hint-networks.ts";

const quick: Behaviour = { kind: "answers", after: 20, proven: 60 };
const slow: Behaviour = { kind: "answers", after: 400, proven: 900 };
const dead: Behaviour = { kind: "blackhole" };
const refusing: Behaviour = { kind: "refuses", after: 20 };
const impostor: Behaviour = { kind: "wrong-identity", after: 20, unmasked: 60 };

const way = (text: string, behaviour: Behaviour, more: Partial<SimulatedHint> = {}): SimulatedHint => ({
  text,
  way: behaviour,
  ...more,
});
const name = (
  text: string,
  ipv6: readonly Behaviour[],
  ipv4: readonly Behaviour[],
  delays = [10, 10],
): SimulatedHint => ({
  text,
  ipv6: { answeredAfter: delays[0] ?? 10, addresses: ipv6 },
  ipv4: { answeredAfter: delays[1] ?? 10, addresses: ipv4 },
});

describe("pace and order", () => {
  it("starts one every 250 ms", () => {
    const { begun } = simulate([way("a", dead), way("b", dead), way("c", dead), way("d", quick)]);
    expect(begun).toEqual(["0 a -", "250 b -", "500 c -", "750 d -"]);
  });

  it("starts the next at once when one fails", () => {
    const { begun, at, winner } = simulate([way("a", refusing), way("b", refusing), way("c", quick)]);
    expect(begun).toEqual(["0 a -", "20 b -", "40 c -"]);
    expect([at, winner]).toEqual([100, "c"]);
  });

  it("interleaves families, IPv6 first, and first addresses before second ones", () => {
    const { begun } = simulate([name("a", [dead, dead], [dead]), name("b", [dead], [quick])]);
    expect(begun).toEqual(["10 a v6#0", "260 a v4#0", "510 b v6#0", "760 b v4#0"]);
  });

  it("lets IPv4 wait 50 ms for IPv6, and no longer", () => {
    expect(simulate([name("a", [quick], [quick], [40, 10])]).begun).toEqual(["40 a v6#0"]);
    expect(simulate([name("a", [quick], [quick], [400, 10])]).begun).toEqual(["60 a v4#0"]);
    expect(simulate([name("a", [quick], [quick], [10, 400])]).begun).toEqual(["10 a v6#0"]);
  });

  it("goes on with IPv4 at once when there is no IPv6", () => {
    expect(simulate([name("a", [], [quick], [20, 10])]).begun).toEqual(["20 a v4#0"]);
  });

  it("races private and public side by side, relays and Tor later", () => {
    const { begun } = simulate([
      way("tor:x", quick, { lane: "tor" }),
      way("turn:x", dead, { lane: "relay" }),
      way("tcp:10.0.0.1", dead, { lane: "private" }),
      way("tcp:198.51.100.1", dead),
      way("tcp:198.51.100.2", dead),
    ]);
    expect(begun).toEqual([
      "0 tcp:10.0.0.1 -",
      "0 tcp:198.51.100.1 -",
      "250 tcp:198.51.100.2 -",
      "500 turn:x -",
      "1000 tor:x -",
    ]);
  });

  it("does not hold Tor back once nothing else is left to hope for", () => {
    const { begun } = simulate([way("tor:x", quick, { lane: "tor" }), way("tcp:y", refusing)]);
    expect(begun).toEqual(["0 tcp:y -", "20 tor:x -"]);
    expect(simulate([way("tor:x", quick, { lane: "tor" })]).begun).toEqual(["0 tor:x -"]);
  });

  it("keeps to its caps", () => {
    const hints = Array.from({ length: 20 }, (_, index) => way(`h${index}`, dead));
    const { begun } = simulate(hints, { maximumConcurrentAttempts: 3, attemptTimeoutMilliseconds: 1_000 });
    expect(begun.slice(0, 6)).toEqual(["0 h0 -", "250 h1 -", "500 h2 -", "1000 h3 -", "1250 h4 -", "1500 h5 -"]);
    const thirty = Array.from({ length: 30 }, () => dead);
    const many = simulate([name("a", thirty, thirty)], { attemptTimeoutMilliseconds: 300 });
    expect(many.begun).toHaveLength(8);
  });
});

describe("winning and losing", () => {
  it("an open connection does not win, a proven identity does", () => {
    const { winner, at, abandoned, race } = simulate([way("a", impostor), way("b", slow), way("c", quick)]);
    expect([winner, at, abandoned]).toEqual(["c", 370, 1]);
    expect(race.statuses().map((status) => status.state)).toEqual(["failed", "abandoned", "won"]);
    expect(race.statuses()[0]?.failure).toMatchObject({ phase: "negotiating", cause: { message: "wrong identity" } });
  });

  it("names every cause, and first the one that came furthest", () => {
    const { error } = simulate([way("a", refusing), way("b", impostor), name("c", [], []), way("d", refusing)]);
    expect(error).toBeInstanceOf(ConnectError);
    const connectError = error as ConnectError;
    expect(connectError.code).toBe("all-failed");
    expect(connectError.cause).toMatchObject({ message: "wrong identity" });
    expect(connectError.errors).toHaveLength(5);
    expect(connectError.message).toContain("b: negotiating: wrong identity");
  });

  it("merges hints into a running race, and is not lost before the last one came", () => {
    const { winner, begun, at } = simulate([way("a", refusing), way("b", quick, { at: 5_000 })]);
    expect(begun).toEqual(["0 a -", "5000 b -"]);
    expect([winner, at]).toEqual(["b", 5_060]);
  });

  it("loses at its deadline", () => {
    const { error, at } = simulate([way("a", dead)], {
      attemptTimeoutMilliseconds: 1e6,
      deadlineMilliseconds: 7_000,
    });
    expect(at).toBe(7_000);
    expect(error).toMatchObject({ code: "stopped" });
  });

  it("without hints there is an error that says so", () => {
    expect(simulate([]).error).toMatchObject({ code: "no-hints" });
  });
});

describe("always", () => {
  const behaviour: fc.Arbitrary<Behaviour> = fc.oneof(
    fc.record({
      kind: fc.constant("answers" as const),
      after: fc.nat(2_000),
      proven: fc.integer({ min: 2_000, max: 4_000 }),
    }),
    fc.constant(dead),
    fc.record({ kind: fc.constant("refuses" as const), after: fc.nat(3_000) }),
    fc.record({
      kind: fc.constant("wrong-identity" as const),
      after: fc.nat(1_000),
      unmasked: fc.integer({ min: 1_000, max: 3_000 }),
    }),
  );
  // At five seconds exactly, the answer and its time-out meet: either may be first.
  const moment = fc.nat(6_000).filter((milliseconds) => milliseconds !== 5_000);
  const answer = fc.record({ answeredAfter: moment, addresses: fc.array(behaviour, { maxLength: 4 }) });
  const lane = fc.constantFrom(
    "local" as const,
    "private" as const,
    "public" as const,
    "relay" as const,
    "tor" as const,
  );
  const hint: fc.Arbitrary<SimulatedHint> = fc.oneof(
    fc.record({ text: fc.uuid(), way: behaviour, lane, at: fc.constantFrom(0, 0, 700) }),
    fc.record({ text: fc.uuid(), ipv6: answer, ipv4: answer, at: fc.constantFrom(0, 0, 700) }),
  );
  const reachable = ({ way: only, ipv4, ipv6 }: SimulatedHint): boolean => {
    const good = (one: Behaviour): boolean => one.kind === "answers";
    if (only !== undefined) return good(only);
    return [ipv4, ipv6].some((one) => one !== undefined && one.answeredAfter < 5_000 && one.addresses.some(good));
  };

  it("a race ends; it is won exactly if some way is good; a bad way never wins; and paces are kept in each lane", () => {
    fc.assert(
      fc.property(fc.array(hint, { maxLength: 8 }), (hints) => {
        const { winner, error, begun, race, at } = simulate(hints, { deadlineMilliseconds: 1e7 });
        expect(winner !== undefined).toBe(hints.some((one) => reachable(one)));
        expect(error === undefined).toBe(winner !== undefined);
        const won = hints.find((one) => one.text === winner);
        if (won !== undefined) expect(reachable(won)).toBe(true);
        expect(new Set(begun.map((line) => line.split(" ").slice(1).join(" "))).size).toBe(begun.length);
        for (const status of race.statuses()) {
          expect(["won", "failed", "abandoned"]).toContain(status.state);
          expect(status.timings.settledAt).toBeLessThanOrEqual(at);
        }
        expect(race.pollTimeout()).toBeUndefined();
        expect(race.poll()).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});

describe("against simpler ways", () => {
  const atOnce: RaceOptions = {
    paceMilliseconds: 0,
    resolutionDelayMilliseconds: 0,
    laneDelaysMilliseconds: { relay: 0, tor: 0 },
    maximumConcurrentAttempts: 1_000,
  };
  const torWay: Behaviour = { kind: "answers", after: 1_500, proven: 2_500 };
  const networks: readonly (readonly [string, readonly SimulatedHint[]])[] = [
    ["everything works", [name("a", [quick], [quick]), way("b", quick), way("t", torWay, { lane: "tor" })]],
    ["IPv6 is a black hole", [name("a", [dead, dead], [quick])]],
    ["the first hint is a black hole", [way("a", dead), way("b", quick)]],
    ["the first hint refuses", [way("a", refusing), way("b", quick)]],
    ["the first hint is slow", [way("a", slow), way("b", quick)]],
    ["an impostor answers first", [way("a", impostor), way("b", quick)]],
    ["the private address is not here", [way("p", dead, { lane: "private" }), way("b", quick)]],
    ["the IPv6 answer takes 3 s", [name("a", [quick], [quick], [3_000, 10])]],
    ["only Tor gets through", [way("a", dead), way("b", dead), way("t", torWay, { lane: "tor" })]],
    [
      "nine dead addresses, then a good one",
      [...Array.from({ length: 9 }, (_, i) => way(`d${i}`, dead)), way("z", quick)],
    ],
  ];

  function table(): string {
    const cell = (hints: readonly SimulatedHint[], options: RaceOptions): string => {
      const { at, begun } = simulate(hints, options);
      return `${(at / 1000).toFixed(2)} s, ${begun.length}`;
    };
    const rows = networks.map(
      ([title, hints]) =>
        `| ${title} | ${cell(hints, {})} | ${cell(hints, atOnce)} | ${cell(hints, { maximumConcurrentAttempts: 1 })} |`,
    );
    return ["| network | race | all at once | one by one |", "| --- | --- | --- | --- |", ...rows].join("\n");
  }

  it("is as the documentation says (time to connect, connections begun)", async () => {
    const page = await readFile(new URL("../../docs/hints.md", import.meta.url), "utf8");
    // A table is the same table however its columns are padded.
    expect(page.replaceAll(/ +/gu, " ").replaceAll(/-{3,}/gu, "---")).toContain(table());
  });

  it("is never much slower than all at once, and begins no more connections", () => {
    for (const [, hints] of networks) {
      const race = simulate(hints);
      const all = simulate(hints, atOnce);
      expect(race.begun.length).toBeLessThanOrEqual(all.begun.length);
      expect(race.at - all.at).toBeLessThanOrEqual(1_000 + 250 * hints.length);
    }
  });
});
