import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { Secret } from "../core/secret.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import type { VerifierResult } from "../verifiers/verifier.ts";
import { FakeProvider, QuickDigester } from "../../test/cache-fixture.ts";
import { CachedVerifier } from "./cached-verifier.ts";
import { CredentialCache } from "./credential-cache.ts";

const ctx = OperationContext.internal("test");
const EXPIRY_MS = 100;
const NEGATIVE_MS = 30;
const MAX_WRONG = 4;

type Truth = "verified" | "badCredentials" | "unknownUser" | "locked" | "unavailable";
interface Remembered {
  readonly user: string;
  readonly password: string;
  readonly askedAtMs: number;
  wrong: { readonly password: string; readonly untilMs: number }[];
}
interface Held {
  readonly user: string;
  readonly password: string;
  readonly askedAtMs: number;
  readonly truth: Truth;
  readonly compared: Remembered | undefined;
  flushed: boolean;
}

/** What a cache means, with lists that are searched and passwords in the clear. The last element is the youngest. */
class Model {
  nowMs = 0;
  calls = 0;
  enabled = true;
  capacity: number;
  entries: Remembered[] = [];
  held: Held[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** The answer, or the question that has to be asked. */
  begin(user: string, password: string, truth: Truth): Truth | Held {
    this.entries = this.entries.filter((e) => this.nowMs < e.askedAtMs + EXPIRY_MS);
    const entry = this.enabled ? this.entries.find((e) => e.user === user) : undefined;
    if (entry?.password === password) return "verified";
    if (entry?.wrong.some((w) => w.password === password && this.nowMs < w.untilMs) === true) return "badCredentials";
    this.calls++;
    return { user, password, askedAtMs: this.nowMs, truth, compared: entry, flushed: !this.enabled };
  }

  finish({ user, password, askedAtMs, truth, compared, flushed }: Held): Truth {
    this.entries = this.entries.filter((e) => this.nowMs < e.askedAtMs + EXPIRY_MS);
    const current = compared !== undefined && this.entries.includes(compared);
    if (current && truth === "badCredentials") {
      compared.wrong = compared.wrong.filter((w) => this.nowMs < w.untilMs);
      compared.wrong = [...compared.wrong, { password, untilMs: this.nowMs + NEGATIVE_MS }].slice(-MAX_WRONG);
    } else if (current && (truth === "locked" || truth === "unknownUser")) {
      this.entries = this.entries.filter((e) => e !== compared);
    }
    const present = this.entries.find((e) => e.user === user);
    const tooLate = flushed || !this.enabled || this.nowMs >= askedAtMs + EXPIRY_MS || this.capacity <= 0;
    if (truth !== "verified" || tooLate || (present !== undefined && present.askedAtMs > askedAtMs)) return truth;
    if (present !== undefined) this.entries = this.entries.filter((e) => e !== present);
    else if (this.entries.length >= this.capacity) this.shrinkTo(this.capacity - 1);
    this.entries.push({ user, password, askedAtMs, wrong: [] });
    return truth;
  }

  shrinkTo(count: number): void {
    const leaving = this.entries.toSorted((a, b) => a.askedAtMs - b.askedAtMs);
    leaving.length = Math.max(0, this.entries.length - Math.max(0, count));
    this.entries = this.entries.filter((e) => !leaving.includes(e));
  }

  flush(user: string | undefined): number {
    this.entries = this.entries.filter((e) => this.nowMs < e.askedAtMs + EXPIRY_MS);
    for (const held of this.held) if (user === undefined || held.user === user) held.flushed = true;
    const before = this.entries.length;
    this.entries = this.entries.filter((e) => user !== undefined && e.user !== user);
    return before - this.entries.length;
  }
}

const USERS = ["ann", "bob", "cid"];
const user = fc.constantFrom(...USERS);
const password = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("p0", "p1") },
  { weight: 1, arbitrary: fc.constantFrom("p2", "p3", "p4", "p5", "p6") },
);
const capacity = fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 3 }) }, fc.integer({ min: -1, max: 0 }));
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant("login" as const), user, password }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("slowLogin" as const), user, password }) },
  { weight: 7, arbitrary: fc.record({ do: fc.constant("answer" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("setPassword" as const), user, password }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("lock" as const), user }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), user }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("down" as const), down: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("flush" as const), user: fc.option(user, { nil: undefined }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("resize" as const), size: capacity }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("enable" as const),
      enabled: fc.oneof({ weight: 2, arbitrary: fc.constant(true) }, fc.constant(false)),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function outcomeOf(result: VerifierResult): Truth {
  return result.kind === "rejected" ? result.reason : result.kind;
}

