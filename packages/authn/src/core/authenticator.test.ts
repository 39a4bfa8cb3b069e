import * as fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { Authenticator } from "./authenticator.ts";
import type { DecisionEvent } from "./decision.ts";
import { OperationContext } from "./operation-context.ts";
import { HTTP_SCHEME_NAMES, type Scheme, type SchemeName, type SchemeResult } from "./scheme.ts";

type Verdict = "skip" | "ok" | "fail" | "unavailable" | "throw" | "reject" | "unproven";

const RESULTS: Record<Exclude<Verdict, "throw" | "reject">, SchemeResult> = {
  skip: { kind: "notRequested" },
  ok: { kind: "authenticated", actor: { kind: "user", id: "alice", roles: [] }, details: { credentialId: "c1" } },
  fail: { kind: "failed", reason: { kind: "badCredentials", attemptedActor: "mallory" } },
  unavailable: { kind: "unavailable", cause: new Error("directory is down") },
  unproven: { kind: "notRequested", unproven: { kind: "badCredentials", attemptedActor: "trudy" } },
};

class CountingScheme implements Scheme<string> {
  calls = 0;
  readonly name: SchemeName;
  readonly #verdict: Verdict;
  readonly #later: boolean;

  constructor(name: SchemeName, verdict: Verdict, later: boolean) {
    this.name = name;
    this.#verdict = verdict;
    this.#later = later;
  }

