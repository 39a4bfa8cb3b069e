import { GROWING_DELAY } from "@turnpike/authn/penalties";
import { transportAddress } from "@turnpike/stun";
import type { AuthenticationDecision, AuthenticationRequest } from "@turnpike/turn";
import { expect, test } from "vitest";
import type { BanEvent } from "../events/relay-event.ts";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { GuessDefence, type GuessDefenceOptions, prefixSubject } from "./guess-defence.ts";

const GOOD: AuthenticationDecision = {
  kind: "authenticated",
  username: "alice",
  actor: "alice",
  scheme: "static",
  key: new Uint8Array(16),
};
const WRONG: AuthenticationDecision = { kind: "failed", reason: "badCredentials", actor: "alice" };

function setUp(
  automaticBan: { failures: number; windowSeconds: number; banSeconds: number } | false = false,
  onFailure: GuessDefenceOptions["onFailure"] = () => {},
) {
  const clock = new VirtualClock();
  const events: BanEvent[] = [];
  const defence = new GuessDefence({
    clock,
    random: () => 0.5,
    settings: { delay: GROWING_DELAY, automaticBan },
    onBan: (event) => events.push(event),
    onFailure,
  });
  const answers: [string, string, number][] = [];
  let transaction = 0;
  const ask = (
    name: string,
    decision: AuthenticationDecision | "later",
    { client = "198.51.100.7", username = "alice", repeat = false } = {},
  ): ((late: AuthenticationDecision) => void) | undefined => {
    if (!repeat) transaction++;
    const startMs = clock.now().monotonicMs;
    const note = ({ kind }: AuthenticationDecision): void => {
      if (kind !== "pending") answers.push([name, kind, clock.now().monotonicMs - startMs]);
    };
    let settleLate: ((late: AuthenticationDecision) => void) | undefined;
    const guarded = defence.guard((_, settle) => {
      settleLate = settle;
      return decision === "later" ? { kind: "pending" } : decision;
    });
    const request: AuthenticationRequest = {
      method: "allocate",
      username,
      realm: "example.org",
      passwordAlgorithm: "md5",
      transactionId: Uint8Array.of(transaction),
      client: transportAddress(client, 4000),
      transport: "udp",
      unixMs: clock.now().unixMs,
      questionId: transaction,
      checkIntegrity: () => true,
    };
    note(guarded(request, note));
    return settleLate;
  };
  return { clock, defence, events, answers, ask };
}

test("who is right is answered at once; who is wrong later, and later each time", () => {
  const { clock, answers, ask, defence } = setUp();
  ask("right", GOOD);
  ask("first", WRONG);
  clock.advance(2000);
  ask("second", WRONG);
  clock.advance(4000);
  expect(answers).toEqual([
    ["right", "authenticated", 0],
    ["first", "failed", 2000],
    ["second", "failed", 4000],
  ]);
  expect(defence.counters).toEqual({ failures: 2, discarded: 0, automaticBans: 0, waiting: 0, sources: 1, bans: 0 });
  expect(clock.pending).toBe(0);
});

test("while a penalty runs nothing is told of this user to this network; elsewhere nothing is held up", () => {
  const { clock, answers, ask } = setUp();
  ask("wrong", WRONG);
  ask("held", GOOD);
  ask("elsewhere", GOOD, { client: "203.0.113.1" });
  ask("other user", GOOD, { username: "bob" });
  expect(answers.map(([name]) => name)).toEqual(["elsewhere", "other user"]);
  clock.advance(2000);
  expect(answers.slice(2)).toEqual([
    ["wrong", "failed", 2000],
    ["held", "authenticated", 2000],
  ]);
});

test("time-limited names of one user are one user", () => {
  const { clock, answers, ask } = setUp();
  ask("wrong", WRONG, { username: "1900000000:alice" });
  ask("held", GOOD, { username: "1900000001:alice" });
  expect(answers).toEqual([]);
  clock.advance(2000);
  expect(answers).toHaveLength(2);
});

test("a slow authenticator's late answer is penalised too; a retransmission gets the same answer", () => {
  const { clock, answers, ask } = setUp();
  const settle = ask("late", "later");
  clock.advance(500);
  settle?.(WRONG);
  clock.advance(2000);
  ask("again", GOOD, { repeat: true });
  expect(answers).toEqual([
    ["late", "failed", 2500],
    ["again", "failed", 0],
  ]);
});

test("expired credentials and a backend that is away are no guesses", () => {
  const { answers, ask, defence } = setUp();
  for (const reason of ["expired", "unavailable", "badFormat"] as const) ask(reason, { kind: "failed", reason });
  expect(answers.map(([, , ms]) => ms)).toEqual([0, 0, 0]);
  ask("unknown to all", { kind: "notRequested" });
  expect(defence.counters.failures).toBe(1);
});

test("a network that guesses is shut out for a while; that is told; another network isn't", () => {
  const { clock, answers, ask, defence, events } = setUp({ failures: 3, windowSeconds: 60, banSeconds: 60 });
  for (const username of ["a", "b", "c"]) ask(username, WRONG, { username });
  expect(defence.bans()).toEqual([
    { subject: { kind: "prefix", prefix: "198.51.100.7/32" }, reason: expect.stringContaining("3"), secondsLeft: 60 },
  ]);
  ask("banned", GOOD, { username: "d" });
  ask("elsewhere", GOOD, { client: "198.51.100.8" });
  expect(answers).toEqual([
    ["banned", "discarded", 0],
    ["elsewhere", "authenticated", 0],
  ]);
  clock.advance(60_000);
  ask("again", GOOD, { username: "d" });
  expect(answers.at(-1)).toEqual(["again", "authenticated", 0]);
  expect(events).toMatchObject([{ type: "banStarted", subject: { kind: "prefix" } }]);
  expect(events[0]).toMatchObject({ atUnixMs: 1_900_000_000_000, untilUnixMs: 1_900_000_060_000 });
});

