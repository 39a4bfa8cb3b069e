/** A flush reaches the credential caches of all portals of a fleet, by a real Redis. */
import { setTimeout as sleep } from "node:timers/promises";
import { CachedVerifier, CredentialCache, OperationContext, Secret, type CredentialVerifier } from "@turnpike/authn";
import { RedisFlushBus } from "@turnpike/portal";
import { afterEach, expect, it } from "vitest";
import { redisServer } from "./support/fleet-servers.ts";

const ctx = OperationContext.internal("test");
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close();
});

/** A portal's cache before a provider that takes every password and counts how often it is asked. */
function portal(url: string): { cache: CredentialCache; bus: RedisFlushBus; signIn(): Promise<void>; asked(): number } {
  let asked = 0;
  const verifier: CredentialVerifier = {
    provider: "directory",
    verify: async (_ctx, { username }) => {
      asked++;
      return { kind: "verified", subject: username, groups: [], roles: [] };
    },
  };
  const bus = new RedisFlushBus({ url });
  const cache = new CredentialCache({ enabled: true, expirySeconds: 300, flushBus: bus });
  open.push(
    () => cache.close(),
    () => bus.close(),
  );
  const cached = new CachedVerifier({ verifier, cache });
  return {
    cache,
    bus,
    asked: () => asked,
    signIn: async () => {
      await cached.verify(ctx, { username: "alice", password: new Secret("wonderland") });
    },
  };
}

/** Signs in until the provider is asked again; how many milliseconds that took. */
async function untilAsked(one: ReturnType<typeof portal>): Promise<number> {
  const before = one.asked();
  const start = performance.now();
  while (one.asked() === before && performance.now() - start < 10_000) {
    await one.signIn();
    await sleep(20);
  }
  expect(one.asked()).toBe(before + 1);
  return performance.now() - start;
}

it("a flush at one portal is a flush at the other, and a lost connection forgets everything", async () => {
  const redis = await redisServer();
  open.push(() => redis.remove());
  const [first, second] = [portal(redis.url), portal(redis.url)];
  await Promise.all([first.bus.ready, second.bus.ready]);
  for (const one of [first, second]) {
    await one.signIn();
    await one.signIn();
    expect(one.asked()).toBe(1);
  }
  await first.cache.flush(ctx, { username: "alice" });
  console.log(`the other portal forgot after ${Math.round(await untilAsked(second))} ms`);
  await second.signIn();
  expect(second.asked()).toBe(2);

  await redis.kill();
  await redis.start();
  await untilAsked(second);
});
