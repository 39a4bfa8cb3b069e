import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PortLeases, type PortWish } from "./port-leases.ts";
import { PortTable } from "./port-table.ts";
import { createPortRange, DEFAULT_PORT_RANGE } from "./port-range.ts";

const SET_ASIDE_MS = 1000;

/** A small deterministic generator (xorshift32), seeded by each property. */
function seeded(seed: number): (bound: number) => number {
  let state = seed | 1;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

function leasesOf(range: { min: number; max: number }, seed = 1, reactors = 1, spaces = 1): PortLeases[] {
  const first = new PortTable({ range, spaces });
  return Array.from({ length: reactors }, (_, reactor) => {
    const table = new PortTable({ range, spaces, memory: first.memory });
    return new PortLeases({ table, reactor, randomInteger: seeded(seed + reactor), setAsideMs: SET_ASIDE_MS });
  });
}

describe("createPortRange", () => {
  test("refuses what is no range", () => {
    expect(() => createPortRange({ min: 0, max: 10 })).toThrow("Cannot use relay ports 0-10: the first port");
    expect(() => createPortRange({ min: 10, max: 65536 })).toThrow("the last port is not between 1 and 65535");
    expect(() => createPortRange({ min: 10.5, max: 20 })).toThrow(RangeError);
    expect(() => createPortRange({ min: 20, max: 10 })).toThrow("the first port is above the last");
  });
});

describe("PortTable", () => {
  test("refuses foreign memory, no spaces and reactors that it cannot name", () => {
    const range = DEFAULT_PORT_RANGE;
    expect(() => new PortTable({ range, spaces: 0 })).toThrow(RangeError);
    expect(() => new PortTable({ range, spaces: 1, memory: new SharedArrayBuffer(8) })).toThrow("66560 are needed");
    const table = new PortTable({ range, spaces: 1 });
    expect(() => new PortLeases({ table, reactor: 255, randomInteger: seeded(1) })).toThrow(RangeError);
  });

  test("frees what a dead reactor held", () => {
    const range = { min: 1000, max: 1063 };
    const table = new PortTable({ range, spaces: 1 });
    const [dead, alive] = [0, 1].map((reactor) => new PortLeases({ table, reactor, randomInteger: seeded(3) }));
    while (dead?.take(0, "any", 0) !== undefined);
    expect(alive?.take(0, "any", 0)).toBeUndefined();
    table.clear(0);
    expect(alive?.take(0, "any", 0)).toBeDefined();
  });
});

describe("PortLeases", () => {
  test.each([
    [1, 1],
    [3, 1],
    [7, 4],
  ])("serves every port of the range exactly once (seed %i, %i reactors)", (seed, reactors) => {
    const range = { min: 50_001, max: 50_700 };
    const all = leasesOf(range, seed, reactors);
    const taken = new Set<number>();
    for (let turn = 0; taken.size < 700; turn++) {
      const port = all[turn % reactors]?.take(0, "any", 0);
      expect(port).toBeDefined();
      expect(taken.has(port!)).toBe(false);
      taken.add(port!);
    }
    expect([Math.min(...taken), Math.max(...taken)]).toEqual([50_001, 50_700]);
    for (const leases of all) {
      expect(leases.take(0, "any", 0)).toBeUndefined();
    }
  });

  test("one reactor may use the whole range, though others hold leases on most blocks", () => {
    const [a, b] = leasesOf({ min: 1024, max: 1024 + 64 * 4 - 1 }, 5, 2);
    for (let index = 0; index < 40; index++) {
      expect(a?.take(0, "any", 0)).toBeDefined();
    }
    let served = 0;
    while (b?.take(0, "any", 0) !== undefined) {
      served++;
    }
    expect(served).toBe(64 * 4 - 40);
  });

  test("while blocks last, reactors keep to blocks of their own", () => {
    const [a, b] = leasesOf({ min: 1024, max: 1024 + 64 * 64 - 1 }, 11, 2);
    const blocks = (leases: PortLeases | undefined): Set<number> =>
      new Set(Array.from({ length: 20 }, () => Math.floor((leases?.take(0, "any", 0) ?? 0) / 64)));
    const [ofA, ofB] = [blocks(a), blocks(b)];
    expect([...ofA].filter((block) => ofB.has(block))).toEqual([]);
  });

  test("spaces are independent", () => {
    const [leases] = leasesOf({ min: 40_000, max: 40_000 }, 1, 1, 2);
    expect(leases?.take(0, "any", 0)).toBe(40_000);
    expect(leases?.take(0, "any", 0)).toBeUndefined();
    expect(leases?.take(1, "any", 0)).toBe(40_000);
    expect(leases?.giveBack(0, 40_000)).toBe(true);
    expect(leases?.giveBack(0, 40_000)).toBe(false);
    expect(leases?.take(0, "any", 0)).toBe(40_000);
  });

  test("a range of one odd port has neither an even port nor a pair", () => {
    const [leases] = leasesOf({ min: 40_001, max: 40_001 });
    expect(leases?.take(0, "even", 0)).toBeUndefined();
    expect(leases?.take(0, "evenPair", 0)).toBeUndefined();
    expect(leases?.take(0, "any", 0)).toBe(40_001);
  });

  test("consecutive ports are not neighbours more often than chance has it", () => {
    const [leases] = leasesOf(DEFAULT_PORT_RANGE, 99);
    let previous = 0;
    let neighbours = 0;
    for (let index = 0; index < 2000; index++) {
      const port = leases?.take(0, "any", 0) ?? 0;
      neighbours += Math.abs(port - previous) <= 1 ? 1 : 0;
      previous = port;
    }
    expect(neighbours).toBeLessThan(10);
  });

  test("a port that could not be bound rests, and comes back", () => {
    const [leases] = leasesOf({ min: 40_000, max: 40_001 });
    expect(leases?.take(0, "evenPair", 0)).toBe(40_000);
    expect(leases?.setAside(0, 40_000, 0)).toBe(true);
    expect(leases?.setAside(0, 40_000, 0)).toBe(false);
    expect(leases?.giveBack(0, 40_000)).toBe(false);
    expect(leases?.giveBack(0, 40_001)).toBe(true);
    expect(leases?.take(0, "even", SET_ASIDE_MS - 1)).toBeUndefined();
    expect(leases?.setAsideCount).toBe(1);
    expect(leases?.take(0, "even", SET_ASIDE_MS)).toBe(40_000);
    expect(leases?.setAsideCount).toBe(0);
    expect(leases?.inUse).toBe(1);
  });
});

/** The same thing told simply: a set of free ports. */
class Model {
  readonly free = new Set<number>();
  readonly held = new Map<number, number>();
  readonly resting = new Map<number, number>();

  constructor(min: number, max: number) {
    for (let port = min; port <= max; port++) {
      this.free.add(port);
    }
  }

  advance(reactor: number, owner: Map<number, number>, nowMs: number): void {
    for (const [port, untilMs] of this.resting) {
      if (owner.get(port) === reactor && untilMs <= nowMs) {
        this.resting.delete(port);
        this.free.add(port);
      }
    }
  }

  fits(wish: PortWish): boolean {
    return [...this.free].some(
      (port) => wish === "any" || (port % 2 === 0 && (wish === "even" || this.free.has(port + 1))),
    );
  }
}

test("ports never leak, whatever is taken, given back or set aside (security case 13)", () => {
  const command = fc.record({
    reactor: fc.nat(2),
    action: fc.constantFrom("any", "even", "evenPair", "giveBack", "giveBack", "setAside", "wait"),
    pick: fc.nat(1000),
  } as const);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 0, max: 150 }),
      fc.integer(),
      fc.array(command, { maxLength: 300 }),
      (min, size, seed, commands) => {
        const max = min + size;
        const all = leasesOf({ min, max }, seed, 3);
        const model = new Model(min, max);
        const restingOwner = new Map<number, number>();
        let nowMs = 0;
        for (const { reactor, action, pick } of commands) {
          const leases = all.at(reactor)!;
          const own = [...model.held].filter(([, holder]) => holder === reactor).map(([port]) => port);
          const port = own[pick % Math.max(1, own.length)];
          if (action === "wait") {
            nowMs += SET_ASIDE_MS / 4;
          } else if (action === "giveBack") {
            expect(leases.giveBack(0, port ?? min)).toBe(port !== undefined);
            if (port !== undefined) {
              model.held.delete(port);
              model.free.add(port);
            }
          } else if (action === "setAside") {
            expect(leases.setAside(0, port ?? min, nowMs)).toBe(port !== undefined);
            if (port !== undefined) {
              model.held.delete(port);
              model.resting.set(port, nowMs + SET_ASIDE_MS);
              restingOwner.set(port, reactor);
            }
          } else {
            model.advance(reactor, restingOwner, nowMs);
            const taken = leases.take(0, action, nowMs);
            expect(taken !== undefined).toBe(model.fits(action));
            for (const each of taken === undefined ? [] : action === "evenPair" ? [taken, taken + 1] : [taken]) {
              expect(model.free.delete(each)).toBe(true);
              model.held.set(each, reactor);
            }
            expect(action === "any" || taken === undefined || taken % 2 === 0).toBe(true);
          }
          const count = [...model.held.values()].filter((holder) => holder === reactor).length;
          expect(leases.inUse).toBe(count);
        }
        for (const [port, holder] of model.held) {
          all.at(holder)?.giveBack(0, port);
        }
        nowMs += SET_ASIDE_MS;
        const last = all.at(0)!;
        for (const leases of all) {
          leases.giveBack(0, leases.take(0, "any", nowMs) ?? 0);
        }
        while (last.take(0, "any", nowMs) !== undefined);
        expect(last.inUse).toBe(max - min + 1);
      },
    ),
  );
});
