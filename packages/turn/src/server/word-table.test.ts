import fc from "fast-check";
import { expect, test } from "vitest";
import { WordTable } from "./word-table.ts";

const word = fc.constantFrom(0, 1, 2, -1, 0x7fffffff, -0x80000000);
const key = fc.tuple(word, word, word, word, word, word);
const operation = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), key, value: fc.nat({ max: 0x7ffffffe }) }),
  fc.record({ kind: fc.constant("delete" as const), key }),
  fc.record({ kind: fc.constant("find" as const), key }),
);

test("behaves as a Map does, whatever the order of operations", () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(operation, { maxLength: 400 }), (seed, operations) => {
      const table = new WordTable({ seed, initialCapacity: 1 });
      const model = new Map<string, number>();
      for (const step of operations) {
        const name = step.key.join();
        if (step.kind === "set") {
          table.set(...step.key, step.value);
          model.set(name, step.value);
        } else if (step.kind === "delete") {
          expect(table.delete(...step.key)).toBe(model.delete(name));
        } else {
          expect(table.find(...step.key)).toBe(model.get(name) ?? -1);
        }
        expect(table.size).toBe(model.size);
      }
      for (const [name, value] of model) {
        const words = name.split(",").map(Number) as [number, number, number, number, number, number];
        expect(table.find(...words)).toBe(value);
      }
    }),
  );
});

test("stays right over thousands of entries that come and go", () => {
  const table = new WordTable({ seed: 7 });
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 5000; i++) table.set(0, 0, 0xffff, i * 0x01000193, i & 0xffff, round, i);
    for (let i = 0; i < 5000; i++) expect(table.find(0, 0, 0xffff, (i * 0x01000193) | 0, i & 0xffff, round)).toBe(i);
    for (let i = 0; i < 5000; i++)
      expect(table.delete(0, 0, 0xffff, (i * 0x01000193) | 0, i & 0xffff, round)).toBe(true);
    expect(table.size).toBe(0);
  }
});
