import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PenaltyBox } from "./penalty-box.ts";
import type { PenaltySettings } from "./penalty-settings.ts";
import { addressPrefixOf, type AttemptSource } from "./source.ts";
import { type TurnAttempt, type TurnOutcome, TurnPenalties, type TurnPenaltiesOptions } from "./turn-penalties.ts";

const source = (user = "alice", address = "192.0.2.1"): AttemptSource => ({ prefix: addressPrefixOf(address), user });
const attempt = (transaction: string, from: AttemptSource = source()): TurnAttempt => ({ transaction, source: from });

function create(options: Partial<TurnPenaltiesOptions> = {}, settings: PenaltySettings = {}): TurnPenalties<string> {
  return new TurnPenalties({ box: new PenaltyBox({ random: () => 0.5, ...settings }), ...options });
}

function finish(penalties: TurnPenalties<string>, it: TurnAttempt, outcome: TurnOutcome, nowMs: number) {
  return penalties.settle(it, { outcome, answer: `${outcome} ${it.transaction}` }, nowMs);
}

describe("TurnPenalties", () => {
  test("a failure is answered late, once, whatever is retransmitted meanwhile", () => {
    const penalties = create();
    expect(penalties.begin(attempt("t1"), 0)).toEqual({ kind: "check" });
    expect(penalties.begin(attempt("t1"), 1)).toEqual({ kind: "absorb" });
    expect(finish(penalties, attempt("t1"), "failed", 10)).toEqual({ kind: "later", atMs: 4_510 });
    for (const nowMs of [500, 1_500, 3_500]) expect(penalties.begin(attempt("t1"), nowMs)).toEqual({ kind: "absorb" });
    expect(penalties.pendingCount).toBe(1);
    expect(penalties.pollTimeout()).toBe(4_510);
    expect(penalties.due(4_509)).toEqual([]);
    expect(penalties.due(4_510)).toEqual([{ kind: "answer", transaction: "t1", answer: "failed t1" }]);
    expect(penalties.pollTimeout()).toBeUndefined();
  });

  test("a retransmission after the answer gets the same answer and is no failure", () => {
    const penalties = create();
    penalties.begin(attempt("t1"), 0);
    finish(penalties, attempt("t1"), "failed", 0);
    penalties.due(4_500);
    for (const nowMs of [7_500, 15_500, 31_500]) {
      expect(penalties.begin(attempt("t1"), nowMs)).toEqual({ kind: "repeat", answer: "failed t1" });
    }
    expect(penalties.begin(attempt("t2"), 31_500)).toEqual({ kind: "check" });
    expect(penalties.begin(attempt("t1"), 44_500)).toEqual({ kind: "check" });
  });

  test("a success is answered at once and forgotten", () => {
    const penalties = create();
    penalties.begin(attempt("t1"), 0);
    expect(finish(penalties, attempt("t1"), "succeeded", 1)).toEqual({ kind: "answer" });
    expect(penalties.pendingCount).toBe(0);
    expect(penalties.begin(attempt("t1"), 2)).toEqual({ kind: "check" });
  });

  test.each(["challenged", "staleNonce", "unavailable"] as const)("%s is no failure", (outcome) => {
    const penalties = create();
    for (let request = 0; request < 1_000; request++) {
      const it = attempt(`t${request}`);
      expect(penalties.begin(it, request)).toEqual({ kind: "check" });
      expect(finish(penalties, it, outcome, request)).toEqual({ kind: "answer" });
    }
    expect(penalties.pollTimeout()).toBeUndefined();
  });

  test("a new transaction while the delay runs is held, then checked", () => {
    const penalties = create();
    penalties.begin(attempt("t1"), 0);
    finish(penalties, attempt("t1"), "failed", 0);
    expect(penalties.begin(attempt("t2"), 100)).toEqual({ kind: "hold" });
    expect(penalties.begin(attempt("t2"), 600)).toEqual({ kind: "absorb" });
    expect(penalties.due(4_500)).toEqual([
      { kind: "answer", transaction: "t1", answer: "failed t1" },
      { kind: "check", transaction: "t2" },
    ]);
    expect(penalties.begin(attempt("t2"), 4_600)).toEqual({ kind: "absorb" });
    expect(finish(penalties, attempt("t2"), "succeeded", 4_700)).toEqual({ kind: "answer" });
  });

  test("what was held waits again if others of its source failed meanwhile", () => {
    const penalties = create();
    penalties.begin(attempt("t1"), 0);
    penalties.begin(attempt("t2"), 0);
    finish(penalties, attempt("t1"), "failed", 0);
    expect(penalties.begin(attempt("t3"), 1)).toEqual({ kind: "hold" });
    finish(penalties, attempt("t2"), "failed", 2);
    expect(penalties.due(4_500)).toEqual([{ kind: "answer", transaction: "t1", answer: "failed t1" }]);
    expect(penalties.due(9_000).map((due) => due.transaction)).toEqual(["t2", "t3"]);
  });

  test("a success that was put off is not repeated from memory", () => {
    const penalties = create();
    penalties.begin(attempt("t1"), 0);
    penalties.begin(attempt("t2"), 0);
    finish(penalties, attempt("t1"), "failed", 0);
    expect(finish(penalties, attempt("t2"), "succeeded", 0)).toEqual({ kind: "later", atMs: 4_500 });
    expect(penalties.due(4_500).map((due) => due.transaction)).toEqual(["t1", "t2"]);
    expect(penalties.begin(attempt("t2"), 4_600)).toEqual({ kind: "check" });
  });

  test("a failure that is answered at once is repeated from memory too", () => {
    const penalties = create({}, { delay: { kind: "constant", minSeconds: 0, maxSeconds: 0 } });
    penalties.begin(attempt("t1"), 0);
    expect(finish(penalties, attempt("t1"), "failed", 0)).toEqual({ kind: "answer" });
    expect(penalties.begin(attempt("t1"), 500)).toEqual({ kind: "repeat", answer: "failed t1" });
  });

  test("another network, and another user, aren't slowed down", () => {
    const penalties = create();
    penalties.begin(attempt("t1"), 0);
    finish(penalties, attempt("t1"), "failed", 0);
    expect(penalties.begin(attempt("t2", source("alice", "192.0.2.2")), 1)).toEqual({ kind: "check" });
    expect(penalties.begin(attempt("t3", source("bob")), 1)).toEqual({ kind: "check" });
  });

  test("over the limit there is silence: per network, in all, and for more delay than the backlog", () => {
    const perNetwork = create({ maxPendingPerPrefix: 2 });
    expect(["t1", "t2", "t3"].map((each) => perNetwork.begin(attempt(each), 0).kind)).toEqual([
      "check",
      "check",
      "silence",
    ]);
    const inAll = create({ maxPending: 2 });
    const kinds = [1, 2, 3].map((host) => inAll.begin(attempt(`t${host}`, source("a", `192.0.2.${host}`)), 0).kind);
    expect(kinds).toEqual(["check", "check", "silence"]);
    const backlog = create({}, { maxBacklogSeconds: 10 });
    for (const each of ["t1", "t2", "t3", "t4"]) backlog.begin(attempt(each), 0);
    expect(finish(backlog, attempt("t1"), "failed", 0).kind).toBe("later");
    expect(finish(backlog, attempt("t2"), "failed", 0).kind).toBe("later");
    expect(finish(backlog, attempt("t3"), "failed", 0).kind).toBe("silence");
    expect(finish(backlog, attempt("t4"), "succeeded", 0)).toEqual({ kind: "later", atMs: 9_000 });
  });

  test("a banned network gets silence", () => {
    const penalties = create({}, { automaticBan: { failures: 2, windowSeconds: 60, banSeconds: 60 } });
    for (const user of ["a", "b"]) penalties.begin(attempt(user, source(user)), 0);
    expect(finish(penalties, attempt("a", source("a")), "failed", 0)).not.toHaveProperty("ban");
    expect(finish(penalties, attempt("b", source("b")), "failed", 0)).toHaveProperty("ban");
    expect(penalties.begin(attempt("c", source("c")), 1)).toEqual({ kind: "silence", reason: "banned" });
  });

  test("what waits for its turn gets silence when its network is banned meanwhile", () => {
    const penalties = create({}, { automaticBan: { failures: 2, windowSeconds: 60, banSeconds: 60 } });
    penalties.begin(attempt("a1", source("a")), 0);
    finish(penalties, attempt("a1", source("a")), "failed", 0);
    expect(penalties.begin(attempt("a2", source("a")), 1)).toEqual({ kind: "hold" });
    penalties.begin(attempt("b", source("b")), 2);
    expect(finish(penalties, attempt("b", source("b")), "failed", 2)).toHaveProperty("ban");
    const due = penalties.due(10_000);
    expect(due.filter(({ kind }) => kind === "silence")).toEqual([{ kind: "silence", transaction: "a2" }]);
    expect(penalties.pendingCount).toBe(0);
  });

  test("a check that never ends is forgotten", () => {
    const penalties = create();
    penalties.begin(attempt("t1"), 0);
    expect(penalties.pollTimeout()).toBe(40_000);
    expect(penalties.due(40_000)).toEqual([]);
    expect(penalties.pendingCount).toBe(0);
  });

  test("a client that is gone is forgotten", () => {
    const penalties = create();
    penalties.begin(attempt("t1"), 0);
    finish(penalties, attempt("t1"), "failed", 0);
    penalties.cancel("t1");
    expect(penalties.pollTimeout()).toBeUndefined();
    penalties.cancel("t1");
  });
});

