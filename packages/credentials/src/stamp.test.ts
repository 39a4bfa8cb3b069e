import { createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { SyncKeyedHash } from "./keyed-hash.ts";
import { mintTimeLimited } from "./shared-secret.ts";
import { mintStamp, parseStampedName, stampPassword, verifyStamp } from "./stamp.ts";

const NOW = 1_700_000_000_250;
const stampSecret = "4c98bf59c99b3e467ecd7cf9d6b3e5279645fca59be67bc5bb4af3cf653761ab";
const nodeHash: SyncKeyedHash = {
  hmac: (algorithm, key, chunks) => createHmac(algorithm, key).update(Buffer.concat(chunks)).digest(),
  digest: (algorithm, data) => createHash(algorithm).update(data).digest(),
};
const vectors = [
  {
    expiresAtUnixSeconds: 1_685_984_278,
    stampSecret: "1cab293a-4032-46f4-862a-40e5d174b0d2",
    salt: "uvdgKvS9GXYZ_vmv",
    password: "6xUIoZ+QvxKhRasLifwfRkMXl+ETLJUsFkHlXjlHAkg",
  },
  {
    expiresAtUnixSeconds: 1_892_160_000,
    stampSecret,
    salt: "n23JJ2wKKtt30oXi",
    password: "00hqldgk5xLeKKOB+xls9mHMVtgqzie9DulfgQwMv68",
  },
];

describe("stampPassword", () => {
  test.each(vectors)("agrees with other portals: $salt", async ({ password, ...stamp }) => {
    expect(await stampPassword(stamp)).toBe(password);
    expect(stampPassword({ ...stamp, keyedHash: nodeHash })).toBe(password);
  });

  test("is not made with an empty secret", () => {
    expect(() => stampPassword({ expiresAtUnixSeconds: 1, salt: "x", stampSecret: "" })).toThrow(TypeError);
  });
});

describe("mintStamp", () => {
  test("puts the user into the salt", async () => {
    const random = Uint8Array.from({ length: 12 }, (_, index) => 255 - index);
    const options = { stampSecret, user: "a.b:c", random, ttlSeconds: 60, nowUnixMs: NOW };
    const minted = await mintStamp(options);
    expect(minted.username).toBe("1700000060:a.b:c.__79_Pv6-fj39vX0");
    expect(parseStampedName(minted.username)).toEqual({
      expiresAtUnixSeconds: 1_700_000_060,
      salt: "a.b:c.__79_Pv6-fj39vX0",
      user: "a.b:c",
    });
    expect(mintStamp({ ...options, keyedHash: nodeHash })).toEqual(minted);
  });

  test("mints another credential each time, for nobody too", async () => {
    const one = await mintStamp({ stampSecret });
    const two = await mintStamp({ stampSecret });
    expect(one.username).toMatch(/^\d{10}:[\w-]{16}$/u);
    expect(one.username).not.toBe(two.username);
    expect(parseStampedName(one.username)).not.toHaveProperty("user");
  });

  test("refuses what it cannot write", () => {
    expect(() => mintStamp({ stampSecret, user: "" })).toThrow("the user is empty");
    expect(() => mintStamp({ stampSecret, user: "a\nb" })).toThrow("control characters");
    expect(() => mintStamp({ stampSecret, user: "a".repeat(500) })).toThrow(RangeError);
    expect(() => mintStamp({ stampSecret, random: new Uint8Array(11) })).toThrow("12 to 32 bytes");
    expect(() => mintStamp({ stampSecret, random: new Uint8Array(33) })).toThrow("12 to 32 bytes");
    expect(() => mintStamp({ stampSecret: "" })).toThrow("empty");
  });
});

describe("verifyStamp", () => {
  const minted = mintStamp({ stampSecret, user: "alice", ttlSeconds: 60, nowUnixMs: NOW, keyedHash: nodeHash });

  test("accepts what one of the secrets stamped, until it ends", async () => {
    const of = (stampSecrets: string | string[], nowUnixMs: number) =>
      verifyStamp({ ...minted, stampSecrets, nowUnixMs });
    expect(await of(["other", stampSecret], NOW)).toMatchObject({ ok: true, secretIndex: 1, name: { user: "alice" } });
    expect(await of(stampSecret, 1_700_000_060_000)).toMatchObject({ ok: false, reason: "expired" });
    expect(await of("other", NOW)).toEqual({ ok: false, reason: "badCredentials" });
  });

  test.each(["alice", "1700000060", "1700000060:", "alice:1700000060", "", "1700000060000:x"])(
    "says that %j is no stamp",
    (username) => {
      expect(verifyStamp({ ...minted, username, stampSecrets: stampSecret, keyedHash: nodeHash })).toEqual({
        ok: false,
        reason: "badFormat",
      });
    },
  );

  test("does not take a time-limited credential of the same secret for a stamp", () => {
    const shared = mintTimeLimited({ secrets: stampSecret, user: "a.b", nowUnixMs: NOW, keyedHash: nodeHash });
    expect(verifyStamp({ ...shared, stampSecrets: stampSecret, nowUnixMs: NOW, keyedHash: nodeHash }).ok).toBe(false);
  });
});
