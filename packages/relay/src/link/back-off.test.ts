import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BackOff, retryAfterMs } from "./back-off.ts";

describe("BackOff", () => {
  it("doubles up to its longest pause, each between half of it and all", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.nat({ max: 40 }), (random, attempts) => {
        const backOff = new BackOff({ initialMs: 100, maxMs: 3_000 }, () => random);
        for (let attempt = 0; attempt < attempts; attempt++) backOff.next({ nowMs: 0 });
        const stepMs = Math.min(3_000, 100 * 2 ** attempts);
        const pauseMs = backOff.next({ nowMs: 0 })!;
        expect(pauseMs).toBeGreaterThanOrEqual(stepMs / 2);
        expect(pauseMs).toBeLessThanOrEqual(stepMs);
        backOff.reset();
        expect(backOff.next({ nowMs: 0 })).toBeLessThanOrEqual(100);
      }),
    );
  });

  it("keeps what was asked for, and spreads it", () => {
    const pauses = [0, 0.9].map((random) => new BackOff({}, () => random).next({ nowMs: 0, atLeastMs: 60_000 }));
    expect(pauses).toEqual([60_000, 60_900]);
  });

  it("refuses settings that make no pause", () => {
    for (const settings of [{ initialMs: 0 }, { maxMs: 10 }, { giveUpAfterMs: Number.NaN }]) {
      expect(() => new BackOff(settings, () => 0)).toThrow(RangeError);
    }
  });
});

describe("Retry-After", () => {
  it("reads seconds and dates, at most an hour", () => {
    const nowUnixMs = Date.UTC(2026, 0, 1);
    expect(retryAfterMs("7", nowUnixMs)).toBe(7_000);
    expect(retryAfterMs(" Thu, 01 Jan 2026 00:00:09 GMT ", nowUnixMs)).toBe(9_000);
    expect(retryAfterMs("Thu, 01 Jan 2015 00:00:09 GMT", nowUnixMs)).toBe(0);
    expect(retryAfterMs("9".repeat(400), nowUnixMs)).toBe(3_600_000);
    for (const wrong of [undefined, "", "soon", "-"]) expect(retryAfterMs(wrong, nowUnixMs)).toBeUndefined();
  });
});
