import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createSystemClock } from "./clock.ts";

test("a turn of the event loop is one moment, and the next one is later", async () => {
  const clock = createSystemClock();
  const first = { ...clock.now() };
  while (performance.now() <= first.monotonicMs + 1);
  expect(clock.now()).toEqual(first);
  await nextTurn();
  await nextTurn();
  const next = clock.now();
  expect(next.monotonicMs).toBeGreaterThan(first.monotonicMs);
  expect(next.unixMs).toBeGreaterThanOrEqual(first.unixMs);
  expect(Math.abs(next.unixMs - Date.now())).toBeLessThan(60_000);
});

test("what is scheduled happens once, unless it is called off", async () => {
  const clock = createSystemClock();
  const woken: string[] = [];
  const cancel = clock.schedule(0, () => woken.push("cancelled"));
  cancel();
  const far = clock.schedule(1e15, () => woken.push("far"));
  await new Promise<void>((resolve) => {
    clock.schedule(-5, () => {
      woken.push("now");
      resolve();
    });
  });
  far();
  expect(woken).toEqual(["now"]);
});