function truthOf(provider: FakeProvider, name: string, given: string): Truth {
  if (provider.down) return "unavailable";
  const right = provider.passwords.get(name);
  if (right === undefined) return "unknownUser";
  if (provider.locked.has(name)) return "locked";
  return right === given ? "verified" : "badCredentials";
}

async function run(size: number, steps: readonly Step[]): Promise<void> {
  const clock = new ManualClock();
  const provider = new FakeProvider();
  for (const name of USERS) provider.passwords.set(name, "p0");
  const cache = new CredentialCache({
    enabled: true,
    expirySeconds: EXPIRY_MS / 1000,
    size,
    negativeExpirySeconds: NEGATIVE_MS / 1000,
    negativeSize: 100,
    clock,
    digester: new QuickDigester(),
  });
  const verifier = new CachedVerifier({ verifier: provider, cache });
  const model = new Model(size);
  const slow: { readonly held: Held; readonly answer: Promise<VerifierResult>; readonly let: () => void }[] = [];
  const login = (name: string, given: string): Promise<VerifierResult> =>
    verifier.verify(ctx, { username: name, password: new Secret(given) });
  const asked = (name: string, given: string): boolean =>
    slow.some(({ held }) => held.user === name && held.password === given);

  for (const s of steps) {
    switch (s.do) {
      case "login":
      case "slowLogin": {
        // Would join the question under way: that is another test's subject.
        if (asked(s.user, s.password)) break;
        const begun = model.begin(s.user, s.password, truthOf(provider, s.user, s.password));
        if (s.do === "login" || typeof begun === "string") {
          const expected = typeof begun === "string" ? begun : model.finish(begun);
          expect(outcomeOf(await login(s.user, s.password))).toBe(expected);
          break;
        }
        model.held.push(begun);
        const gate = Promise.withResolvers<void>();
        const before = provider.calls.length;
        provider.hold = gate.promise;
        const answer = login(s.user, s.password);
        for (let turn = 0; turn < 100 && provider.calls.length === before; turn++) await Promise.resolve();
        expect(provider.calls.length).toBe(before + 1);
        provider.hold = undefined;
        slow.push({ held: begun, answer, let: gate.resolve });
        break;
      }
      case "answer": {
        const first = slow.shift();
        if (first === undefined) break;
        model.held.shift();
        first.let();
        expect(outcomeOf(await first.answer)).toBe(model.finish(first.held));
        break;
      }
      case "setPassword":
        provider.passwords.set(s.user, s.password);
        provider.locked.delete(s.user);
        break;
      case "lock":
        provider.locked.add(s.user);
        break;
      case "remove":
        provider.passwords.delete(s.user);
        break;
      case "down":
        provider.down = s.down;
        break;
      case "wait":
        clock.advance(s.ms);
        model.nowMs += s.ms;
        break;
      case "flush": {
        const report = await cache.flush(ctx, s.user === undefined ? {} : { username: s.user });
        expect(report.removed).toBe(model.flush(s.user));
        break;
      }
      case "resize":
        cache.configure(ctx, { size: s.size });
        model.entries = model.entries.filter((e) => model.nowMs < e.askedAtMs + EXPIRY_MS);
        model.capacity = s.size;
        model.shrinkTo(s.size);
        break;
      case "enable":
        cache.configure(ctx, { enabled: s.enabled });
        model.enabled = s.enabled;
        if (!s.enabled) model.flush(undefined);
    }
    expect(provider.calls.length).toBe(model.calls);
    model.entries = model.entries.filter((e) => model.nowMs < e.askedAtMs + EXPIRY_MS);
    expect(cache.inspect(ctx).entries).toBe(model.entries.length);
    expect(cache.inspect(ctx).entries).toBeLessThanOrEqual(Math.max(0, cache.settings.size));
  }
}

describe("CachedVerifier", () => {
  it("answers and asks as a simple model does, whatever happens in between", async () => {
    await fc.assert(fc.asyncProperty(capacity, fc.array(step, { size: "max", maxLength: 120 }), run), {
      numRuns: 1000,
    });
  });
});
