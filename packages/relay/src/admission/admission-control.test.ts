import { transportAddress } from "@turnpike/stun";
import type { LimitChange } from "@turnpike/turn";
import { describe, expect, test } from "vitest";
import { ActorRates } from "../limits/actor-rates.ts";
import { ActorSlots } from "../limits/actor-slots.ts";
import { SourceRates } from "../limits/source-rates.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { AdmissionControl, type AdmissionControlOptions, type AdmissionSettings } from "./admission-control.ts";
import type { AdmissionStore, Reserved } from "./admission-store.ts";
import { OpenAdmission } from "./open-admission.ts";
import { MemoryAdmissionStore } from "./memory-store.ts";

const SERVING = { draining: false };

function setUp(settings: AdmissionSettings, options: Partial<AdmissionControlOptions> = {}) {
  const rates = new ActorRates({ clockOffsetMs: 0 });
  const sourceRates = new SourceRates({ clockOffsetMs: 0 });
  const store = new MemoryAdmissionStore();
  const logger = new RecordingLogger();
  const clock = new VirtualClock();
  const changes: [number, readonly LimitChange[]][] = [];
  const open = new OpenAdmission();
  /** Whether admission was open whenever it was asked who lives. */
  const asked: boolean[] = [];
  const control = new AdmissionControl({
    relayId: "r1",
    store,
    whenStoreAway: "refuse",
    sourceRates,
    slots: new ActorSlots(rates),
    open,
    askWhoLives: () => void asked.push(open.isOpen),
    changeLimits: (reactor, told) => void changes.push([reactor, told]),
    clock,
    logger,
    ...options,
  });
  control.configure(settings);
  let last = 0;
  const ask = (actor = "alice", client = "198.51.100.7", reactor = 0) => {
    const questionId = ++last;
    const context = {
      actor,
      username: `19:${actor}`,
      scheme: "static",
      client: transportAddress(client, 4000),
      transport: "udp" as const,
    };
    return { asker: { reactor, questionId }, decision: control.admit({ reactor, questionId }, context, SERVING) };
  };
  return { clock, control, store, sourceRates, rates, logger, changes, open, asked, ask };
}

/** A store that answers when the test says so. */
class SlowStore implements AdmissionStore {
  readonly inner = new MemoryAdmissionStore();
  readonly waiting: ((fail?: Error) => void)[] = [];
  reserve(reservation: Parameters<AdmissionStore["reserve"]>[0]): Promise<Reserved> {
    return new Promise((resolve, reject) =>
      this.waiting.push((fail) => (fail === undefined ? resolve(this.inner.reserve(reservation)) : reject(fail))),
    );
  }
  commit(): void {}
  release(lease: string): void {
    this.inner.release(lease);
  }
  close(): void {}
}

