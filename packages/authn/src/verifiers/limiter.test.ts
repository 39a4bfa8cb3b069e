import { describe, expect, it } from "vitest";
import { Limiter, OverloadedError } from "./limiter.ts";

function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { open: resolve, opened: promise };
}

describe("Limiter", () => {
  it("runs so many at once, lets so many wait in order, and refuses the rest", async () => {
    const limiter = new Limiter({ maxActive: 2, maxQueued: 2 });
    const gates = [gate(), gate(), gate(), gate()];
    const started: number[] = [];
    const runs = gates.map((g, i) =>
      limiter.run(async () => {
        started.push(i);
        await g.opened;
        return i;
      }),
    );
    await Promise.resolve();
    expect(started).toEqual([0, 1]);
    expect([limiter.active, limiter.queued]).toEqual([2, 2]);
    await expect(limiter.run(async () => 9)).rejects.toBeInstanceOf(OverloadedError);
    gates[1]?.open();
    await runs[1];
    expect(started).toEqual([0, 1, 2]);
    for (const g of gates) g.open();
    expect(await Promise.all(runs)).toEqual([0, 1, 2, 3]);
    expect([limiter.active, limiter.queued]).toEqual([0, 0]);
  });

  it("gives the place of a failure on", async () => {
    const limiter = new Limiter({ maxActive: 1, maxQueued: 1 });
    const failed = limiter.run(() => Promise.reject(new Error("no")));
    const next = limiter.run(async () => "next");
    await expect(failed).rejects.toThrow("no");
    expect(await next).toBe("next");
    expect(limiter.active).toBe(0);
  });

  it("forgets whoever stops waiting", async () => {
    const limiter = new Limiter({ maxActive: 1, maxQueued: 1 });
    const g = gate();
    const first = limiter.run(() => g.opened);
    const abort = new AbortController();
    const second = limiter.run(async () => "never", abort.signal);
    abort.abort(new Error("gone"));
    await expect(second).rejects.toThrow("gone");
    expect(limiter.queued).toBe(0);
    await expect(limiter.run(async () => "never", abort.signal)).rejects.toThrow("gone");
    g.open();
    await first;
    expect(await limiter.run(async () => "later")).toBe("later");
  });

  it("refuses bounds that are none", () => {
    expect(() => new Limiter({ maxActive: 0, maxQueued: 1 })).toThrow(RangeError);
    expect(() => new Limiter({ maxActive: 1, maxQueued: -1 })).toThrow(RangeError);
  });
});
