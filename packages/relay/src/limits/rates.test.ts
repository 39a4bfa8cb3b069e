import { parseIpAddress, type IpAddress } from "@turnpike/stun";
import { TO_CLIENT, TO_PEERS } from "@turnpike/turn";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ActorRates } from "./actor-rates.ts";
import { ActorSlots } from "./actor-slots.ts";
import { SourceRates } from "./source-rates.ts";

function ip(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) throw new TypeError(text);
  return parsed;
}

describe("an actor's rate", () => {
  test("over any packets at any times, in several threads, is that of a token bucket", () => {
    const packets = fc.array(
      fc.record({
        waitMs: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constantFrom(0, 0, 1000, 60_000)),
        bytes: fc.integer({ min: 1, max: 1500 }),
        thread: fc.nat(2),
      }),
      { minLength: 1, maxLength: 200 },
    );
    fc.assert(
      fc.property(packets, fc.integer({ min: 20_000, max: 100_000_000 }), (sequence, bytesPerSecond) => {
        const owner = new ActorRates({ clockOffsetMs: 0 });
        // Their clocks begin elsewhere.
        const threads = [0, 1, 2].map((n) => new ActorRates({ clockOffsetMs: n * 1e6, memory: owner.memory }).meter(3));
        const burst = Math.max(65_507, bytesPerSecond * 0.25);
        owner.configureActor(3, { bytesPerSecond }, 0);
        let [nowMs, tokens, filledAtMs] = [0, burst, 0];
        for (const { waitMs, bytes, thread } of sequence) {
          nowMs += waitMs;
          tokens = Math.min(burst, tokens + ((nowMs - filledAtMs) * bytesPerSecond) / 1000);
          filledAtMs = nowMs;
          if (waitMs >= 60_000) owner.settle(nowMs);
          const taken = threads[thread]!.take(TO_PEERS, bytes, nowMs - thread * 1e6);
          // A tick of 100 ns is what rounding may shift the border by, for each packet.
          const slack = 1 + (sequence.length * bytesPerSecond) / 1e7;
          if (Math.abs(tokens - bytes) > slack) expect(taken).toBe(tokens >= bytes);
          if (taken) tokens -= bytes;
        }
      }),
      { numRuns: 100 },
    );
  });

  test("ways are apart; a packet limit takes no bytes when it refuses; no rate is no limit", () => {
    const rates = new ActorRates({ clockOffsetMs: 0 });
    rates.configureActor(0, { packetsPerSecond: 10, bytesPerSecond: 1_000_000, burstSeconds: 1 }, 0);
    const meter = rates.meter(0);
    const taken = (direction: 0 | 1): number =>
      Array.from({ length: 30 }, () => meter.take(direction, 1000, 5)).filter(Boolean).length;
    expect([taken(TO_PEERS), taken(TO_CLIENT)]).toEqual([10, 10]);
    rates.configureActor(0, { bytesPerSecond: 1_000_000, burstSeconds: 1 }, 5);
    expect(taken(TO_PEERS)).toBe(30);
    rates.configureActor(0, undefined, 5);
    expect(Array.from({ length: 5000 }, () => meter.take(0, 1500, 5)).every(Boolean)).toBe(true);
  });

  test("after any idle time the bucket is full, as long as somebody settles", () => {
    const rates = new ActorRates({ clockOffsetMs: 0 });
    rates.configureActor(0, { bytesPerSecond: 1_000_000 }, 0);
    const meter = rates.meter(0);
    for (let nowMs = 0; nowMs < 86_400_000; nowMs += 60_000) {
      rates.settle(nowMs);
      if (nowMs % 3_540_000 === 0) expect(meter.take(0, 250_000, nowMs)).toBe(true);
    }
  });

  test.each([
    ["1 byte a second", { bytesPerSecond: 1 }, 1, 200_000],
    ["10 kbit/s of voice", { bytesPerSecond: 1250 }, 172, 600],
    ["a packet in ten seconds", { packetsPerSecond: 0.1 }, 1, 2000],
    ["10 Gbit/s of tiny packets", { bytesPerSecond: 1.25e9 }, 20, 0.02],
    ["10 Gbit/s of voice", { bytesPerSecond: 1.25e9 }, 172, 0.2],
    ["ten million packets a second", { packetsPerSecond: 1e7 }, 60, 0.05],
  ] as const)("is exact: %s", (_, rate, size, seconds) => {
    const rates = new ActorRates({ clockOffsetMs: 123.456 });
    rates.configureActor(0, { ...rate, burstSeconds: 0.001 }, 0);
    const meter = rates.meter(0);
    const perSecond = "bytesPerSecond" in rate ? rate.bytesPerSecond / size : rate.packetsPerSecond;
    const offered = 2 * perSecond;
    const least = "bytesPerSecond" in rate ? Math.floor(65_507 / size) : 1;
    let through = 0;
    let settledMs = 0;
    for (let i = 0; i < offered * seconds; i++) {
      const nowMs = (i * 1000) / offered;
      for (; nowMs - settledMs > 60_000; settledMs += 60_000) rates.settle(settledMs);
      if (meter.take(TO_PEERS, size, nowMs)) through++;
    }
    // What came at once at the start is beyond the rate.
    const burst = Math.max(least, perSecond * 0.001);
    expect(through).toBeGreaterThan(0.99 * perSecond * seconds);
    expect(through).toBeLessThan(1.01 * perSecond * seconds + burst + 1);
  });

  test.each([36, 71, 100, 1000])("after a pause of the whole machine of %d minutes the bucket is full", (minutes) => {
    const rates = new ActorRates({ clockOffsetMs: 0 });
    rates.configureActor(0, { packetsPerSecond: 10, burstSeconds: 1 }, 0);
    const sources = new SourceRates({ clockOffsetMs: 0 });
    sources.configure({ requestsPerSecond: 10 }, 0);
    const meter = rates.meter(0);
    const client = ip("198.51.100.7");
    const empty = (nowMs: number): readonly number[] => [
      Array.from({ length: 30 }, () => meter.take(TO_PEERS, 1, nowMs)).filter(Boolean).length,
      Array.from({ length: 30 }, () => sources.admitsRequest(client, nowMs)).filter(Boolean).length,
    ];
    for (let nowMs = 0; nowMs <= 600_000; nowMs += 60_000) {
      rates.settle(nowMs);
      sources.settle(nowMs);
    }
    expect(empty(600_000)).toEqual([10, 20]);
    const laterMs = 600_000 + minutes * 60_000;
    rates.settle(laterMs);
    sources.settle(laterMs);
    expect(empty(laterMs)).toEqual([10, 20]);
  });

  test.each([0, -1, Number.NaN, Infinity])("%d is no rate", (bytesPerSecond) => {
    expect(() => new ActorRates({ clockOffsetMs: 0 }).configureActor(0, { bytesPerSecond }, 0)).toThrow(RangeError);
  });
});

