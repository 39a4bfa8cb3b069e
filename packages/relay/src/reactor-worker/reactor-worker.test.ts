import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as L from "../libc/layout.ts";
import { loadLibc } from "../libc/libc.ts";
import { Coalescing } from "./coalescing.ts";
import { DescriptorRegistry } from "./descriptor-registry.ts";
import { TurnClock } from "./turn-clock.ts";

describe("the clock of a thread that blocks", () => {
  const create = (): { clock: TurnClock; at: (ms: number) => void } => {
    let ms = 1000;
    const clock = new TurnClock((now) => {
      now.monotonicMs = ms;
      now.unixMs = ms + 5_000_000;
    });
    return { clock, at: (next) => (ms = next) };
  };

  test("stands still within a turn", () => {
    const { clock, at } = create();
    at(2000);
    expect(clock.now()).toEqual({ monotonicMs: 1000, unixMs: 5_001_000 });
    clock.tick();
    expect(clock.now()).toEqual({ monotonicMs: 2000, unixMs: 5_002_000 });
  });

  test("fires what is due, once, and waits for the next", () => {
    const { clock, at } = create();
    const fired: string[] = [];
    clock.schedule(10.2, () => fired.push("a"));
    const cancel = clock.schedule(5, () => fired.push("never"));
    clock.schedule(-3, () => {
      fired.push("b");
      clock.schedule(100, () => fired.push("c"));
    });
    cancel();
    expect(clock.waitMs(1000)).toBe(0);
    clock.fire();
    expect(fired).toEqual(["b"]);
    expect(clock.waitMs(1000)).toBe(11);
    expect(clock.waitMs(3)).toBe(3);
    at(1011);
    clock.tick();
    clock.fire();
    clock.fire();
    expect(fired).toEqual(["b", "a"]);
    expect(clock.waitMs(1000)).toBe(89);
  });
});

describe("coalescing", () => {
  /** Naps after `turns` turns of `packets` each, `everyUs` apart. */
  const naps = (coalesceUs: number, packets: number, everyUs: number, turns = 200): number => {
    const coalescing = new Coalescing({ coalesceUs, monotonicMs: 0 });
    let taken = 0;
    for (let turn = 1; turn <= turns; turn++) {
      if (coalescing.napUs(packets, (turn * everyUs) / 1000) > 0) taken++;
    }
    return taken;
  };

  test("naps at middle loads only", () => {
    expect(naps(0, 1, 20)).toBe(0);
    expect(naps(100, 1, 10_000)).toBe(0);
    expect(naps(100, 1, 20)).toBeGreaterThan(150);
    expect(naps(100, 64, 120)).toBe(0);
    expect(naps(200, 0, 1000)).toBe(0);
  });
});

test("descriptors of a thread that died are closed, and no others", () => {
  const libc = loadLibc();
  if ("unavailable" in libc) {
    expect(process.platform === "linux" && process.arch === "x64").toBe(false);
    return;
  }
  const before = readdirSync("/dev/fd").length;
  const registry = new DescriptorRegistry();
  const watched = registry.watch(libc);
  const opened = Array.from({ length: 40 }, () => watched.socket(L.AF_INET, L.SOCK_DGRAM, 0));
  opened.push(watched.epollCreate(0), watched.eventfd(0, 0));
  const unwatched = libc.eventfd(0, 0);
  expect(watched.close(opened[3] ?? -1)).toBe(0);
  expect(readdirSync("/dev/fd").length).toBe(before + 42);
  expect(new DescriptorRegistry(registry.memory).closeAll(libc)).toBe(41);
  expect(new DescriptorRegistry(registry.memory).closeAll(libc)).toBe(0);
  expect(libc.close(unwatched)).toBe(0);
  expect(readdirSync("/dev/fd").length).toBe(before);
});
