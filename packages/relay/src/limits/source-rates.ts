import type { IpAddress } from "@turnpike/stun";
import { prefixHash, type SourceGate } from "@turnpike/turn";
import { settle, take, ticksOf } from "./gcra.ts";

/** What one client address prefix (/24, /56) may do in a second. Each absent: as much as it wants. */
export interface SourceRateSettings {
  /** Requests of any kind. Those beyond get silence. */
  readonly requestsPerSecond?: number;
  /** Challenges (401, 438). Those beyond get silence. */
  readonly challengesPerSecond?: number;
  /** Allocations. Those beyond are refused with 486. */
  readonly allocationsPerSecond?: number;
}

const KINDS = ["requestsPerSecond", "challengesPerSecond", "allocationsPerSecond"] as const;
const REQUESTS = 0;
const CHALLENGES = 1;
const ALLOCATIONS = 2;
/** Prefixes that fall together share a bucket: any number of sources takes the same memory. */
const BUCKETS = 8192;
/** So many seconds' worth may come at once. */
const BURST_SECONDS = 2;
/** A tick is a microsecond: ticks wrap after 71 minutes. */
const TICKS_PER_MS = 1000;
const SEED_PLACE = 2 * KINDS.length;
/** 2^30 ticks: later, what is written may be mistaken for the future. */
const LATEST_SETTLE_MS = 2 ** 30 / TICKS_PER_MS;

/** Rates by source, in memory that all threads of a relay share, settings included. */
export class SourceRates implements SourceGate {
  /** For another thread's `SourceRates`. */
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;
  /** Of each kind its cost in ticks, 0 for no limit; the number of those that were held back; the seed of the hash. */
  readonly #numbers: Float64Array;
  readonly #offsetMs: number;
  #settledMs: number | undefined;

  constructor(options: {
    /** See `commonClockOffsetMs`. */
    readonly clockOffsetMs: number;
    /** So that outsiders can't choose with whom they share. Only without `memory`. */
    readonly seed?: number;
    readonly memory?: SharedArrayBuffer;
  }) {
    const numbers = SEED_PLACE + 1;
    const cellBytes = KINDS.length * BUCKETS * Int32Array.BYTES_PER_ELEMENT;
    this.memory = options.memory ?? new SharedArrayBuffer(cellBytes + numbers * Float64Array.BYTES_PER_ELEMENT);
    this.#cells = new Int32Array(this.memory, 0, KINDS.length * BUCKETS);
    this.#numbers = new Float64Array(this.memory, cellBytes, numbers);
    this.#offsetMs = options.clockOffsetMs;
    if (options.memory === undefined) this.#numbers[SEED_PLACE] = options.seed ?? 0;
  }

  /** Takes settings over, at once and for all threads. @throws RangeError that names the setting. */
  configure(settings: SourceRateSettings, monotonicMs: number): void {
    for (const name of KINDS) {
      const rate = settings[name];
      if (rate !== undefined && !(rate >= 0.01 && rate <= 1e6)) {
        throw new RangeError(`Cannot use ${rate} for ${name}: it must be from 0.01 to 1,000,000`);
      }
    }
    for (const [kind, name] of KINDS.entries()) {
      const rate = settings[name];
      // Ticks wrap: a cell that was never used could be one of the future.
      if (this.#numbers[kind] === 0) {
        this.#cells.fill(ticksOf(monotonicMs + this.#offsetMs, TICKS_PER_MS), kind * BUCKETS, (kind + 1) * BUCKETS);
      }
      this.#numbers[kind] = rate === undefined ? 0 : (1000 * TICKS_PER_MS) / rate;
    }
  }

  /** Requests, challenges and allocations that were held back since the start. */
  get heldBack(): { readonly requests: number; readonly challenges: number; readonly allocations: number } {
    const of = (kind: number): number => this.#numbers[KINDS.length + kind] ?? 0;
    return { requests: of(REQUESTS), challenges: of(CHALLENGES), allocations: of(ALLOCATIONS) };
  }

  admitsRequest(client: IpAddress, monotonicMs: number): boolean {
    return this.#take(REQUESTS, client, monotonicMs);
  }

  admitsChallenge(client: IpAddress, monotonicMs: number): boolean {
    return this.#take(CHALLENGES, client, monotonicMs);
  }

  admitsAllocation(client: IpAddress, monotonicMs: number): boolean {
    return this.#take(ALLOCATIONS, client, monotonicMs);
  }

  /** To be called every few minutes by one thread. */
  settle(monotonicMs: number): void {
    const now = ticksOf(monotonicMs + this.#offsetMs, TICKS_PER_MS);
    // After a pause of the whole machine, ticks may have wrapped: nothing of what is written is of use.
    if (monotonicMs - (this.#settledMs ?? monotonicMs) > LATEST_SETTLE_MS) this.#cells.fill(now);
    else for (let cell = 0; cell < this.#cells.length; cell++) settle(this.#cells, cell, now);
    this.#settledMs = monotonicMs;
  }

  #take(kind: number, client: IpAddress, monotonicMs: number): boolean {
    const cost = this.#numbers[kind]!;
    if (cost === 0) return true;
    const bucket = prefixHash(client, this.#numbers[SEED_PLACE]!) & (BUCKETS - 1);
    const now = ticksOf(monotonicMs + this.#offsetMs, TICKS_PER_MS);
    // One must fit, however low the rate.
    const burst = Math.max(cost, BURST_SECONDS * 1000 * TICKS_PER_MS);
    if (take(this.#cells, kind * BUCKETS + bucket, cost, burst, now)) return true;
    // Threads may miss each other's count here: it is for people to look at.
    this.#numbers[KINDS.length + kind]!++;
    return false;
  }
}