describe("the rate of all together", () => {
  /** Offers packets of 1,000 bytes for `seconds`; each actor so many a millisecond. Gives bytes per second of each. */
  function offer(rates: ActorRates, perMs: readonly number[], seconds: number): readonly number[] {
    const meters = perMs.map((_, actor) => rates.meter(actor));
    const bytes = perMs.map(() => 0);
    const due = perMs.map(() => 0);
    for (let nowMs = 0; nowMs < seconds * 1000; nowMs++) {
      for (const [actor, rate] of perMs.entries()) {
        due[actor] = due[actor]! + rate;
        for (; due[actor] >= 1; due[actor]--) {
          if (meters[actor]!.take(TO_PEERS, 1000, nowMs)) bytes[actor] = bytes[actor]! + 1000;
        }
      }
    }
    return bytes.map((count) => count / seconds);
  }

  test("case 19: is shared fairly, nobody starves: who asks little gets all of it, the others like parts of the rest", () => {
    const rates = new ActorRates({ clockOffsetMs: 0 });
    rates.configureTotal({ bytesPerSecond: 4_000_000 }, 0);
    // 0.5 MB/s and 1 MB/s ask less than their share; 5, 20 and 50 MB/s ask more.
    const [tiny, small, ...greedy] = offer(rates, [0.5, 1, 5, 20, 50], 10);
    expect(tiny! / 500_000).toBeGreaterThan(0.99);
    expect(greedy.reduce((sum, rate) => sum + rate, tiny! + small!) / 4_000_000).toBeGreaterThan(0.98);
    expect(greedy.reduce((sum, rate) => sum + rate, tiny! + small!) / 4_000_000).toBeLessThan(1.05);
    // 0.8 MB/s is everybody's part of 4 MB/s.
    for (const rate of [small!, ...greedy]) expect(rate).toBeGreaterThan(0.75 * 800_000);
  });

  test("is nobody's limit while there is enough", () => {
    const rates = new ActorRates({ clockOffsetMs: 0 });
    rates.configureTotal({ bytesPerSecond: 4_000_000 }, 0);
    const [busy, quiet] = offer(rates, [3.5, 0.1], 10);
    expect(busy! / 3_500_000).toBeGreaterThan(0.99);
    expect(quiet! / 100_000).toBeGreaterThan(0.99);
  });
});

