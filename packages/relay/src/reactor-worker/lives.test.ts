import fc from "fast-check";
import { expect, test } from "vitest";
import { Lives } from "./lives.ts";

test("the first death costs no time, each one more in a row twice as much, ten seconds at most", () => {
  const lives = new Lives();
  const delays = Array.from({ length: 10 }, () => {
    lives.begin(0);
    return lives.end(10_000);
  });
  expect(delays).toEqual([0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  expect(lives.deaths).toBe(10);
});

test("whoever lived for more than ten seconds is started again at once, whatever was before", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 10_000 })), fc.integer({ min: 10_001 }), (short, long) => {
      const lives = new Lives();
      for (const life of [...short, long]) {
        lives.begin(1000);
        lives.end(1000 + life);
      }
      expect(lives.deaths).toBe(1);
      lives.begin(0);
      expect(lives.end(20_000)).toBe(0);
    }),
  );
});
