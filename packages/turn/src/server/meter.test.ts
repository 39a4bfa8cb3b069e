import fc from "fast-check";
import { expect, test } from "vitest";
import { TO_CLIENT, TO_PEERS, TokenBucketMeter } from "./meter.ts";

test("over any time no more than the rate and one burst gets through, and a patient sender gets the rate", () => {
  const packet = fc.record({ bytes: fc.nat({ max: 65_507 }), waitMs: fc.double({ min: 0, max: 50, noNaN: true }) });
  fc.assert(
    fc.property(fc.integer({ min: 1_000, max: 10_000_000 }), fc.array(packet), (bytesPerSecond, packets) => {
      const meter = new TokenBucketMeter({ bytesPerSecond });
      const burst = Math.max(65_507, bytesPerSecond / 4);
      let now = 0;
      let through = 0;
      for (const { bytes, waitMs } of packets) {
        now += waitMs;
        if (meter.take(TO_PEERS, bytes, now)) through += bytes;
        expect(through).toBeLessThanOrEqual(burst + (now * bytesPerSecond) / 1000 + 1);
      }
    }),
  );
  const meter = new TokenBucketMeter({ bytesPerSecond: 1_000_000 });
  let through = 0;
  for (let now = 0; now < 10_000; now += 0.5) if (meter.take(TO_PEERS, 1000, now)) through += 1000;
  expect(through).toBeGreaterThan(9_900_000);
  expect(through).toBeLessThan(10_300_000);
});

test("the two directions, and bytes and packets, are limited apart", () => {
  const meter = new TokenBucketMeter({ bytesPerSecond: 1e9, packetsPerSecond: 4, burstSeconds: 0.5 });
  const burst = [1, 2, 3].map(() => meter.take(TO_PEERS, 10, 0));
  expect(burst).toEqual([true, true, false]);
  expect(meter.take(TO_CLIENT, 10, 0)).toBe(true);
  expect(meter.take(TO_PEERS, 10, 250)).toBe(true);
});

test("a full datagram passes the lowest rate, and a packet that is refused costs nothing", () => {
  const meter = new TokenBucketMeter({ bytesPerSecond: 1 });
  expect(meter.take(TO_PEERS, 65_507, 0)).toBe(true);
  expect(meter.take(TO_PEERS, 1, 0)).toBe(false);
  expect(meter.take(TO_PEERS, 1, 1_001)).toBe(true);
});

test.each([0, -1, Number.NaN])("a rate of %s is refused", (bytesPerSecond) => {
  expect(() => new TokenBucketMeter({ bytesPerSecond })).toThrow(RangeError);
});