test("slots are an actor's from its first allocation to the end of its last", () => {
  const slots = new ActorSlots(new ActorRates({ clockOffsetMs: 0 }));
  const rate = { bytesPerSecond: 100_000 };
  expect([slots.acquire("a", rate, 0), slots.acquire("b", rate, 0), slots.acquire("a", rate, 0)]).toEqual([0, 1, 0]);
  slots.release("a");
  expect(slots.configure("a", rate, 0)).toBe(0);
  slots.release("a");
  slots.release("a");
  expect(slots.configure("a", rate, 0)).toBeUndefined();
  expect(slots.acquire("c", undefined, 0)).toBe(0);
});

describe("rates of sources", () => {
  test("limit each prefix alone, are shared by threads, and can change", () => {
    const rates = new SourceRates({ clockOffsetMs: 0, seed: 7 });
    const elsewhere = new SourceRates({ clockOffsetMs: 500, memory: rates.memory });
    const [here, there] = [ip("198.51.100.7"), ip("203.0.113.1")];
    const count = (rate: SourceRates, client: IpAddress, ms: number): number =>
      Array.from({ length: 100 }, () => rate.admitsRequest(client, ms)).filter(Boolean).length;
    expect(count(rates, here, 1000)).toBe(100);
    rates.configure({ requestsPerSecond: 20 }, 1000);
    expect(count(rates, here, 1000)).toBe(40);
    expect(count(elsewhere, ip("198.51.100.200"), 500)).toBe(0);
    expect(count(elsewhere, here, 1500)).toBe(20);
    expect(count(rates, there, 1000)).toBe(40);
    expect(rates.heldBack).toEqual({ requests: 300, challenges: 0, allocations: 0 });
    expect(rates.admitsChallenge(here, 1000)).toBe(true);
    rates.configure({}, 1000);
    expect(count(rates, here, 1000)).toBe(100);
    rates.settle(1e9);
  });

  test.each([0, 2 ** 31, 3e9, 2 ** 32, 1e13])("begin full, whatever the machine's clock says: %d µs", (us) => {
    const rates = new SourceRates({ clockOffsetMs: us / 1000 });
    rates.configure({ requestsPerSecond: 10 }, 0);
    expect(Array.from({ length: 30 }, () => rates.admitsRequest(ip("198.51.100.7"), 0)).filter(Boolean)).toHaveLength(
      20,
    );
    const actors = new ActorRates({ clockOffsetMs: us / 1000 });
    actors.configureActor(0, { packetsPerSecond: 10, burstSeconds: 2 }, 0);
    const meter = actors.meter(0);
    expect(Array.from({ length: 30 }, () => meter.take(TO_PEERS, 1, 0)).filter(Boolean)).toHaveLength(20);
    actors.configureTotal({ bytesPerSecond: 100_000, burstSeconds: 1 }, 0);
    actors.configureActor(1, undefined, 0);
    expect(actors.meter(1).take(TO_PEERS, 60_000, 0)).toBe(true);
  });

  test.each([0, -1, Number.NaN, 2e6])("%d is no rate", (requestsPerSecond) => {
    expect(() => new SourceRates({ clockOffsetMs: 0 }).configure({ requestsPerSecond }, 0)).toThrow(
      "requestsPerSecond",
    );
  });
});