describe("quotas", () => {
  test("of users, address prefixes and all: 486 with a reason each, and what is released is there again", () => {
    const { ask, control } = setUp({ quotas: { user: 2, addressPrefix: 3, total: 4 } });
    const [first] = [ask("a", "2001:db8::1"), ask("a", "2001:db8::2")];
    expect(ask("a").decision).toMatchObject({ admitted: false, code: 486, reason: "Allocation Quota Reached" });
    expect(ask("b", "2001:db8::3").decision).toMatchObject({ admitted: true });
    expect(ask("c", "2001:db8:0:0:ffff::").decision).toMatchObject({
      code: 486,
      reason: "Allocation Quota Reached: too many allocations from this network",
    });
    expect(ask("d", "198.51.100.1").decision).toMatchObject({ admitted: true });
    expect(ask("e", "198.51.100.2").decision).toMatchObject({ code: 486 });
    control.release(first.asker);
    control.release(first.asker);
    expect(control.count).toBe(3);
    expect(ask("e", "198.51.100.2").decision).toMatchObject({ admitted: true });
    expect(ask("f", "198.51.100.2").decision).toMatchObject({ code: 486 });
  });

  test("IPv4 clients in IPv6 form are as far apart as they are", () => {
    const { ask, store } = setUp({ quotas: { addressPrefix: 1 } });
    expect(ask("a", "::ffff:198.51.100.1").decision).toMatchObject({ admitted: true });
    expect(ask("b", "::ffff:198.51.100.2").decision).toMatchObject({ admitted: true });
    expect(ask("c", "198.51.100.1").decision).toMatchObject({ code: 486 });
    expect(store.count("prefix 198.51.100.2/32")).toBe(1);
  });

  test("a user's own quota comes from limitsFor, with lifetime and rates", async () => {
    const { ask } = setUp({
      quotas: { user: 1 },
      limitsFor: async ({ actor }) =>
        actor === "big"
          ? {
              allocations: 2,
              maxLifetimeSeconds: 60,
              allocationRate: { bytesPerSecond: 5 },
              userRate: { bytesPerSecond: 9 },
            }
          : undefined,
    });
    expect(await ask("big").decision).toEqual({
      admitted: true,
      maxLifetimeSeconds: 60,
      limits: { allocation: { bytesPerSecond: 5 }, actorSlot: 0 },
    });
    expect(await ask("big").decision).toMatchObject({ admitted: true, limits: { actorSlot: 0 } });
    expect(await ask("big").decision).toMatchObject({ code: 486 });
    expect(await ask("small").decision).toEqual({ admitted: true, limits: {} });
    expect(await ask("small").decision).toMatchObject({ code: 486 });
  });

  test("are live: a lower one ends nobody, a higher one lets in", () => {
    const { ask, control } = setUp({ quotas: { user: 1 } });
    ask();
    expect(ask().decision).toMatchObject({ code: 486 });
    control.configure({ quotas: { user: 2 } });
    expect(ask().decision).toMatchObject({ admitted: true });
    control.configure({ quotas: { user: 0 } });
    expect(control.count).toBe(2);
    expect(() => control.configure({ quotas: { user: 1.5 } })).toThrow("quota user");
  });

  test("that come later count who is there, beyond them too, until they go", () => {
    const { ask, control, store } = setUp({});
    const living = [ask(), ask(), ask("bob")];
    control.configure({ quotas: { user: 1, total: 10 } });
    control.configure({ quotas: { user: 1, total: 10 } });
    expect([store.count("user alice"), store.count("user bob"), store.count("total")]).toEqual([2, 1, 3]);
    expect(ask().decision).toMatchObject({ code: 486 });
    for (const { asker } of living.slice(0, 2)) control.release(asker);
    expect(ask().decision).toMatchObject({ admitted: true });
  });

  test("that come later count in a slow store: what has ended meanwhile is given back, what fails is tried again", async () => {
    const store = new SlowStore();
    const { ask, control } = setUp({}, { store });
    const [stays, goes] = [ask("a"), ask("b")];
    expect([stays.decision, goes.decision]).toMatchObject([{ admitted: true }, { admitted: true }]);
    control.configure({ quotas: { user: 1 } });
    control.release(goes.asker);
    const [first, second] = store.waiting.splice(0);
    first?.(new Error("away"));
    second?.();
    await new Promise(setImmediate);
    expect([store.inner.count("user a"), store.inner.count("user b")]).toEqual([0, 0]);
    control.configure({ quotas: { user: 1 } });
    store.waiting.shift()?.();
    await new Promise(setImmediate);
    expect(store.inner.count("user a")).toBe(1);
    expect(store.waiting).toEqual([]);
  });

  test("a reactor that dies gives back what it held, and what it was just asking for", async () => {
    const store = new SlowStore();
    const { ask, control } = setUp({ quotas: { user: 2 } }, { store });
    const held = ask("a", undefined, 1);
    store.waiting.shift()?.();
    expect(await held.decision).toMatchObject({ admitted: true });
    const asking = ask("a", undefined, 1);
    control.reactorEnded(1);
    store.waiting.shift()?.();
    expect(await asking.decision).toMatchObject({ admitted: false, code: 508 });
    expect(store.inner.count("user a")).toBe(0);
    control.reactorStarted(1);
    const again = ask("a", undefined, 1);
    store.waiting.shift()?.();
    expect(await again.decision).toMatchObject({ admitted: true });
  });

  test.each([
    ["refuse", { admitted: false, code: 508 }],
    ["admit", { admitted: true }],
  ] as const)("while the store is away: %s", async (whenStoreAway, expected) => {
    const store = new SlowStore();
    const { ask, logger } = setUp({ quotas: { user: 2 } }, { store, whenStoreAway });
    const { decision } = ask();
    store.waiting.shift()?.(new Error("away"));
    expect(await decision).toMatchObject(expected);
    expect(logger.messages("error")).toEqual(["Quotas can't be checked"]);
  });
});

test("limitsFor that never answers refuses after a while, and holds up nobody who lives", async () => {
  const never = new Promise<undefined>(() => {});
  const { ask, clock, control, logger } = setUp({});
  for (let i = 0; i < 20; i++) ask();
  let asked = 0;
  control.configure({
    limitsFor: () => {
      asked++;
      return never;
    },
  });
  const { decision } = ask();
  expect([asked, clock.pending]).toEqual([17, 17]);
  clock.advance(10_000);
  expect(await decision).toMatchObject({ admitted: false, code: 508 });
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  expect(asked).toBe(21);
  expect(logger.messages("error")).toContain("limitsFor failed: the allocation is refused");
  clock.advance(10_000);
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  expect([asked, clock.pending, control.count]).toEqual([21, 0, 20]);
});

