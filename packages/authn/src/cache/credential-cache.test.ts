import { describe, expect, it } from "vitest";
import { setUp, turns } from "../../test/cache-fixture.ts";
import { OperationContext } from "../core/operation-context.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { CredentialCache } from "./credential-cache.ts";
import { LocalFlushBus } from "./flush-bus.ts";

const ctx = OperationContext.internal("test");

describe("CredentialCache", () => {
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

  it("ends with the credential itself, though the wall clock was set back meanwhile", async () => {
    const { clock, provider, login } = setUp();
    provider.expiresAtUnixMs = clock.unixMs() + 2_000;
    await login("ann", "right");
    clock.unixMs = () => 0;
    clock.advance(1_999);
    expect(await login("ann", "right")).toMatchObject({ source: "cache" });
    clock.advance(1);
    expect(await login("ann", "right")).not.toHaveProperty("source");
  });

  it("gives what is cached no longer a time to stand in than it had", async () => {
    const { clock, provider, cache, login } = setUp();
    await login("ann", "right");
    cache.configure(ctx, { staleIfUnavailableSeconds: 100 });
    provider.down = true;
    clock.advance(10_000);
    expect(await login("ann", "right")).toMatchObject({ kind: "unavailable" });
  });

  it("doesn't stand in for a provider that wasn't asked because too much is under way here", async () => {
    const { clock, provider, login } = setUp({
      cache: { staleIfUnavailableSeconds: 100 },
      verifier: { maxUnderWay: 1 },
    });
    await login("ann", "right");
    clock.advance(10_000);
    const gate = Promise.withResolvers<void>();
    provider.hold = gate.promise;
    const other = login("bob", "bobs");
    await turns();
    expect(await login("ann", "right")).toMatchObject({ kind: "unavailable" });
    gate.resolve();
    await other;
  });

  it("ends the time of each wrong password by itself", async () => {
    const { clock, provider, login } = setUp();
    await login("ann", "right");
    await login("ann", "wrong 1");
    clock.advance(3_000);
    await login("ann", "wrong 2");
    clock.advance(2_000);
    provider.calls.length = 0;
    await login("ann", "wrong 2");
    expect(provider.calls).toEqual([]);
    await login("ann", "wrong 1");
    expect(provider.calls).toEqual([{ username: "ann", password: "wrong 1" }]);
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
