import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PenaltyBox, type Settlement, type Verdict } from "./penalty-box.ts";
import { GROWING_DELAY, type PenaltySettings } from "./penalty-settings.ts";
import { addressPrefixOf, type AttemptSource, sourceKey } from "./source.ts";

const source = (user = "alice", address = "192.0.2.1"): AttemptSource => ({ prefix: addressPrefixOf(address), user });

function create(settings: PenaltySettings = {}): PenaltyBox {
  return new PenaltyBox({ random: () => 0.5, ...settings });
}

describe("address prefixes", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1/32"],
    ["::ffff:192.0.2.1", "192.0.2.1/32"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::", "2001:db8:1:2::/64"],
    ["2001:db8:1:3::", "2001:db8:1:3::/64"],
    ["fe80::1%eth0", "fe80::/64"],
    ["", "unknown"],
    ["nowhere", "unknown"],
  ])("%s is in %s", (address, prefix) => {
    expect(addressPrefixOf(address)).toBe(prefix);
  });

  test("sources never share a key", () => {
    expect(sourceKey(source("/32 a", "192.0.2.1"))).not.toBe(sourceKey(source("a", "192.0.2.1")));
    expect(sourceKey(source("1.1.1.1/32 a"))).not.toBe(sourceKey(source("a", "1.1.1.1")));
  });
});