test("any traffic: at most one entry and one answer for each transaction, and bounded state", () => {
  interface Packet {
    readonly transaction: number;
    readonly host: number;
    readonly outcome: TurnOutcome;
    readonly pauseMs: number;
  }
  const packet: fc.Arbitrary<Packet> = fc.record({
    transaction: fc.nat(9),
    host: fc.nat(2),
    outcome: fc.constantFrom<TurnOutcome>("succeeded", "failed", "challenged", "staleNonce", "unavailable"),
    pauseMs: fc.nat(3_000),
  });
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 100 }), (packets) => {
      const penalties = create({ maxPending: 5, maxPendingPerPrefix: 3, maxRemembered: 4 });
      const attempts = new Map<string, { readonly it: TurnAttempt; readonly outcome: TurnOutcome }>();
      const answered = new Map<string, string>();
      let nowMs = 0;
      const check = (transaction: string): void => {
        const known = attempts.get(transaction);
        if (known === undefined) throw new Error(`unknown transaction ${transaction}`);
        if (finish(penalties, known.it, known.outcome, nowMs).kind === "answer" && known.outcome === "failed") {
          throw new Error("a failure was answered at once");
        }
      };
      const drain = (): void => {
        for (const due of penalties.due(nowMs)) {
          if (due.kind === "check") check(due.transaction);
          else if (due.kind === "answer") answered.set(due.transaction, due.answer);
        }
      };
      for (const { transaction, host, outcome, pauseMs } of packets) {
        nowMs += pauseMs;
        drain();
        const it = attempt(`${host}-${transaction}`, source("alice", `192.0.2.${host}`));
        const admission = penalties.begin(it, nowMs);
        if (admission.kind === "check" || admission.kind === "hold") attempts.set(it.transaction, { it, outcome });
        if (admission.kind === "check") check(it.transaction);
        if (admission.kind === "repeat") expect(admission.answer).toBe(answered.get(it.transaction));
        expect(penalties.pendingCount).toBeLessThanOrEqual(5);
      }
      nowMs += 1_000_000;
      drain();
      drain();
      expect(penalties.pollTimeout() ?? Infinity).toBeGreaterThan(nowMs);
    }),
  );
});
