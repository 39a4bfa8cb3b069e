import { createHash } from "node:crypto";
import type { SecretDigester } from "@turnpike/authn";
import { ManualClock } from "@turnpike/authn/testing";
import { describe, expect, it } from "vitest";
import { demonstrate, type DemonstrationRow } from "./support/auth-demonstration.ts";

/** Takes no time, so that the clock's time is the provider's and the penalties' alone. */
const digester: SecretDigester = {
  salt: () => Uint8Array.of(1),
  digest: async (secret, salt) => createHash("sha256").update(salt).update(secret.revealBytes()).digest(),
};

async function run(random: () => number): Promise<readonly DemonstrationRow[]> {
  const clock = new ManualClock();
  const finished: (readonly DemonstrationRow[])[] = [];
  void demonstrate({ clock, scheduler: clock, digester, random }).then((rows) => finished.push(rows));
  for (let ms = 0; ms < 60_000 && finished.length === 0; ms++) {
    // Everything that waits for no clock comes first.
    await new Promise(setImmediate);
    if (finished.length === 0) clock.advance(1);
  }
  return finished[0] ?? [];
}

describe("sign-ins at a provider that takes half a second", () => {
  it.each([
    [0, 4000],
    [0.5, 4500],
    [0.999, 4999],
  ])("are slow, then quick, then slow; and wrong ones as slow as ever (random %d)", async (random, penaltyMs) => {
    const rows = await run(() => random);
    const provider = 500;
    expect(rows).toEqual([
      { what: "first sign-in", answer: "verified", digestMs: 0, tookMs: provider, asked: true },
      { what: "again, cached", answer: "verified", digestMs: 0, tookMs: 0, asked: false },
      { what: "again, cached", answer: "verified", digestMs: 0, tookMs: 0, asked: false },
      { what: "again, after its time", answer: "verified", digestMs: 0, tookMs: provider, asked: true },
      {
        what: "wrong password, user cached",
        answer: "rejected",
        digestMs: 0,
        tookMs: provider + penaltyMs,
        asked: true,
      },
      {
        what: "wrong password, user not cached",
        answer: "rejected",
        digestMs: 0,
        tookMs: provider + penaltyMs,
        asked: true,
      },
      { what: "right password after a wrong one", answer: "verified", digestMs: 0, tookMs: provider, asked: true },
      {
        what: "wrong password, user cached",
        answer: "rejected",
        digestMs: 0,
        tookMs: provider + penaltyMs,
        asked: true,
      },
      { what: "the same wrong password again", answer: "rejected", digestMs: 0, tookMs: penaltyMs, asked: false },
    ]);
  });
});
