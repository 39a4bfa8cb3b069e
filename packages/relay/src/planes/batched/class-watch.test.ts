import fc from "fast-check";
import { expect, test } from "vitest";
import { ClassWatch } from "./class-watch.ts";

/** More than a plane receives between two ticks without being busy. */
const BUSY = 5001;

/** A watch, and what the kernel was told to do. */
function watching(): { readonly watch: ClassWatch; readonly told: Map<number, boolean> } {
  const told = new Map<number, boolean>();
  const watch = new ClassWatch((socket, on) => {
    // Asking the kernel for what it does already would be a system call for nothing.
    expect(told.get(socket) ?? true).toBe(!on);
    told.set(socket, on);
  });
  return { watch, told };
}

test("a plane that isn't busy is told always", () => {
  const { watch, told } = watching();
  watch.add(3);
  for (let tick = 1; tick < 50; tick++) {
    watch.tick(tick * 5000);
    watch.prepare(3);
  }
  expect(told.size).toBe(0);
});

test("a busy plane is told during one tick of eight, and always again when it is busy no more", () => {
  const { watch, told } = watching();
  watch.add(3);
  const seen: boolean[] = [];
  for (let tick = 1; tick <= 16; tick++) {
    watch.tick(tick * BUSY);
    watch.prepare(3);
    seen.push(told.get(3) ?? true);
  }
  expect(seen.map(Number).join("")).toBe("0000000100000001");
  watch.tick(17 * BUSY);
  watch.prepare(3);
  expect(told.get(3)).toBe(false);
  watch.tick(17 * BUSY + 10);
  watch.prepare(3);
  expect(told.get(3)).toBe(true);
});

test("a marked packet keeps its socket told for ten seconds, and no other", () => {
  const { watch, told } = watching();
  watch.add(0);
  watch.add(700);
  let packets = 0;
  const tick = (): void => {
    watch.tick((packets += BUSY));
    watch.prepare(0);
    watch.prepare(700);
  };
  watch.noteMarked(700);
  for (let i = 1; i < 100; i++) {
    tick();
    expect(told.get(700) ?? true).toBe(true);
    expect(told.get(0)).toBe(i % 8 === 0);
  }
  tick();
  expect(told.get(700)).toBe(false);
});

test("a socket that takes the place of another starts anew", () => {
  const { watch, told } = watching();
  watch.add(1);
  watch.noteMarked(1);
  watch.tick(BUSY);
  watch.prepare(1);
  expect(told.size).toBe(0);
  watch.add(1);
  watch.prepare(1);
  expect(told.get(1)).toBe(false);
});

test("whatever comes, a socket that is looked at is never untold for eight ticks in a row", () => {
  const step = fc.record({ packets: fc.nat({ max: 12_000 }), marked: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const { watch, told } = watching();
      watch.add(5);
      let packets = 0;
      let untold = 0;
      let lastMarked = -Infinity;
      for (const [tick, { packets: more, marked }] of steps.entries()) {
        watch.tick((packets += more));
        watch.prepare(5);
        const isTold = told.get(5) ?? true;
        if (more <= 5000 || tick - lastMarked < 100) expect(isTold).toBe(true);
        untold = isTold ? 0 : untold + 1;
        expect(untold).toBeLessThan(8);
        // Only who is told sees a mark.
        if (marked && isTold) {
          watch.noteMarked(5);
          lastMarked = tick;
        }
      }
    }),
  );
});