test("limitsFor that fails refuses; a redirect policy that fails keeps the client", async () => {
  const fails = (): never => {
    throw new Error("database");
  };
  expect(setUp({ limitsFor: fails }).ask().decision).toMatchObject({ code: 508 });
  expect(await setUp({ limitsFor: () => Promise.reject(new Error("x")) }).ask().decision).toMatchObject({ code: 508 });
  expect(setUp({ redirect: fails }).ask().decision).toMatchObject({ admitted: true });
});

describe("what those who live may", () => {
  test("is asked again when limits are configured: at once, and told only if it changed", () => {
    const rates = new Map([
      ["a", 1000],
      ["b", 2000],
    ]);
    const limitsFor = ({ actor }: { readonly actor: string }) => ({
      allocationRate: { bytesPerSecond: rates.get(actor) ?? 1 },
      maxLifetimeSeconds: 60,
    });
    const { ask, control, changes } = setUp({ limitsFor });
    const [a, b] = [ask("a", undefined, 1), ask("b", undefined, 2)];
    control.configure({ limitsFor });
    expect(changes).toEqual([]);
    rates.set("a", 5000);
    control.configure({ limitsFor });
    const limits = { allocation: { bytesPerSecond: 5000 } };
    expect(changes.splice(0)).toEqual([[1, [{ questionId: a.asker.questionId, limits, maxLifetimeSeconds: 60 }]]]);
    control.release(a.asker);
    control.configure({ allocationRate: { bytesPerSecond: 9 } });
    expect(changes).toEqual([[2, [{ questionId: b.asker.questionId, limits: { allocation: { bytesPerSecond: 9 } } }]]]);
  });

  test("a rate of users or of all that comes later holds for who was there before; the same again gives no new burst", () => {
    const { ask, control, changes, rates } = setUp({});
    const { asker } = ask();
    const totalRate = { packetsPerSecond: 1, burstSeconds: 3 };
    const configure = (): void => {
      rates.configureTotal(totalRate, 1000);
      control.configure({ userRate: { packetsPerSecond: 1, burstSeconds: 5 }, totalRate });
    };
    configure();
    expect(changes).toEqual([[0, [{ questionId: asker.questionId, limits: { actorSlot: 0 } }]]]);
    const meter = rates.meter(0);
    const taken = (): number => Array.from({ length: 10 }, () => meter.take(0, 1, 1000)).filter(Boolean).length;
    expect(taken()).toBe(3);
    configure();
    expect(taken()).toBe(0);
    control.release(asker);
    expect(ask("b").decision).toMatchObject({ limits: { actorSlot: 0 } });
  });

  test("is asked of somebody slow a few at a time; what fails, or is overtaken by newer limits, changes nothing", async () => {
    const { ask, control, changes, logger } = setUp({});
    const asked: { actor: string; tell: (rate: number) => void; fail: () => void }[] = [];
    for (let i = 0; i < 20; i++) ask(`user${i}`);
    const limitsFor = ({ actor }: { readonly actor: string }) =>
      new Promise<{ allocationRate: { bytesPerSecond: number } }>((resolve, reject) =>
        asked.push({
          actor,
          tell: (bytesPerSecond) => resolve({ allocationRate: { bytesPerSecond } }),
          fail: () => reject(new Error("database")),
        }),
      );
    const settle = async (): Promise<void> => {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    };
    control.configure({ limitsFor });
    expect(asked).toHaveLength(16);
    asked[0]?.tell(7);
    asked[1]?.fail();
    asked[2]?.tell(-1);
    await settle();
    expect(asked).toHaveLength(19);
    expect(changes).toMatchObject([[0, [{ limits: { allocation: { bytesPerSecond: 7 } } }]]]);
    expect(logger.messages("error")).toContain("limitsFor failed: an allocation keeps the limits that it had");
    control.configure({});
    changes.length = 0;
    for (const { tell } of asked) tell(8);
    await settle();
    expect(asked).toHaveLength(19);
    expect(changes).toEqual([]);
  });

  test("who asks while limits change is held to the new ones", async () => {
    const store = new SlowStore();
    const { ask, control } = setUp({ quotas: { user: 2 }, allocationRate: { bytesPerSecond: 1 } }, { store });
    const { decision } = ask();
    control.configure({
      quotas: { user: 2 },
      limitsFor: async () => ({ allocationRate: { bytesPerSecond: 2 } }),
    });
    store.waiting.shift()?.();
    expect(await decision).toMatchObject({ admitted: true, limits: { allocation: { bytesPerSecond: 2 } } });
    expect(store.inner.count("user alice")).toBe(1);
    const late = ask().decision;
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    control.configure({ quotas: { user: 2 }, limitsFor: () => Promise.reject(new Error("database")) });
    store.waiting.shift()?.();
    expect(await late).toMatchObject({ admitted: false, code: 508 });
    expect(store.inner.count("user alice")).toBe(1);
  });
});

