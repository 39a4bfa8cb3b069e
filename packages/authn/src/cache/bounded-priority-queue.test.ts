import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BoundedPriorityQueue, type QueueEntry } from "./bounded-priority-queue.ts";

/** The same by a plain list that is sorted for every question. */
class Model {
  entries: (QueueEntry<string, number> & { readonly order: number })[] = [];
  capacity: number;
  #order = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  sorted(): readonly QueueEntry<string, number>[] {
    return this.entries
      .toSorted((a, b) => a.priority - b.priority || a.order - b.order)
      .map(({ key, value, priority }) => ({ key, value, priority }));
  }

  set(key: string, value: number, priority: number): QueueEntry<string, number> | undefined {
    const present = this.entries.some((entry) => entry.key === key);
    let evicted: QueueEntry<string, number> | undefined;
    if (present) this.delete(key);
    else if (this.capacity <= 0) return undefined;
    else if (this.entries.length >= this.capacity) evicted = this.pop();
    this.entries.push({ key, value, priority, order: this.#order++ });
    return evicted;
  }

  delete(key: string): boolean {
    const before = this.entries.length;
    this.entries = this.entries.filter((entry) => entry.key !== key);
    return this.entries.length < before;
  }

  pop(): QueueEntry<string, number> | undefined {
    const first = this.sorted()[0];
    if (first !== undefined) this.delete(first.key);
    return first;
  }

  popUpTo(limit: number): readonly QueueEntry<string, number>[] {
    const due = this.sorted().filter((entry) => entry.priority <= limit);
    for (const entry of due) this.delete(entry.key);
    return due;
  }

  resize(capacity: number): readonly QueueEntry<string, number>[] {
    this.capacity = capacity;
    const evicted = this.sorted().slice(0, Math.max(0, this.entries.length - Math.max(0, capacity)));
    for (const entry of evicted) this.delete(entry.key);
    return evicted;
  }
}

const keyOf = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h", "", "ab", "\0");
const priorityOf = fc.oneof(fc.integer({ min: -3, max: 12 }), fc.constantFrom(-Infinity, Infinity, 0.5, -0));
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("set"), key: keyOf, value: fc.nat(), priority: priorityOf }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("delete"), key: keyOf }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("pop") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("popUpTo"), limit: fc.integer({ min: -3, max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("resize"), capacity: fc.integer({ min: -2, max: 9 }) }) },
) as fc.Arbitrary<
  | { do: "set"; key: string; value: number; priority: number }
  | { do: "delete"; key: string }
  | { do: "pop" }
  | { do: "popUpTo"; limit: number }
  | { do: "resize"; capacity: number }
>;

describe("BoundedPriorityQueue", () => {
  it("does what a sorted list does, whatever is asked of it", () => {
    fc.assert(
      fc.property(fc.integer({ min: -2, max: 7 }), fc.array(step, { maxLength: 80 }), (capacity, steps) => {
        const queue = new BoundedPriorityQueue<string, number>({ capacity });
        const model = new Model(capacity);
        for (const s of steps) {
          switch (s.do) {
            case "set":
              expect(queue.set(s.key, s.value, s.priority)).toEqual(model.set(s.key, s.value, s.priority));
              break;
            case "delete":
              expect(queue.delete(s.key)).toBe(model.delete(s.key));
              break;
            case "pop":
              expect(queue.pop()).toEqual(model.pop());
              break;
            case "popUpTo":
              expect(queue.popUpTo(s.limit)).toEqual(model.popUpTo(s.limit));
              break;
            case "resize":
              expect(queue.resize(s.capacity)).toEqual(model.resize(s.capacity));
          }
          expect(queue.size).toBe(model.entries.length);
          expect(queue.size).toBeLessThanOrEqual(Math.max(0, queue.capacity));
          expect(queue.peek()).toEqual(model.sorted()[0]);
          for (const { key, value } of model.entries) {
            expect(queue.has(key)).toBe(true);
            expect(queue.get(key)).toBe(value);
          }
        }
        const left = queue
          .entries()
          .map(({ key }) => key)
          .toSorted();
        expect(left).toEqual(model.entries.map(({ key }) => key).toSorted());
        expect(queue.popUpTo(Infinity)).toEqual(model.sorted());
      }),
      { numRuns: 400 },
    );
  });

  it.each([0, -1, -1000])("keeps nothing with a capacity of %i", (capacity) => {
    const queue = new BoundedPriorityQueue<string, number>({ capacity });
    expect(queue.set("a", 1, 1)).toBeUndefined();
    expect(queue.size).toBe(0);
    expect(queue.get("a")).toBeUndefined();
    expect(queue.peek()).toBeUndefined();
    expect(queue.pop()).toBeUndefined();
    expect(queue.delete("a")).toBe(false);
    expect(queue.resize(1)).toEqual([]);
    queue.set("a", 1, 1);
    expect(queue.get("a")).toBe(1);
  });

  it("lets entries compete by priority, not by age or key", () => {
    const queue = new BoundedPriorityQueue<string, string>({ capacity: 2 });
    queue.set("late", "l", 100);
    queue.set("soon", "s", 1);
    expect(queue.set("mid", "m", 50)?.key).toBe("soon");
    // A fresh entry is admitted even if it would be the next to leave.
    expect(queue.set("sooner", "x", 0)?.key).toBe("mid");
    expect(queue.peek()?.key).toBe("sooner");
    // A changed priority changes who leaves.
    queue.set("sooner", "x", 1000);
    expect(queue.set("other", "o", 5)?.key).toBe("late");
  });

  it("evicts one for each entry that comes in, lowest first, over and over", () => {
    const queue = new BoundedPriorityQueue<number, number>({ capacity: 3 });
    const evicted: number[] = [];
    for (let i = 0; i < 100; i++) {
      const out = queue.set(i, i, i);
      if (out !== undefined) evicted.push(out.key);
      expect(queue.size).toBe(Math.min(i + 1, 3));
    }
    expect(evicted).toEqual(Array.from({ length: 97 }, (_, i) => i));
    expect(queue.popUpTo(Infinity).map(({ key }) => key)).toEqual([97, 98, 99]);
  });

  it("gives the oldest the way out among equals", () => {
    const queue = new BoundedPriorityQueue<string, number>({ capacity: 3 });
    for (const key of ["a", "b", "c"]) queue.set(key, 0, 7);
    queue.set("a", 1, 7);
    expect(queue.set("d", 0, 7)?.key).toBe("b");
  });

  it("refuses what has no order and bounds that are none", () => {
    const queue = new BoundedPriorityQueue<string, number>({ capacity: 3 });
    expect(() => queue.set("a", 1, Number.NaN)).toThrow(RangeError);
    expect(() => new BoundedPriorityQueue({ capacity: 1.5 })).toThrow(RangeError);
    expect(() => queue.resize(Number.NaN)).toThrow(RangeError);
    expect(() => queue.resize(Number.POSITIVE_INFINITY)).toThrow(RangeError);
  });

  it("can be emptied at once", () => {
    const queue = new BoundedPriorityQueue<string, number>({ capacity: 3 });
    queue.set("a", 1, 1);
    queue.clear();
    expect(queue.size).toBe(0);
    expect(queue.has("a")).toBe(false);
    expect(queue.set("a", 2, 2)).toBeUndefined();
    expect(queue.pop()).toEqual({ key: "a", value: 2, priority: 2 });
  });
});
