import { createHash, createHmac } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import type { TimeLimitedCredential } from "./ice-servers.ts";
import type { SyncKeyedHash } from "./keyed-hash.ts";
import { mintTimeLimited, timeLimitedPassword, verifyTimeLimited } from "./shared-secret.ts";
import type { TimeLimitedForm } from "./time-limited-name.ts";

const NOW = 1_700_000_000_250;
const nodeHash: SyncKeyedHash = {
  hmac: (algorithm, key, chunks) =>
    chunks.reduce((hmac, chunk) => hmac.update(chunk), createHmac(algorithm, key)).digest(),
  digest: (algorithm, data) => createHash(algorithm).update(data).digest(),
};

describe("mintTimeLimited", () => {
  test("writes the end into the name and signs the name", async () => {
    const minted = await mintTimeLimited({ secrets: "north", user: "alice", ttlSeconds: 60, nowUnixMs: NOW });
    expect(minted).toEqual({
      username: "1700000060:alice",
      credential: createHmac("sha1", "north").update("1700000060:alice").digest("base64"),
      expiresAtUnixSeconds: 1_700_000_060,
      ttlSeconds: 60,
    });
  });

  test("knows the three forms", async () => {
    const of = async (form: TimeLimitedForm | undefined, user: string | undefined): Promise<string> => {
      const options = { secrets: "s", ttlSeconds: 5, nowUnixMs: NOW };
      const chosen = { ...(form === undefined ? {} : { form }), ...(user === undefined ? {} : { user }) };
      return (await mintTimeLimited({ ...options, ...chosen })).username;
    };
    expect(await of("timestamp:user", "a:b")).toBe("1700000005:a:b");
    expect(await of("user:timestamp", "a:b")).toBe("a:b:1700000005");
    expect(await of(undefined, undefined)).toBe("1700000005");
    await expect(async () => of("timestamp", "alice")).rejects.toThrow('the form "timestamp" has no user');
    await expect(async () => of("user:timestamp", undefined)).rejects.toThrow("needs a user");
  });

  test("clamps the time to live", async () => {
    const ttl = async (ttlSeconds?: number, maxTtlSeconds?: number): Promise<number> => {
      const times = {
        ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
        ...(maxTtlSeconds === undefined ? {} : { maxTtlSeconds }),
      };
      const minted = await mintTimeLimited({ secrets: "s", nowUnixMs: NOW, ...times });
      expect(minted.expiresAtUnixSeconds).toBe(1_700_000_000 + minted.ttlSeconds);
      return minted.ttlSeconds;
    };
    expect(await ttl()).toBe(86_400);
    expect(await ttl(10_000_000)).toBe(604_800);
    expect(await ttl(10_000_000, 100_000_000)).toBe(10_000_000);
    expect(await ttl(undefined, 60)).toBe(60);
    for (const wrong of [0, -1, 0.5, Number.NaN, Infinity]) {
      await expect(async () => ttl(wrong)).rejects.toThrow("ttlSeconds must be a whole number of seconds");
      await expect(async () => ttl(60, wrong)).rejects.toThrow("maxTtlSeconds must be a whole number of seconds");
    }
  });

  test("takes the runtime's clock if none is given", async () => {
    const before = Math.floor(Date.now() / 1000);
    const { expiresAtUnixSeconds } = await mintTimeLimited({ secrets: "s", ttlSeconds: 10 });
    expect(expiresAtUnixSeconds).toBeGreaterThanOrEqual(before + 10);
    expect(expiresAtUnixSeconds).toBeLessThanOrEqual(Math.floor(Date.now() / 1000) + 10);
  });

  test("mints by the first of several secrets, and by none never", async () => {
    const options = { user: "alice", ttlSeconds: 60, nowUnixMs: NOW };
    expect(await mintTimeLimited({ ...options, secrets: ["new", "old"] })).toEqual(
      await mintTimeLimited({ ...options, secrets: "new" }),
    );
    for (const secrets of [[], "", ["new", ""], new Uint8Array(0)]) {
      expect(() => mintTimeLimited({ ...options, secrets })).toThrow("there is none, or an empty one");
    }
  });

  test("gives at once what a synchronous keyed hash mints, and the same", async () => {
    const options = { secrets: "north", user: "zoë", nowUnixMs: NOW };
    const minted = mintTimeLimited({ ...options, keyedHash: nodeHash });
    expectTypeOf(minted).toEqualTypeOf<TimeLimitedCredential>();
    expect(minted).toEqual(await mintTimeLimited(options));
    const sha256 = { username: minted.username, secret: "north", algorithm: "sha256" } as const;
    expect(timeLimitedPassword({ ...sha256, keyedHash: nodeHash })).toBe(await timeLimitedPassword(sha256));
    expect(await timeLimitedPassword(sha256)).toHaveLength(44);
  });
});