test("bans by hand work at once and can be lifted", () => {
  const { answers, ask, defence, events } = setUp();
  const subject = prefixSubject("198.51.100.7/32");
  defence.ban({ subject, seconds: 3600, reason: "abuse" });
  ask("banned", GOOD);
  expect(defence.unban(subject)).toBe(true);
  expect(defence.unban(subject)).toBe(false);
  ask("lifted", GOOD);
  defence.ban({ subject: { kind: "user", user: "alice" }, seconds: 1, reason: "" });
  ask("user", GOOD, { client: "203.0.113.1" });
  expect(answers.map(([, kind]) => kind)).toEqual(["discarded", "authenticated", "discarded"]);
  expect(events.map(({ type }) => type)).toEqual(["banStarted", "banLifted", "banStarted"]);
  expect(() => defence.ban({ subject, seconds: 0, reason: "" })).toThrow(RangeError);
});

test("the gate is shut for who is banned, in any form of the address, and for nobody else", () => {
  const { clock, defence } = setUp();
  let asked = 0;
  const gate = defence.gate({ admitsRequest: () => (asked++, true), admitsChallenge: () => false });
  const isOut = (address: string): boolean | undefined =>
    gate.isShutOut?.(transportAddress(address, 1), clock.now().monotonicMs);
  defence.ban({ subject: { kind: "user", user: "alice" }, seconds: 60, reason: "" });
  expect(isOut("198.51.100.7")).toBe(false);
  defence.ban({ subject: prefixSubject("198.51.100.7"), seconds: 60, reason: "" });
  defence.ban({ subject: prefixSubject("2001:db8::1"), seconds: 30, reason: "" });
  expect(["198.51.100.7", "::ffff:198.51.100.7", "2001:db8::ffff:1"].map(isOut)).toEqual([true, true, true]);
  expect(["198.51.100.8", "2001:db8:0:1::1", "c633:6407::"].map(isOut)).toEqual([false, false, false]);
  expect(defence.discarded).toBe(3);
  clock.advance(30_000);
  expect(["198.51.100.7", "2001:db8::1"].map(isOut)).toEqual([true, false]);
  defence.unban(prefixSubject("198.51.100.7"));
  expect(isOut("198.51.100.7")).toBe(false);
  // What was banned before doesn't pile up.
  for (let i = 0; i < 1000; i++) {
    const subject = prefixSubject(`10.0.${i >> 8}.${i & 255}`);
    defence.ban({ subject, seconds: 1, reason: "" });
    if (i < 999) defence.unban(subject);
  }
  expect([isOut("10.0.3.231"), isOut("10.0.0.1")]).toEqual([true, false]);
  const client = transportAddress("198.51.100.7", 1);
  expect([gate.admitsRequest(client, 0), gate.admitsChallenge(client, 0), asked]).toEqual([true, false, 1]);
});

test("without penalties guesses cost nothing, bans by hand hold; both can change while requests come", () => {
  const { clock, answers, ask, defence } = setUp();
  defence.configure(false);
  for (let i = 0; i < 200; i++) ask("free", WRONG);
  expect(answers).toHaveLength(200);
  expect(defence.counters).toMatchObject({ failures: 0, waiting: 0, bans: 0 });
  defence.ban({ subject: { kind: "user", user: "alice" }, seconds: 1, reason: "" });
  ask("banned", GOOD);
  expect(answers.at(-1)).toEqual(["banned", "discarded", 0]);
  clock.advance(1000);
  defence.configure({ delay: GROWING_DELAY, automaticBan: { failures: 2, windowSeconds: 60, banSeconds: 60 } });
  ask("late", WRONG);
  clock.advance(2000);
  expect(answers.at(-1)).toEqual(["late", "failed", 2000]);
  expect(() => defence.configure({ capacity: 0.5 })).toThrow(RangeError);
  ask("second", WRONG);
  expect(defence.bans()).toHaveLength(1);
});

test("waiting takes bounded memory", () => {
  const { ask, defence } = setUp();
  for (let i = 0; i < 30_000; i++) ask("wrong", WRONG, { client: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` });
  expect(defence.counters.waiting).toBe(1000);
  expect(defence.counters.discarded).toBe(29_000);
  defence.close();
});

test.each(["", "10.0.0.0/8", "2001:db8::1/128", "example.org", "10.0.0.1/32/1", "unknown"])(
  "%j can't be banned",
  (text) => {
    expect(() => prefixSubject(text)).toThrow(TypeError);
  },
);

test("an address stands for its prefix", () => {
  expect(prefixSubject("2001:db8::1")).toEqual(prefixSubject("2001:db8::/64"));
});

test("failures on another thread count together with those here; retransmissions count nowhere", () => {
  const ban = { failures: 3, windowSeconds: 60, banSeconds: 60 };
  const [main, thread] = [setUp(ban), setUp(ban, (source) => main.defence.observe(source))];
  thread.ask("a", WRONG, { username: "a" });
  thread.clock.advance(2000);
  for (let copy = 0; copy < 5; copy++) thread.ask("a again", WRONG, { username: "a", repeat: true });
  expect(main.defence.counters).toMatchObject({ failures: 1, automaticBans: 0 });
  thread.ask("b", WRONG, { username: "b" });
  main.ask("c", WRONG, { username: "c" });
  expect(main.defence.counters).toMatchObject({ failures: 3, automaticBans: 1 });
  expect(main.events).toMatchObject([{ type: "banStarted", subject: { prefix: "198.51.100.7/32" } }]);
});