  authenticate(ctx: OperationContext): SchemeResult | Promise<SchemeResult> {
    this.calls++;
    OperationContext.assert(ctx);
    expect(ctx.actor).toEqual({ kind: "builtIn", id: "authentication" });
    if (this.#verdict === "throw") throw new Error("bug");
    if (this.#verdict === "reject") return Promise.reject(new Error("bug"));
    const result = RESULTS[this.#verdict];
    return this.#later ? Promise.resolve(result) : result;
  }
}

function chain(verdicts: readonly Verdict[], later: readonly boolean[] = []): CountingScheme[] {
  return verdicts.map(
    (verdict, index) => new CountingScheme(HTTP_SCHEME_NAMES[index] ?? "spoof", verdict, later[index] ?? false),
  );
}

describe("Authenticator", () => {
  test.each<[Verdict[], string, number[]]>([
    [[], "unauthenticated", []],
    [["skip", "skip", "skip"], "unauthenticated", [1, 1, 1]],
    [["ok", "fail", "ok"], "authenticated", [1, 0, 0]],
    [["skip", "ok", "fail"], "authenticated", [1, 1, 0]],
    [["skip", "fail", "ok"], "failed", [1, 1, 0]],
    [["fail", "ok", "ok"], "failed", [1, 0, 0]],
    [["skip", "unavailable", "ok"], "unavailable", [1, 1, 0]],
    [["throw", "ok"], "unavailable", [1, 0]],
    [["reject", "ok"], "unavailable", [1, 0]],
    [["unproven", "ok"], "authenticated", [1, 1]],
    [["unproven", "skip"], "failed", [1, 1]],
    [["unproven", "unavailable"], "unavailable", [1, 1]],
  ])("%j gives %s after calls %j", async (verdicts, kind, calls) => {
    const schemes = chain(verdicts);
    const outcome = await new Authenticator({ name: "test", schemes }).authenticate("request");
    expect(outcome.kind).toBe(kind);
    expect(schemes.map((scheme) => scheme.calls)).toEqual(calls);
  });

  test.each<[("unknownActor" | "badCredentials" | "expired")[], string]>([
    [["unknownActor"], "0"],
    [["unknownActor", "unknownActor"], "0"],
    [["unknownActor", "badCredentials", "expired"], "1"],
    [["badCredentials", "unknownActor"], "0"],
  ])("of %j the reason is number %s: the first that knows the actor", async (kinds, expected) => {
    const schemes = kinds.map((kind, index): Scheme<string> => {
      const unproven = { kind, attemptedActor: String(index) };
      return { name: HTTP_SCHEME_NAMES[index] ?? "spoof", authenticate: () => ({ kind: "notRequested", unproven }) };
    });
    const outcome = await new Authenticator({ name: "test", schemes }).authenticate("request");
    expect(outcome).toMatchObject({ kind: "failed", reason: { attemptedActor: expected } });
  });

  test("any chain: the first that decides, decides, and the ones after it aren't asked", async () => {
    const verdict = fc.constantFrom<Verdict>("skip", "ok", "fail", "unavailable", "throw", "reject", "unproven");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(verdict, fc.boolean()), { maxLength: HTTP_SCHEME_NAMES.length }),
        async (steps) => {
          const verdicts = steps.map(([step]) => step);
          const schemes = chain(
            verdicts,
            steps.map(([, later]) => later),
          );
          const events: DecisionEvent[] = [];
          const logger = new RecordingLogger();
          const authenticator = new Authenticator({
            name: "test",
            schemes,
            logger,
            onDecision: (event) => void events.push(event),
          });
          const outcome = await authenticator.authenticate("request");

          const decider = verdicts.findIndex((step) => step !== "skip" && step !== "unproven");
          const asked = decider === -1 ? schemes.length : decider + 1;
          expect(schemes.map((scheme) => scheme.calls)).toEqual(schemes.map((_, index) => (index < asked ? 1 : 0)));
          const expected = { ok: "authenticated", fail: "failed" } as const;
          const deciding = verdicts[decider];
          expect(outcome.kind).toBe(
            deciding === undefined
              ? verdicts.includes("unproven")
                ? "failed"
                : "unauthenticated"
              : deciding === "ok" || deciding === "fail"
                ? expected[deciding]
                : "unavailable",
          );
          expect(events).toHaveLength(1);
          expect(logger.lines).toHaveLength(1);
          expect(events[0]?.schemesTried).toEqual(schemes.slice(0, asked).map((scheme) => scheme.name));
          expect(events[0]?.decision.kind).toBe(outcome.kind);
        },
      ),
    );
  });

  test("of several unproven credentials the first is the failure", async () => {
    const unproven = (name: SchemeName, attemptedActor: string): Scheme<string> => ({
      name,
      authenticate: () => ({ kind: "notRequested", unproven: { kind: "badCredentials", attemptedActor } }),
    });
    const schemes = [unproven("portal", "first"), unproven("static", "second")];
    expect(await new Authenticator({ name: "test", schemes }).authenticate("request")).toMatchObject({
      kind: "failed",
      scheme: "portal",
      reason: { attemptedActor: "first" },
    });
  });

  test("decides at once if no scheme has to wait", () => {
    const now = new Authenticator({ name: "test", schemes: chain(["skip", "ok"]) }).decide("request");
    expect(now).not.toBeInstanceOf(Promise);
    expect(now).toMatchObject({ kind: "authenticated" });
    const later = new Authenticator({ name: "test", schemes: chain(["skip", "ok"], [true, false]) }).decide("request");
    expect(later).toBeInstanceOf(Promise);
  });

  test("the context carries actor, scheme, request id, logger and signal", async () => {
    const logger = new RecordingLogger();
    const { signal } = new AbortController();
    const authenticator = new Authenticator({ name: "test", schemes: chain(["skip", "ok"]) });
    const outcome = await authenticator.authenticate("request", { requestId: "r-1", logger, signal });
    if (outcome.kind !== "authenticated") throw new Error(outcome.kind);
    expect(OperationContext.isGenuine(outcome.context)).toBe(true);
    expect(outcome.context).toMatchObject({ requestId: "r-1", actor: { kind: "user", id: "alice" } });
    expect(outcome.context.logger).toBe(logger);
    expect(outcome.context.signal).toBe(signal);
    expect(outcome.authentication).toMatchObject({
      scheme: "access-token",
      schemesTried: ["session-cookie", "access-token"],
    });
    expect(outcome.context.authentication).toBe(outcome.authentication);
  });

  test("logs one line with actor, scheme, schemes tried and reason, and tells the same as an event", async () => {
    const logger = new RecordingLogger();
    const events: DecisionEvent[] = [];
    const authenticator = new Authenticator<string>({
      name: "test",
      schemes: chain(["skip", "fail"]),
      logger,
      onDecision: (event) => void events.push(event),
      describe: () => ({ address: "192.0.2.1", operation: "GET /x" }),
    });
    await authenticator.authenticate("request", { requestId: "r-1" });
    expect(logger.lines).toEqual([
      {
        level: "info",
        message: "authentication failed",
        fields: {
          authenticator: "test",
          requestId: "r-1",
          outcome: "failed",
          schemesTried: ["session-cookie", "access-token"],
          operation: "GET /x",
          scheme: "access-token",
          reason: "badCredentials",
          actor: "mallory",
        },
      },
    ]);
    expect(events).toMatchObject([
      { decision: { kind: "failed", reason: { attemptedActor: "mallory" } }, source: { address: "192.0.2.1" } },
    ]);
  });

  test("hostile names can't break the log", async () => {
    const logger = new RecordingLogger();
    const name = `\u001B[2J\n{"level":"fatal"}${"x".repeat(100_000)}`;
    const scheme: Scheme<string> = {
      name: "basic",
      authenticate: () => ({
        kind: "failed",
        reason: { kind: "unknownActor", attemptedActor: name, note: name },
      }),
    };
    await new Authenticator({ name: "test", schemes: [scheme], logger }).authenticate("request", { requestId: name });
    const text = JSON.stringify(logger.lines);
    expect(text.length).toBeLessThan(2_000);
    expect(Object.values(logger.lines[0]?.fields ?? {}).join(" ")).not.toMatch(/\p{Cc}/u);
  });

  test("a listener that throws harms nothing", async () => {
    const logger = new RecordingLogger();
    const authenticator = new Authenticator({
      name: "test",
      schemes: chain(["ok"]),
      logger,
      onDecision: () => {
        throw new Error("listener");
      },
    });
    expect((await authenticator.authenticate("request")).kind).toBe("authenticated");
    expect(logger.lines.map((line) => line.level)).toEqual(["debug", "error"]);
  });

  test("refuses a scheme that is listed twice", () => {
    const schemes = [...chain(["ok"]), ...chain(["ok"])];
    expect(() => new Authenticator({ name: "test", schemes })).toThrow(/"session-cookie" is listed twice/);
  });

  test("a forgotten scheme name doesn't compile", () => {
    expectTypeOf<string>().not.toExtend<SchemeName>();
    // @ts-expect-error a scheme that isn't in the union
    const unknown: SchemeName = "psychic";
    // @ts-expect-error all schemes but one are named
    const forgotten: Record<SchemeName, number> = { basic: 1 };
    expect([unknown, forgotten]).toHaveLength(2);
  });
});
