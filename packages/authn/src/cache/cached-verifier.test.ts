import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { FakeProvider, setUp, turns } from "../../test/cache-fixture.ts";
import { OperationContext } from "../core/operation-context.ts";
import { Secret } from "../core/secret.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { OverloadedError } from "../verifiers/limiter.ts";
import { CachedVerifier } from "./cached-verifier.ts";
import { CredentialCache } from "./credential-cache.ts";

const ctx = OperationContext.internal("test");

describe("CachedVerifier", () => {
  it("is off unless it is enabled", async () => {
    const clock = new ManualClock();
    const provider = new FakeProvider();
    provider.passwords.set("ann", "right");
    const verifier = new CachedVerifier({ verifier: provider, cache: new CredentialCache({ clock }) });
    for (let i = 0; i < 3; i++) await verifier.verify(ctx, { username: "ann", password: new Secret("right") });
    expect(provider.calls).toHaveLength(3);
  });

  it("asks once, then answers itself until the time is over, which hits don't extend", async () => {
    const { clock, provider, login } = setUp({ cache: { expirySeconds: 1.5 } });
    const first = await login("ann", "right");
    expect(first).toEqual({ kind: "verified", subject: "id-ann", groups: [], roles: [] });
    for (const _ of [1, 2]) {
      clock.advance(749);
      expect(await login("ann", "right")).toEqual({ ...first, source: "cache" });
    }
    clock.advance(1.9);
    expect(await login("ann", "right")).toMatchObject({ source: "cache" });
    expect(provider.calls).toHaveLength(1);
    clock.advance(0.1);
    expect(await login("ann", "right")).toEqual(first);
    expect(provider.calls).toHaveLength(2);
  });

  it("counts the time from the question, so that a slow answer isn't believed longer", async () => {
    const { clock, provider, login } = setUp();
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const first = login("ann", "right");
    await turns();
    clock.advance(9_999);
    gate.resolve();
    await first;
    expect(await login("ann", "right")).toMatchObject({ source: "cache" });
    clock.advance(1);
    expect(await login("ann", "right")).not.toHaveProperty("source");
  });

  it("doesn't keep what took longer than its own time", async () => {
    const { clock, provider, cache, login } = setUp();
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const first = login("ann", "right");
    await turns();
    clock.advance(10_000);
    gate.resolve();
    expect(await first).toMatchObject({ kind: "verified" });
    expect(cache.inspect(ctx)).toMatchObject({ entries: 0, insertsRefused: 1 });
  });

  it("never keeps failures: wrong passwords, unknown users and an absent provider are asked about each time", async () => {
    const { provider, cache, login } = setUp();
    for (let i = 0; i < 2; i++) {
      expect(await login("ann", "wrong")).toMatchObject({ kind: "rejected", reason: "badCredentials" });
      expect(await login("eve", "wrong")).toMatchObject({ kind: "rejected", reason: "unknownUser" });
    }
    provider.down = true;
    for (let i = 0; i < 2; i++) expect(await login("ann", "right")).toMatchObject({ kind: "unavailable" });
    expect(provider.calls).toHaveLength(6);
    expect(cache.inspect(ctx)).toMatchObject({ entries: 0, negativeEntries: 0, backendUnavailable: 2 });
  });

  it("lets a thousand guessed names evict nobody", async () => {
    const { provider, login } = setUp();
    await login("ann", "right");
    for (let i = 0; i < 1000; i++) await login(`guess${i}`, "x");
    expect(await login("ann", "right")).toMatchObject({ source: "cache" });
    expect(provider.calls).toHaveLength(1001);
  });

  it("sends a wrong password for a cached user down the slow path, and keeps the user", async () => {
    const { provider, login } = setUp();
    await login("ann", "right");
    for (const guess of ["a", "b", "c", "right\u0020", "Right", "righ"]) {
      expect(await login("ann", guess)).toMatchObject({ kind: "rejected", reason: "badCredentials" });
    }
    expect(provider.calls).toHaveLength(7);
    expect(await login("ann", "right")).toMatchObject({ source: "cache" });
  });

  it("asks about a wrong password for a cached user once, then refuses it itself for a short time", async () => {
    const { clock, provider, cache, events, login } = setUp();
    await login("ann", "right");
    for (let i = 0; i < 5; i++) expect(await login("ann", "old")).toMatchObject({ reason: "badCredentials" });
    expect(provider.calls).toHaveLength(2);
    expect(events.map(({ answeredBy }) => answeredBy)).toEqual(["provider", "provider", ...Array(4).fill("negative")]);
    expect(cache.inspect(ctx)).toMatchObject({ negativeHits: 4, negativeEntries: 1, mismatches: 5 });
    clock.advance(5_000);
    await login("ann", "old");
    expect(provider.calls).toHaveLength(3);
  });

  it("lets nobody's guesses stand in the way of a changed password", async () => {
    const { provider, login } = setUp();
    await login("ann", "right");
    for (const guess of ["1", "2", "3", "4", "5", "6"]) await login("ann", guess);
    provider.passwords.set("ann", "changed");
    expect(await login("ann", "changed")).toMatchObject({ kind: "verified" });
    expect(await login("ann", "changed")).toMatchObject({ source: "cache" });
    // The old one is refused at once, by the provider.
    expect(await login("ann", "right")).toMatchObject({ kind: "rejected" });
  });

  it("believes a provider that takes its word back about the account", async () => {
    const { provider, cache, login } = setUp();
    await login("ann", "right");
    provider.locked.add("ann");
    expect(await login("ann", "wrong")).toMatchObject({ reason: "locked" });
    expect(await login("ann", "right")).toMatchObject({ reason: "locked" });
    expect(cache.inspect(ctx)).toMatchObject({ withdrawn: 1, entries: 0 });
  });

  it("makes one question of a thousand at the same time", async () => {
    const { provider, cache, login } = setUp();
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const logins = Array.from({ length: 1000 }, () => login("ann", "right"));
    await turns();
    gate.resolve();
    const results = await Promise.all(logins);
    expect(results.every(({ kind }) => kind === "verified")).toBe(true);
    expect(provider.calls).toHaveLength(1);
    expect(cache.inspect(ctx)).toMatchObject({ backendCalls: 1, joined: 999, inserts: 1, underWay: 0 });
  });

  it("never lets another password, user name or realm share a question under way", async () => {
    const { provider, cache, verifier, login } = setUp();
    const other = new CachedVerifier({ verifier: provider, cache, realm: "other" });
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const logins = [
      login("ann", "right"),
      login("ann", "wrong"),
      login("bob", "right"),
      other.verify(ctx, { username: "ann", password: new Secret("right") }),
      verifier.verify(ctx, { username: "ann", password: new Secret("right") }),
    ];
    await turns();
    gate.resolve();
    const kinds = (await Promise.all(logins)).map(({ kind }) => kind);
    expect(kinds).toEqual(["verified", "rejected", "rejected", "verified", "verified"]);
    expect(provider.calls).toHaveLength(4);
  });

  it("keeps asking while somebody waits, and stops when nobody does", async () => {
    const { provider, login } = setUp();
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const [a, b] = [new AbortController(), new AbortController()];
    const first = login("ann", "right", a.signal);
    const second = login("ann", "right", b.signal);
    await turns();
    a.abort();
    expect(await first).toMatchObject({ kind: "unavailable" });
    expect(provider.aborted).toBe(0);
    b.abort();
    expect(await second).toMatchObject({ kind: "unavailable" });
    expect(provider.aborted).toBe(1);
    // Whoever comes then doesn't share the question that was given up.
    const third = login("ann", "right");
    await turns();
    expect(provider.calls).toHaveLength(2);
    gate.resolve();
    expect(await third).toMatchObject({ kind: "verified" });
    expect(await login("ann", "right", AbortSignal.abort())).toMatchObject({ source: "cache" });
    expect(await login("bob", "bobs", AbortSignal.abort())).toMatchObject({ kind: "unavailable" });
  });

  it("bounds the questions under way", async () => {
    const { provider, cache, events, login } = setUp({ verifier: { maxUnderWay: 2 } });
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const logins = [login("ann", "right"), login("bob", "bobs"), login("cid", "x")];
    expect(await logins[2]).toMatchObject({ kind: "unavailable" });
    gate.resolve();
    await Promise.all(logins);
    expect(cache.inspect(ctx)).toMatchObject({ overloads: 1, backendUnavailable: 0 });
    expect(events[0]).toMatchObject({ answeredBy: "overload", outcome: "unavailable" });
  });

  it("answers unavailable, not refused, when too many passwords are being compared", async () => {
    const { digester, login } = setUp({ cache: { staleIfUnavailableSeconds: 100 } });
    await login("ann", "right");
    digester.digest = () => Promise.reject(new OverloadedError("full"));
    expect(await login("ann", "right")).toMatchObject({ kind: "unavailable" });
    // Whoever isn't cached is asked about all the same, and not kept.
    expect(await login("bob", "bobs")).toMatchObject({ kind: "verified" });
  });

  it("runs the local checks for every success, so that no role or disabled user is remembered", async () => {
    const disabled = new Set<string>();
    let role = "admin";
    const { provider, login } = setUp({
      cache: { staleIfUnavailableSeconds: 100 },
      verifier: {
        localCheck: (_ctx, verified) =>
          disabled.has(verified.subject)
            ? { kind: "rejected", reason: "locked" }
            : { ...verified, roles: verified.groups.includes("ops") ? [role] : [] },
      },
    });
    provider.groups.set("ann", ["ops"]);
    expect(await login("ann", "right")).toMatchObject({ roles: ["admin"] });
    role = "viewer";
    expect(await login("ann", "right")).toMatchObject({ roles: ["viewer"], source: "cache" });
    disabled.add("id-ann");
    expect(await login("ann", "right")).toEqual({ kind: "rejected", reason: "locked" });
    disabled.clear();
    expect(await login("ann", "right")).toMatchObject({ roles: ["viewer"], source: "cache" });
    expect(provider.calls).toHaveLength(1);
  });

  it("is unavailable, not open, when a local check or the verifier throws", async () => {
    const { login } = setUp({
      verifier: {
        localCheck: () => {
          throw new Error("store is away");
        },
      },
    });
    expect(await login("ann", "right")).toMatchObject({ kind: "unavailable" });
    const other = setUp();
    other.provider.verify = () => Promise.reject(new Error("bug"));
    expect(await other.login("ann", "right")).toMatchObject({ kind: "unavailable" });
    expect(other.cache.inspect(ctx).underWay).toBe(0);
  });

  it("isn't harmed by a listener that throws", async () => {
    const logger = new RecordingLogger();
    const { verifier } = setUp({
      verifier: {
        onEvent: () => {
          throw new Error("listener");
        },
      },
    });
    const loud = OperationContext.internal("test", { logger });
    const result = await verifier.verify(loud, { username: "ann", password: new Secret("right") });
    expect(result.kind).toBe("verified");
    expect(logger.lines.map(({ level }) => level)).toEqual(["error"]);
  });

  it("asks nobody about what can't be a user name or password", async () => {
    const { provider, login } = setUp();
    for (const username of ["", "a".repeat(509), "ann\0", "ann\n", "ann\u001b[2J", "\ud800"]) {
      expect(await login(username, "right")).toMatchObject({ kind: "rejected" });
    }
    for (const password of ["", "p".repeat(1025), "right\0", "\0"]) {
      expect(await login("ann", password)).toMatchObject({ kind: "rejected", reason: "badCredentials" });
    }
    expect(provider.calls).toHaveLength(0);
  });

  it("keeps nothing that is or prints a password", async () => {
    const logger = new RecordingLogger();
    const loud = OperationContext.internal("test", { logger });
    const { cache, verifier, provider, events } = setUp();
    provider.passwords.set("ann", "hunter2");
    await verifier.verify(loud, { username: "ann", password: new Secret("hunter2") });
    await verifier.verify(loud, { username: "ann", password: new Secret("hunter3") });
    await cache.flush(loud, { username: "bob" });
    const everything = inspect([cache, verifier, events, logger.lines, cache.store], { depth: 20, showHidden: true });
    provider.calls.length = 0;
    expect(everything).not.toMatch(/hunter/);
  });
});
