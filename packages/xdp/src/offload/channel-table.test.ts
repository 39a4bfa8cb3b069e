import fc from "fast-check";
import { expect, test } from "vitest";
import { state } from "../program/layout.ts";
import { ChannelTable } from "./channel-table.ts";
import type { Endpoint } from "./endpoint.ts";
import type { ChannelRoute } from "./routes.ts";

const CAPACITY = 3;
const endpoint = (last: number, port: number): Endpoint => ({
  family: 4,
  w0: 0,
  w1: 0,
  w2: 0xffff,
  w3: 0x0a000000 + last,
  port,
});
const route = (id: number): ChannelRoute => ({
  channel: 0x4000 + id,
  client: endpoint(7, 40_000 + id),
  listener: endpoint(1, 3478),
  relay: endpoint(1, 50_000 + id),
  peer: endpoint(9, 5000),
  hairpin: false,
});

/** The kernel's map of routes: the test says from which insertion on it refuses. */
class Routes {
  readonly entries = new Map<string, Uint8Array>();
  insertions = 0;
  refuseAt = Infinity;

  set(key: Uint8Array, value: Uint8Array): number {
    if (++this.insertions >= this.refuseAt) return 7;
    this.entries.set(key.join(), value);
    return 0;
  }

  delete(key: Uint8Array): boolean {
    return this.entries.delete(key.join());
  }
}

function start(): {
  table: ChannelTable;
  routes: Routes;
  states: BigUint64Array;
  taken: () => number;
  warnings: string[];
} {
  const routes = new Routes();
  const memory = new ArrayBuffer(CAPACITY * state.size);
  const warnings: string[] = [];
  let taken = 0;
  const hops = {
    take: (): number => taken++,
    release: (): void => {
      taken--;
    },
  };
  const warn = (_fields: unknown, message: string): void => {
    warnings.push(message);
  };
  const table = new ChannelTable({ routes, states: memory, hops, maxChannels: CAPACITY, warn });
  return { table, routes, states: new BigUint64Array(memory), taken: () => taken, warnings };
}

test("after any binds, unbinds and sweeps, the kernel has both ways of each channel that is bound, and nothing else", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("bind" as const), id: fc.nat(5) }),
    fc.record({ kind: fc.constant("unbind" as const), id: fc.nat(5) }),
    fc.record({ kind: fc.constant("sweep" as const), id: fc.constant(0) }),
    fc.record({ kind: fc.constant("refuse" as const), id: fc.nat(3) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { table, routes, states, taken } = start();
      const bound = new Map<string, bigint>();
      let refused = 0;
      for (const [time, { kind, id }] of steps.entries()) {
        const name = String(id);
        const end = BigInt(time + 1);
        if (kind === "refuse") routes.refuseAt = id === 0 ? Infinity : routes.insertions + id;
        else if (kind === "sweep") table.sweep();
        else if (kind === "unbind") expect(table.unbind(name) !== undefined).toBe(bound.delete(name));
        else if (table.bind(name, route(id), end)) bound.set(name, end);
        else refused++;
        expect(table.size).toBe(bound.size);
        expect(table.refused).toBe(refused);
        expect(routes.entries.size).toBe(2 * bound.size);
        expect(taken()).toBe(2 * bound.size);
        const ends = [0, 1, 2].map((slot) => states[(slot * state.size) / 8]).filter((end) => end !== 0n);
        // A slot whose insertion was refused keeps its time, but nothing leads to it.
        for (const end of bound.values()) expect(ends).toContain(end);
      }
    }),
    { numRuns: 500 },
  );
});

test("a slot rests before it is another channel's", () => {
  const { table, warnings } = start();
  for (let id = 0; id < CAPACITY; id++) expect(table.bind(String(id), route(id), 9n)).toBe(true);
  table.unbind("0");
  expect(table.bind("4", route(4), 9n)).toBe(false);
  expect(table.bind("5", route(5), 9n)).toBe(false);
  // Once a sweep.
  expect(warnings).toHaveLength(1);
  for (let sweep = 0; sweep < 3; sweep++) table.sweep();
  expect(table.bind("4", route(4), 9n)).toBe(true);
});

test("counts are read from the channel's slot, begin at nothing, and are told once more when it goes", () => {
  const { table, states } = start();
  table.bind("a", route(1), 9n);
  states.set([100n, 1000n, 200n, 2000n], state.field.packetsToPeer.offset / 8);
  const counts = { packetsToPeer: 100, bytesToPeer: 1000, packetsToClient: 200, bytesToClient: 2000 };
  expect(table.counts("a")).toEqual(counts);
  table.bind("a", route(1), 10n);
  expect(table.counts("a")).toEqual(counts);
  // Another route begins with what was counted.
  table.bind("a", route(2), 10n);
  expect(table.counts("a")).toEqual(counts);
  expect(table.traffic).toEqual(counts);
  expect(table.unbind("a")).toEqual(counts);
  expect(table.counts("a")).toBeUndefined();
  expect(table.traffic).toEqual(counts);
  expect(states[0]).toBe(0n);
  for (let sweep = 0; sweep < 3; sweep++) table.sweep();
  for (let id = 0; id < CAPACITY; id++) table.bind(String(id), route(id), 9n);
  expect([0, 1, 2].map((id) => table.counts(String(id))?.packetsToPeer)).toEqual([0, 0, 0]);
});