describe("verifyTimeLimited", () => {
  test("accepts what any of the secrets minted, until it ends", async () => {
    const minted = await mintTimeLimited({ secrets: "old", user: "alice", ttlSeconds: 60, nowUnixMs: NOW });
    const at = (nowUnixMs: number, secrets: string[]) => verifyTimeLimited({ ...minted, secrets, nowUnixMs });
    const name = { form: "timestamp:user", expiresAtUnixSeconds: 1_700_000_060, user: "alice" };
    expect(await at(NOW, ["new", "old"])).toEqual({ ok: true, name, secretIndex: 1 });
    expect(await at(1_700_000_059_999, ["old"])).toEqual({ ok: true, name, secretIndex: 0 });
    expect(await at(1_700_000_060_000, ["old"])).toEqual({ ok: false, reason: "expired", name });
    expect(await at(NOW, ["new"])).toEqual({ ok: false, reason: "badCredentials" });
  });

  test("tells the end of a credential to nobody who does not have it", () => {
    const minted = mintTimeLimited({ secrets: "s", user: "alice", nowUnixMs: 0, keyedHash: nodeHash });
    const guessed = verifyTimeLimited({
      ...minted,
      credential: "guess",
      secrets: "s",
      nowUnixMs: NOW,
      keyedHash: nodeHash,
    });
    expect(guessed).toEqual({ ok: false, reason: "badCredentials" });
  });

  test("refuses credentials that last too long, whoever minted them", () => {
    const options = { secrets: "s", ttlSeconds: 7200, nowUnixMs: NOW, keyedHash: nodeHash };
    const minted = mintTimeLimited(options);
    expect(verifyTimeLimited({ ...minted, ...options, maxTtlSeconds: 3600 })).toMatchObject({ reason: "tooLong" });
    expect(verifyTimeLimited({ ...minted, ...options, maxTtlSeconds: 7200 })).toMatchObject({ ok: true });
  });

  test("lets nobody in by a clock or a limit that is no number", () => {
    const options = { secrets: "s", nowUnixMs: NOW, keyedHash: nodeHash };
    const minted = mintTimeLimited(options);
    expect(verifyTimeLimited({ ...minted, ...options, nowUnixMs: Number.NaN }).ok).toBe(false);
    for (const maxTtlSeconds of [Number.NaN, 0, -1]) {
      expect(() => verifyTimeLimited({ ...minted, ...options, maxTtlSeconds })).toThrow(RangeError);
    }
    expect(() => mintTimeLimited({ ...options, nowUnixMs: Number.NaN })).toThrow(RangeError);
  });

  test("refuses a signed name that never ends", async () => {
    for (const username of ["alice", "1700000000000:alice", "", "alice:0"]) {
      const credential = await timeLimitedPassword({ username, secret: "s" });
      expect(await verifyTimeLimited({ username, credential, secrets: "s" })).toEqual({
        ok: false,
        reason: "badFormat",
      });
    }
  });

  test("accepts exactly what was minted: any user, form, secret and algorithm", () => {
    const forms = fc.constantFrom<TimeLimitedForm>("timestamp:user", "user:timestamp");
    const secrets = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), { minLength: 2, maxLength: 4 });
    const algorithms = fc.constantFrom("sha1" as const, "sha256" as const);
    const user = fc.string({ unit: "grapheme", maxLength: 40 }).filter((text) => !/^\d{1,10}(:|$)/u.test(text));
    fc.assert(
      fc.property(forms, secrets, algorithms, user, fc.nat(), (form, secrets, algorithm, user, at) => {
        const index = at % secrets.length;
        const secret = secrets[index] ?? "";
        const shared = { algorithm, nowUnixMs: NOW, keyedHash: nodeHash };
        const minted = mintTimeLimited({ ...shared, secrets: secret, user, form });
        expect(verifyTimeLimited({ ...shared, ...minted, secrets })).toMatchObject({
          ok: true,
          secretIndex: index,
          name: { user, form },
        });
        const others = secrets.filter((other) => other !== secret);
        expect(verifyTimeLimited({ ...shared, ...minted, secrets: others }).ok).toBe(false);
        const renamed = { ...minted, username: `${minted.username}0` };
        expect(verifyTimeLimited({ ...shared, ...renamed, secrets }).ok).toBe(false);
        const cut = { ...minted, credential: minted.credential.slice(0, -1) };
        expect(verifyTimeLimited({ ...shared, ...cut, secrets }).ok).toBe(false);
      }),
    );
  });
});