test.each([
  { allocations: Number.NaN },
  { allocations: -1 },
  { maxLifetimeSeconds: 0 },
  { allocationRate: { bytesPerSecond: 0 } },
  { userRate: { packetsPerSecond: Infinity } },
])("limits that make no sense, %j, refuse whom they are for, and are refused as settings", (limits) => {
  const { ask, control, logger } = setUp({ quotas: { user: 1 }, limitsFor: () => limits });
  expect(ask().decision).toMatchObject({ admitted: false, code: 508 });
  expect(logger.messages("error")).toHaveLength(1);
  expect(control.count).toBe(0);
  if ("userRate" in limits || "allocationRate" in limits) expect(() => control.configure(limits)).toThrow(RangeError);
});

test("a user without end has no quota, whatever that of the others is", () => {
  const { ask } = setUp({ quotas: { user: 1 }, limitsFor: () => ({ allocations: Infinity }) });
  for (let i = 0; i < 5; i++) expect(ask().decision).toMatchObject({ admitted: true });
});

test("redirection is told with server and domain, before any quota is taken", () => {
  const { ask, store } = setUp({
    quotas: { user: 1 },
    redirect: () => ({ servers: ["192.0.2.9:3478"], domain: "other.example.org" }),
  });
  expect(ask().decision).toEqual({
    admitted: false,
    code: 300,
    reason: "Try Alternate",
    alternateServer: transportAddress("192.0.2.9", 3478),
    alternateDomain: "other.example.org",
  });
  expect(store.count("user alice")).toBe(0);
});

test("allocations a second of one network are limited, whoever asks", () => {
  const { ask, sourceRates } = setUp({});
  sourceRates.configure({ allocationsPerSecond: 5 }, 1000);
  const decisions = Array.from({ length: 15 }, (_, i) => ask(`user${i}`).decision);
  expect(decisions.filter((each) => "admitted" in each && each.admitted)).toHaveLength(10);
  expect(decisions.at(-1)).toMatchObject({ code: 486 });
  expect(ask("other", "203.0.113.1").decision).toMatchObject({ admitted: true });
  expect(sourceRates.heldBack.allocations).toBe(5);
});

describe("open admission", () => {
  test("is open while nothing is configured that takes one place to decide", () => {
    const rate = { bytesPerSecond: 1000 };
    const { control, open, asked } = setUp({});
    expect(open.isOpen).toBe(true);
    expect(asked).toEqual([]);
    const closing: AdmissionSettings[] = [
      { quotas: { user: 1 } },
      { quotas: { total: 1 } },
      { quotas: { addressPrefix: 1 } },
      { allocationRate: rate },
      { userRate: rate },
      { totalRate: rate },
      { limitsFor: () => undefined },
      { redirect: () => undefined },
    ];
    for (const [index, settings] of closing.entries()) {
      control.configure(settings);
      expect(open.isOpen).toBe(false);
      // Closed before anybody tells: whoever is admitted later is asked about.
      expect(asked).toEqual(Array.from({ length: index + 1 }, () => false));
    }
    control.configure({ quotas: { ipv4PrefixLength: 24 } });
    expect(open.isOpen).toBe(true);
  });

  test("whom a reactor admitted by itself is held to what is configured, counts, and ends with its reactor", () => {
    const { control, ask, changes, store } = setUp({ quotas: { user: 1 }, allocationRate: { bytesPerSecond: 1000 } });
    const context = {
      actor: "alice",
      username: "19:alice",
      scheme: "static",
      client: transportAddress("198.51.100.7", 4000),
      transport: "udp" as const,
    };
    control.learn([[{ reactor: 3, questionId: 7 }, context]]);
    const limits = { allocation: { bytesPerSecond: 1000 } };
    expect(changes).toEqual([[3, [{ questionId: 7, limits }]]]);
    expect(control.count).toBe(1);
    expect(ask("alice").decision).toMatchObject({ code: 486 });
    control.reactorEnded(3);
    expect(control.count).toBe(0);
    expect(ask("alice").decision).toMatchObject({ admitted: true });
    expect(store.count("user alice")).toBe(1);
  });
});
