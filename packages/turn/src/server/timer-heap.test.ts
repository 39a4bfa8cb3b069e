import fc from "fast-check";
import { expect, test } from "vitest";
import { TimerHeap } from "./timer-heap.ts";

test("pops what a sorted list would, whatever was set, moved and removed", () => {
  const items = Array.from({ length: 12 }, (_, id) => ({ id }));
  const operation = fc.oneof(
    fc.record({ kind: fc.constant("set" as const), id: fc.nat({ max: 11 }), at: fc.nat({ max: 50 }) }),
    fc.record({ kind: fc.constant("delete" as const), id: fc.nat({ max: 11 }) }),
    fc.record({ kind: fc.constant("pop" as const), at: fc.nat({ max: 50 }) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const heap = new TimerHeap<{ id: number }>();
      const model = new Map<number, number>();
      for (const step of operations) {
        if (step.kind === "set") {
          heap.set(items[step.id] as { id: number }, step.at);
          model.set(step.id, step.at);
        } else if (step.kind === "delete") {
          expect(heap.delete(items[step.id] as { id: number })).toBe(model.delete(step.id));
        } else {
          const earliest = Math.min(...model.values());
          const popped = heap.pop(step.at);
          if (popped === undefined) {
            expect(earliest).toBeGreaterThan(step.at);
          } else {
            expect(model.get(popped.id)).toBe(earliest);
            model.delete(popped.id);
          }
        }
        expect(heap.size).toBe(model.size);
        expect(heap.peekDeadlineMs()).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
      }
    }),
  );
});
