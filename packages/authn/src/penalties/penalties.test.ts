import { describe, expect, test } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { Penalties, type PenaltiesOptions } from "./penalties.ts";
import { addressPrefixOf } from "./source.ts";

const ctx = OperationContext.internal("test");

interface Bench {
  readonly clock: ManualClock;
  readonly penalties: Penalties;
  readonly done: { readonly label: string; readonly kind: string; readonly atMs: number }[];
  /** Makes a failing attempt. */
  readonly fail: (label: string, address?: string) => void;
}

function setUp(options: PenaltiesOptions = {}): Bench {
  const clock = new ManualClock();
  const penalties = new Penalties({ clock, scheduler: clock, random: () => 0.5, ...options });
  const done: Bench["done"] = [];
  return {
    clock,
    penalties,
    done,
    fail: (label, address = "192.0.2.1") =>
      void penalties
        .guard(ctx, { address, user: label }, async () => ({ value: label, verdict: "failed" }))
        .then(({ kind }) => done.push({ label, kind, atMs: clock.monotonicMs() })),
  };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe("Penalties", () => {
  test("ten thousand waiting answers need one timer", async () => {
    const { clock, penalties, done, fail } = setUp({ maxWaitingPerPrefix: 10_000, automaticBan: false });
    for (let user = 0; user < 10_001; user++) fail(`user-${user}`);
    await settle();
    expect(penalties.counters).toMatchObject({ waiting: 10_000, sources: 10_000, refused: 1, failures: 10_001 });
    expect(done).toEqual([{ label: "user-10000", kind: "refused", atMs: 0 }]);
    expect(clock.pendingCount).toBe(1);
    clock.advance(4_500);
    await settle();
    expect(done).toHaveLength(10_001);
    expect(clock.pendingCount).toBe(0);
  });

  test("one network can't take all the room", async () => {
    const { penalties, done, fail } = setUp({ maxWaitingPerPrefix: 3 });
    for (let user = 0; user < 5; user++) fail(`user-${user}`);
    fail("other", "192.0.2.2");
    await settle();
    expect(done.map((each) => each.label)).toEqual(["user-3", "user-4"]);
    expect(penalties.counters.waiting).toBe(4);
  });

  test("an attempt that comes while a delay runs isn't made before it is over", async () => {
    const { clock, penalties, fail } = setUp();
    fail("alice");
    await settle();
    let madeAtMs = -1;
    const guarded = penalties.guard(ctx, { address: "192.0.2.1", user: "alice" }, async () => {
      madeAtMs = clock.monotonicMs();
      return { value: 1, verdict: "succeeded" };
    });
    await settle();
    expect(madeAtMs).toBe(-1);
    clock.advance(4_500);
    expect(await guarded).toEqual({ kind: "answered", value: 1 });
    expect(madeAtMs).toBe(4_500);
  });

  test("what the attempt throws comes through and counts nothing", async () => {
    const { penalties } = setUp();
    const attempt = async (): Promise<never> => Promise.reject(new Error("bug"));
    await expect(penalties.guard(ctx, { address: "192.0.2.1", user: "alice" }, attempt)).rejects.toThrow("bug");
    expect(penalties.counters).toMatchObject({ failures: 0, waiting: 0 });
  });

  test("bans by hand refuse with the time that is left, are visible, logged, and can be lifted", async () => {
    const { clock, penalties, done, fail } = setUp();
    const logger = new RecordingLogger();
    const admin = OperationContext.internal("test", { logger });
    const subject = { kind: "user", user: "mallory\n" } as const;
    penalties.ban(admin, { subject, seconds: 90, reason: "abuse" });
    clock.advance(500);
    expect(penalties.listBans(ctx)).toMatchObject([{ subject, reason: "abuse", secondsLeft: 90 }]);
    expect(logger.lines).toMatchObject([{ level: "warn", fields: { user: String.raw`mallory\u{a}` } }]);
    const refused = await penalties.guard(ctx, { address: "192.0.2.9", user: "mallory\n" }, async () => {
      throw new Error("must not be asked");
    });
    expect(refused).toEqual({ kind: "refused", reason: "banned", retryAfterSeconds: 90 });
    expect(penalties.unban(ctx, subject)).toBe(true);
    expect(penalties.unban(ctx, subject)).toBe(false);
    fail("mallory\n");
    await settle();
    expect(done).toEqual([]);
    expect(() => penalties.ban(ctx, { subject, seconds: 0, reason: "" })).toThrow(RangeError);
  });

  test("a network that guesses too much is shut out, and that is logged", async () => {
    const logger = new RecordingLogger();
    const { penalties } = setUp({ automaticBan: { failures: 2, windowSeconds: 60, banSeconds: 60 } });
    const attempt = (user: string) =>
      penalties.guard(OperationContext.internal("test", { logger }), { address: "2001:db8::1", user }, async () => ({
        value: 0,
        verdict: "failed",
      }));
    void attempt("a");
    void attempt("b");
    await settle();
    expect(await attempt("c")).toMatchObject({ kind: "refused", reason: "banned" });
    expect(logger.lines).toMatchObject([{ level: "warn", fields: { prefix: "2001:db8::/64" } }]);
    expect(penalties.counters).toMatchObject({ automaticBans: 1, bans: 1 });
    expect(penalties.listBans(ctx)[0]?.subject).toEqual({ kind: "prefix", prefix: addressPrefixOf("2001:db8::2") });
  });

  test("closing lets all who wait go", async () => {
    const { clock, penalties, done, fail } = setUp();
    fail("a");
    fail("b");
    await settle();
    penalties.close();
    await settle();
    expect(done.map((each) => each.kind)).toEqual(["aborted", "aborted"]);
    expect(clock.pendingCount).toBe(0);
  });

  test("an aborted client isn't waited for", async () => {
    const { penalties } = setUp();
    const gone = OperationContext.internal("test", { signal: AbortSignal.abort() });
    expect(
      await penalties.guard(gone, { address: "192.0.2.1", user: "a" }, async () => ({ value: 0, verdict: "failed" })),
    ).toEqual({ kind: "aborted" });
    expect(penalties.counters.waiting).toBe(0);
  });
});
