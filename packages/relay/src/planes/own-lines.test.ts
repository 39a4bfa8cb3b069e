import { expect, test } from "vitest";
import { PlaneCounter, PlaneCounters } from "./counters.ts";
import { onOwnLines, ownLines } from "./own-lines.ts";

const LINE_PAIR_BYTES = 128;

test.each([1, 10, 27])("%i numbers stay off the lines of whatever lies beside their memory", (count) => {
  const memory = ownLines(count);
  const numbers = onOwnLines(memory);
  expect(numbers.length).toBe(count);
  expect(numbers.byteOffset).toBeGreaterThanOrEqual(LINE_PAIR_BYTES);
  expect(memory.byteLength - numbers.byteOffset - numbers.byteLength).toBeGreaterThanOrEqual(LINE_PAIR_BYTES);
  numbers.fill(7);
  expect(onOwnLines(memory)).toEqual(new Float64Array(count).fill(7));
});

test("a plane's counters are such numbers, and another thread's view of them agrees", () => {
  const counters = new PlaneCounters();
  const { values } = counters;
  expect(values.length).toBe(Object.keys(PlaneCounter).length);
  expect(values.byteOffset).toBeGreaterThanOrEqual(LINE_PAIR_BYTES);
  expect(counters.memory.byteLength - values.byteOffset - values.byteLength).toBeGreaterThanOrEqual(LINE_PAIR_BYTES);
  values[PlaneCounter.systemCalls] = 3;
  expect(new PlaneCounters(counters.memory).snapshot().systemCalls).toBe(3);
});