describe("delays", () => {
  test("constant: 4 to 5 s, evenly", () => {
    for (const [random, expected] of [
      [0, 4_000],
      [0.25, 4_250],
      [0.999, 4_999],
    ] as const) {
      const box = new PenaltyBox({ random: () => random });
      expect(box.settle(source(), "failed", 0)).toEqual({ kind: "answer", atMs: expected });
    }
  });

  test("growing: 2, 4, 8, 15, 15 s", () => {
    const box = create({ delay: GROWING_DELAY });
    let now = 0;
    const delays: number[] = [];
    for (let failure = 0; failure < 6; failure++) {
      const settlement = box.settle(source(), "failed", now);
      if (settlement.kind !== "answer") throw new Error(settlement.kind);
      delays.push(settlement.atMs - now);
      now = settlement.atMs;
    }
    expect(delays).toEqual([2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
  });

  test("a success forgets the failures, but not before their delay is over", () => {
    const box = create({ delay: GROWING_DELAY });
    box.settle(source(), "failed", 0);
    expect(box.settle(source(), "succeeded", 1_000)).toEqual({ kind: "answer", atMs: 2_000 });
    expect(box.size).toBe(1);
    expect(box.settle(source(), "succeeded", 2_000)).toEqual({ kind: "answer", atMs: 2_000 });
    expect(box.size).toBe(0);
    expect(box.settle(source(), "failed", 3_000)).toEqual({ kind: "answer", atMs: 5_000 });
  });

  test("a source without failures is forgotten after a while", () => {
    const box = create({ delay: GROWING_DELAY, forgetAfterSeconds: 900 });
    box.settle(source(), "failed", 0);
    expect(box.settle(source(), "failed", 901_999)).toEqual({ kind: "answer", atMs: 901_999 + 4_000 });
    expect(box.begin(source(), 2_000_000)).toEqual({ kind: "proceed" });
    expect(box.size).toBe(0);
  });

  test("what would wait longer than the backlog is refused, right or wrong", () => {
    const box = create({ maxBacklogSeconds: 10 });
    expect(box.settle(source(), "failed", 0).kind).toBe("answer");
    expect(box.settle(source(), "failed", 0)).toEqual({ kind: "answer", atMs: 9_000 });
    expect(box.settle(source(), "failed", 0)).toEqual({ kind: "refuse", reason: "overLimit", untilMs: 13_500 });
    expect(box.begin(source(), 0)).toEqual({ kind: "wait", untilMs: 9_000 });
  });

  test("neutral outcomes change nothing and wait for nothing", () => {
    const box = create();
    expect(box.settle(source(), "neutral", 7)).toEqual({ kind: "answer", atMs: 7 });
    expect(box.size).toBe(0);
  });
});

describe("bans", () => {
  test("too many failures of a network shut it out, whoever the users were, and only for a while", () => {
    const box = create({ automaticBan: { failures: 3, windowSeconds: 60, banSeconds: 120 } });
    expect(box.settle(source("a"), "failed", 0)).not.toHaveProperty("ban");
    expect(box.settle(source("b"), "failed", 1_000)).not.toHaveProperty("ban");
    expect(box.settle(source("c"), "failed", 2_000)).toMatchObject({
      ban: { subject: { kind: "prefix", prefix: "192.0.2.1/32" }, untilMs: 122_000 },
    });
    expect(box.begin(source("d"), 121_999)).toEqual({ kind: "refuse", reason: "banned", untilMs: 122_000 });
    expect(box.begin(source("d", "192.0.2.2"), 3_000)).toEqual({ kind: "proceed" });
    expect(box.begin(source("d"), 122_000)).toEqual({ kind: "proceed" });
  });

  test("failures further apart than the window don't", () => {
    const box = create({ automaticBan: { failures: 3, windowSeconds: 60, banSeconds: 120 } });
    for (let failure = 0; failure < 10; failure++) {
      expect(box.settle(source(`${failure}`), "failed", failure * 30_000)).not.toHaveProperty("ban");
    }
  });

  test("lists are sorted, bounded and end; of two bans the longer counts", () => {
    const box = create({ maxBans: 2, automaticBan: false });
    const { prefix } = source();
    box.bans.add({ subject: { kind: "prefix", prefix }, reason: "r", untilMs: 2_000 });
    box.bans.add({ subject: { kind: "user", user: "alice" }, reason: "r", untilMs: 3_000 });
    expect(box.bans.find(source(), 0)?.untilMs).toBe(3_000);
    expect(box.bans.list(0).map((ban) => ban.untilMs)).toEqual([2_000, 3_000]);
    box.bans.add({ subject: { kind: "user", user: "bob" }, reason: "r", untilMs: 9_000 });
    expect(box.bans.list(0).map((ban) => ban.untilMs)).toEqual([3_000, 9_000]);
    expect(box.bans.list(3_000).map((ban) => ban.untilMs)).toEqual([9_000]);
    expect(box.bans.remove({ kind: "user", user: "bob" }, 3_000)).toBe(true);
    expect(box.bans.remove({ kind: "user", user: "bob" }, 3_000)).toBe(false);
    expect(box.bans.size).toBe(0);
  });
});

describe("always", () => {
  interface Step {
    readonly user: string;
    readonly verdict: Verdict;
    readonly pauseMs: number;
  }

  const step: fc.Arbitrary<Step> = fc.record({
    user: fc.constantFrom("a", "b"),
    verdict: fc.constantFrom<Verdict>("succeeded", "failed", "neutral"),
    pauseMs: fc.nat({ max: 10_000 }),
  });

  test("verdicts of one source are told at least a delay apart per failure, however they come", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const box = create({ automaticBan: false });
        const lastFailureAtMs = new Map<string, number>();
        let now = 0;
        for (const { user, verdict, pauseMs } of steps) {
          now += pauseMs;
          const settlement: Settlement = box.settle(source(user), verdict, now);
          if (settlement.kind === "refuse") continue;
          expect(settlement.atMs).toBeGreaterThanOrEqual(now);
          expect(settlement.atMs).toBeLessThanOrEqual(now + 30_000);
          if (verdict === "neutral") continue;
          const last = lastFailureAtMs.get(user) ?? -Infinity;
          expect(settlement.atMs).toBeGreaterThanOrEqual(verdict === "failed" ? last + 4_500 : last);
          if (verdict === "failed") lastFailureAtMs.set(user, settlement.atMs);
        }
      }),
    );
  });

  test("state is bounded, whoever tries", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(50), fc.nat(50)), { maxLength: 200 }), (tries) => {
        const box = create({
          capacity: 7,
          maxBans: 3,
          automaticBan: { failures: 2, windowSeconds: 60, banSeconds: 60 },
        });
        for (const [user, host] of tries) {
          box.settle(source(`${user}`, `192.0.2.${host}`), "failed", 0);
          expect(box.size).toBeLessThanOrEqual(7);
          expect(box.bans.size).toBeLessThanOrEqual(3);
        }
      }),
    );
  });
});

test.each<PenaltySettings>([
  { delay: { kind: "constant", minSeconds: 5, maxSeconds: 4 } },
  { delay: { kind: "growing", firstSeconds: -1, maxSeconds: 4 } },
  { forgetAfterSeconds: 0 },
  { capacity: 0 },
  { maxBacklogSeconds: 1 },
  { automaticBan: { failures: 0, windowSeconds: 1, banSeconds: 1 } },
  { automaticBan: { failures: 1, windowSeconds: Number.NaN, banSeconds: 1 } },
])("refuses the settings %j", (settings) => {
  expect(() => create(settings)).toThrow(RangeError);
});
