import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { Secret } from "../core/secret.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { FakeProvider, QuickDigester } from "./cache-fixture.ts";
import { CachedVerifier, type CachedVerifierEvent, type CachedVerifierOptions } from "./cached-verifier.ts";
import { CredentialCache, type CredentialCacheOptions } from "./credential-cache.ts";
import { LocalFlushBus } from "./flush-bus.ts";
import { OverloadedError } from "../verifiers/limiter.ts";

const ctx = OperationContext.internal("test");

function setUp({
  cache: cacheOptions = {},
  verifier: verifierOptions = {},
}: { cache?: CredentialCacheOptions; verifier?: Partial<CachedVerifierOptions> } = {}) {
  const clock = new ManualClock();
  const provider = new FakeProvider();
  const digester = new QuickDigester();
  provider.passwords.set("ann", "right").set("bob", "bobs");
  const events: CachedVerifierEvent[] = [];
  const cache = new CredentialCache({
    enabled: true,
    expirySeconds: 10,
    size: 3,
    negativeExpirySeconds: 5,
    clock,
    digester,
    ...cacheOptions,
  });
  const verifier = new CachedVerifier({
    verifier: provider,
    cache,
    onEvent: (event) => events.push(event),
    ...verifierOptions,
  });
  const login = (username: string, password: string, signal?: AbortSignal) =>
    verifier.verify(ctx, { username, password: new Secret(password), signal });
  return { clock, provider, digester, cache, verifier, events, login };
}

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

  it("bounds what it remembers of wrong passwords, in users and for each user", async () => {
    const { provider, cache, login } = setUp({ cache: { size: 10, negativeSize: 2 } });
    for (const user of ["u1", "u2", "u3"]) {
      provider.passwords.set(user, "right");
      await login(user, "right");
      await login(user, "wrong");
    }
    expect(cache.inspect(ctx).negativeEntries).toBe(2);
    provider.calls.length = 0;
    await login("u1", "wrong");
    expect(provider.calls).toHaveLength(1);
    for (const guess of ["a", "b", "c", "d"]) await login("u1", guess);
    provider.calls.length = 0;
    for (const guess of ["b", "c", "d"]) await login("u1", guess);
    expect(provider.calls).toHaveLength(0);
    await login("u1", "wrong");
    expect(provider.calls).toHaveLength(1);
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

  it("flushes one user in any spelling, one provider, or all", async () => {
    const { provider, cache, login } = setUp();
    await login("Ann", "right");
    await login("bob", "bobs");
    expect(await cache.flush(ctx, { username: "\uff21NN" })).toEqual({ removed: 1, fleet: { kind: "none" } });
    expect(await login("bob", "bobs")).toMatchObject({ source: "cache" });
    expect(await login("ann", "right")).not.toHaveProperty("source");
    expect(await cache.flush(ctx, { provider: "another" })).toMatchObject({ removed: 0 });
    expect(await cache.flush(ctx, { provider: "fake", realm: "no" })).toMatchObject({ removed: 0 });
    expect(await cache.flush(ctx, { provider: "fake" })).toMatchObject({ removed: 2 });
    await login("ann", "right");
    expect(await cache.flush(ctx)).toMatchObject({ removed: 1 });
    expect(provider.calls).toHaveLength(4);
  });

  it("is never undone a flush by an answer that was on its way", async () => {
    const { provider, cache, login } = setUp();
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const before = login("ann", "right");
    const others = login("bob", "bobs");
    await turns();
    await cache.flush(ctx, { username: "ann" });
    provider.passwords.set("ann", "changed");
    // Comes after the flush: must not share the question from before it.
    const after = login("ann", "right");
    await turns();
    gate.resolve();
    expect(await before).toMatchObject({ kind: "verified" });
    expect(await after).toMatchObject({ kind: "rejected" });
    await others;
    expect(await login("ann", "right")).toMatchObject({ kind: "rejected" });
    expect(await login("bob", "bobs")).toMatchObject({ source: "cache" });
    expect(cache.inspect(ctx)).toMatchObject({ insertsRefused: 1, inserts: 1 });
  });

  it("doesn't answer from an entry that was flushed or replaced while its digest was made", async () => {
    const { provider, cache, digester, login } = setUp();
    await login("ann", "right");
    const gate = Promise.withResolvers<void>();
    digester.hold = gate.promise;
    const during = login("ann", "right");
    await turns();
    await cache.flush(ctx);
    provider.passwords.set("ann", "changed");
    gate.resolve();
    expect(await during).toMatchObject({ kind: "rejected" });
  });

  it("never lets an earlier question's late answer replace a later one's", async () => {
    const { clock, provider, login } = setUp();
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const early = login("ann", "right");
    await turns();
    provider.hold = undefined;
    provider.passwords.set("ann", "changed");
    clock.advance(1);
    await login("ann", "changed");
    gate.resolve();
    await early;
    expect(await login("ann", "changed")).toMatchObject({ source: "cache" });
    expect(await login("ann", "right")).toMatchObject({ kind: "rejected" });
  });

  it("makes room by evicting what expires soonest, one for each", async () => {
    const { clock, provider, cache, login } = setUp();
    for (const user of ["u1", "u2", "u3", "u4", "u5"]) {
      provider.passwords.set(user, "p");
      clock.advance(1);
      await login(user, "p");
    }
    expect(cache.inspect(ctx)).toMatchObject({ entries: 3, evictions: 2 });
    provider.calls.length = 0;
    for (const user of ["u3", "u4", "u5"]) await login(user, "p");
    expect(provider.calls).toEqual([]);
  });

  it.each([0, -1])("keeps nothing with a size of %i", async (size) => {
    const { provider, cache, login } = setUp({ cache: { size } });
    await login("ann", "right");
    await login("ann", "right");
    expect(provider.calls).toHaveLength(2);
    expect(cache.inspect(ctx)).toMatchObject({ entries: 0 });
  });

  it("is resized, shortened and switched off while in use", async () => {
    const { clock, provider, cache, login } = setUp();
    for (const user of ["u1", "u2", "u3"]) {
      provider.passwords.set(user, "p");
      await login(user, "p");
      clock.advance(1);
    }
    cache.configure(ctx, { size: 2 });
    expect(cache.inspect(ctx)).toMatchObject({ entries: 2, evictions: 1 });
    cache.configure(ctx, { expirySeconds: 1000 });
    clock.advance(9_997);
    await login("u3", "p");
    expect(provider.calls).toHaveLength(3);
    // A longer time is not for what was kept under the shorter one.
    clock.advance(10);
    await login("u3", "p");
    expect(provider.calls).toHaveLength(4);
    cache.configure(ctx, { expirySeconds: 0.5 });
    clock.advance(500);
    await login("u3", "p");
    expect(provider.calls).toHaveLength(5);
    cache.configure(ctx, { enabled: false });
    expect(cache.inspect(ctx).entries).toBe(0);
    await login("u3", "p");
    cache.configure(ctx, { enabled: true });
    await login("u3", "p");
    expect(provider.calls).toHaveLength(7);
  });

  it("keeps nothing of an answer that arrives after it was switched off and on", async () => {
    const { provider, cache, login } = setUp();
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const first = login("ann", "right");
    await turns();
    cache.configure(ctx, { enabled: false });
    cache.configure(ctx, { enabled: true });
    gate.resolve();
    await first;
    expect(cache.inspect(ctx).entries).toBe(0);
  });

  it.each([
    { expirySeconds: 0 },
    { expirySeconds: -1 },
    { expirySeconds: Number.NaN },
    { expirySeconds: Number.POSITIVE_INFINITY },
    { size: 1.5 },
    { size: 1e9 },
    { negativeSize: Number.NaN },
    { negativeExpirySeconds: -1 },
    { staleIfUnavailableSeconds: 3601 },
  ])("refuses %j, and changes nothing", (changes) => {
    const { cache } = setUp();
    const before = cache.settings;
    expect(() => cache.configure(ctx, changes)).toThrow(RangeError);
    expect(() => new CredentialCache(changes)).toThrow(RangeError);
    expect(cache.settings).toBe(before);
  });

  it("ends with the credential itself, by either clock", async () => {
    const { clock, provider, login } = setUp();
    provider.expiresAtUnixMs = clock.unixMs() + 2_000;
    await login("ann", "right");
    clock.advance(1_999);
    expect(await login("ann", "right")).toMatchObject({ source: "cache" });
    clock.advance(1);
    await login("ann", "right");
    expect(provider.calls).toHaveLength(2);
    // Over already: nothing to keep.
    await login("ann", "right");
    expect(provider.calls).toHaveLength(3);
    // The wall clock is set forward, the monotonic one isn't.
    const end = clock.unixMs() + 5_000;
    provider.expiresAtUnixMs = end;
    await login("bob", "bobs");
    expect(await login("bob", "bobs")).toMatchObject({ source: "cache" });
    clock.unixMs = () => end;
    provider.expiresAtUnixMs = undefined;
    expect(await login("bob", "bobs")).not.toHaveProperty("source");
  });

  it("stands in for an absent provider only if told so, up to its cap, for the right password, and says so", async () => {
    const { clock, provider, cache, events, login } = setUp({ cache: { staleIfUnavailableSeconds: 20 } });
    await login("ann", "right");
    provider.down = true;
    clock.advance(10_000);
    expect(await login("ann", "right")).toMatchObject({ kind: "verified", subject: "id-ann", source: "stale" });
    expect(await login("ann", "wrong")).toMatchObject({ kind: "unavailable" });
    expect(await login("bob", "bobs")).toMatchObject({ kind: "unavailable" });
    expect(events.map(({ answeredBy }) => answeredBy)).toEqual(["provider", "stale", "provider", "provider"]);
    expect(cache.inspect(ctx)).toMatchObject({ staleHits: 1 });
    clock.advance(20_000);
    expect(await login("ann", "right")).toMatchObject({ kind: "unavailable" });
  });

  it("doesn't stand in after the provider refused the cached password, or the credential ended", async () => {
    const { clock, provider, cache, login } = setUp({ cache: { staleIfUnavailableSeconds: 3600 } });
    provider.expiresAtUnixMs = clock.unixMs() + 15_000;
    await login("ann", "right");
    await login("bob", "bobs");
    clock.advance(10_000);
    provider.passwords.set("ann", "changed");
    expect(await login("ann", "right")).toMatchObject({ kind: "rejected" });
    provider.down = true;
    expect(await login("ann", "right")).toMatchObject({ kind: "unavailable" });
    expect(await login("bob", "bobs")).toMatchObject({ source: "stale" });
    clock.advance(5_000);
    expect(await login("bob", "bobs")).toMatchObject({ kind: "unavailable" });
    expect(cache.inspect(ctx).entries).toBe(0);
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

describe("a fleet's flush", () => {
  it("reaches every cache, with names and nothing else", async () => {
    const bus = new LocalFlushBus();
    const seen: unknown[] = [];
    bus.subscribe({ onFlush: (message) => seen.push(message), onGap: () => {} });
    const [here, there] = [setUp({ cache: { flushBus: bus } }), setUp({ cache: { flushBus: bus } })];
    for (const { login } of [here, there]) {
      await login("ann", "right");
      await login("bob", "bobs");
    }
    expect(await here.cache.flush(ctx, { username: "ann" })).toEqual({ removed: 1, fleet: { kind: "told" } });
    expect(await there.login("ann", "right")).not.toHaveProperty("source");
    expect(await there.login("bob", "bobs")).toMatchObject({ source: "cache" });
    expect(seen).toEqual([{ username: "ann", origin: expect.any(String) }]);
    expect(here.cache.inspect(ctx)).toMatchObject({ flushes: 1, remoteFlushes: 0 });
    expect(there.cache.inspect(ctx)).toMatchObject({ flushes: 0, remoteFlushes: 1 });
  });

  it("stops an answer on its way in another portal too", async () => {
    const bus = new LocalFlushBus();
    const [here, there] = [setUp({ cache: { flushBus: bus } }), setUp({ cache: { flushBus: bus } })];
    const gate = Promise.withResolvers<void>();
    there.provider.hold = gate.promise;
    const login = there.login("ann", "right");
    await turns();
    await here.cache.flush(ctx, { username: "ann" });
    gate.resolve();
    await login;
    expect(there.cache.inspect(ctx).entries).toBe(0);
  });

  it("forgets everything after a gap, and hears nothing after it was closed", async () => {
    const subscribers: { onGap(): void }[] = [];
    let ended = 0;
    const flushBus = {
      publish: () => Promise.resolve(),
      subscribe: (subscriber: { onGap(): void }) => {
        subscribers.push(subscriber);
        return () => void ended++;
      },
    };
    const { cache, login } = setUp({ cache: { flushBus } });
    await login("ann", "right");
    subscribers[0]?.onGap();
    expect(cache.inspect(ctx)).toMatchObject({ entries: 0, gaps: 1 });
    cache.close();
    expect(ended).toBe(1);
  });

  it("says so when the others couldn't be told, having flushed here", async () => {
    const cause = new Error("broker is away");
    const logger = new RecordingLogger();
    const flushBus = { publish: () => Promise.reject(cause), subscribe: () => () => {} };
    const { cache, login } = setUp({ cache: { flushBus } });
    await login("ann", "right");
    const loud = OperationContext.internal("test", { logger });
    expect(await cache.flush(loud)).toEqual({ removed: 1, fleet: { kind: "notTold", cause } });
    expect(logger.lines.at(-1)).toMatchObject({ level: "error" });
  });
});

/** Lets everything run that waits for nothing from outside. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}
