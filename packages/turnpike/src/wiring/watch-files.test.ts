import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { watchFiles } from "./watch-files.ts";

/** A disk and a clock of the test's own. */
function setUp(paths: readonly string[]) {
  const disk = new Map<string, string>(paths.map((path) => [path, "0"]));
  const known = new Map<string, string | undefined>(disk);
  const told: (readonly string[])[] = [];
  let look: () => void = () => {};
  const stop = watchFiles({
    files: () => known,
    stateOf: (path) => disk.get(path),
    every: (_, callback) => {
      look = callback;
      return () => {
        look = () => {};
      };
    },
    onChange: (changed) => told.push(changed),
  });
  return { disk, known, told, look: () => look(), stop };
}

describe("watchFiles", () => {
  it("tells of a change once it has settled, once", () => {
    const { disk, told, look } = setUp(["a", "b"]);
    look();
    disk.set("a", "1");
    look();
    expect(told).toEqual([]);
    look();
    expect(told).toEqual([["a"]]);
    look();
    look();
    expect(told).toEqual([["a"]]);
  });

  it("waits while somebody is still writing, or has moved the file away", () => {
    const { disk, told, look } = setUp(["a"]);
    for (const state of ["1", "2", undefined, "3"]) {
      if (state === undefined) disk.delete("a");
      else disk.set("a", state);
      look();
    }
    expect(told).toEqual([]);
    look();
    expect(told).toEqual([["a"]]);
  });

  it("tells of a file that is gone for good, and of one that comes", () => {
    const { disk, known, told, look } = setUp(["a"]);
    known.set("b", undefined);
    disk.delete("a");
    disk.set("b", "1");
    look();
    look();
    expect(told).toEqual([["a", "b"]]);
  });

  it("is content with what was read since, and with a change that was taken back", () => {
    const { disk, known, told, look } = setUp(["a", "b"]);
    disk.set("a", "1");
    disk.set("b", "1");
    look();
    known.set("a", "1");
    disk.set("b", "0");
    look();
    look();
    expect(told).toEqual([]);
  });

  it("is silent once it is stopped", () => {
    const { disk, told, look, stop } = setUp(["a"]);
    stop();
    disk.set("a", "1");
    look();
    look();
    expect(told).toEqual([]);
  });

  it("has told of the last state of every file, however they changed, and never of one twice", () => {
    const step = fc.record({ path: fc.constantFrom("a", "b"), state: fc.option(fc.constantFrom("0", "1", "2", "3")) });
    fc.assert(
      fc.property(fc.array(fc.oneof(step, fc.constant(undefined)), { maxLength: 40 }), (steps) => {
        const { disk, known, told, look } = setUp(["a", "b"]);
        const reread = (): void => {
          // As who is told does: it reads, and knows what it has read.
          for (const path of known.keys()) known.set(path, disk.get(path));
        };
        let heard = 0;
        const lookAndRead = (): void => {
          look();
          if (told.length > heard) reread();
          heard = told.length;
        };
        for (const change of steps) {
          if (change === undefined) lookAndRead();
          else if (change.state === null) disk.delete(change.path);
          else disk.set(change.path, change.state);
        }
        lookAndRead();
        lookAndRead();
        const settled = told.length;
        for (const path of ["a", "b"]) expect(known.get(path)).toBe(disk.get(path));
        lookAndRead();
        expect(told.length).toBe(settled);
      }),
    );
  });
});
