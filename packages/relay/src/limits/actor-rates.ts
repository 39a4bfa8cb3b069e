import { type Direction, type Meter, type Rate, TO_PEERS } from "@turnpike/turn";
import { giveBack, MAX_BURST_TICKS, settle, take, taken, ticksOf } from "./gcra.ts";

/** How many actors with limits there may be at once. */
export const ACTOR_SLOTS = 16_384;
/** The first slot is the relay's own: the limit of all together. */
const TOTAL_SLOT = 0;
const SLOTS = ACTOR_SLOTS + 1;
/** Of each slot: bytes up and down, packets up and down, the fair share up and down, the period it was active in. */
const CELLS = 7;
const PACKET_CELL = 2;
const SHARE_CELL = 4;
const ACTIVE_CELL = 6;
/** Of each slot, for bytes and for packets: ticks per millisecond, the cost of one in ticks, the burst in ticks. */
const NUMBERS = 6;
const PACKET_NUMBERS = 3;
/** Counts of active actors: the present period, those in it, those in the one before. */
const ACTIVE_WORDS = 3;
const ACTIVE_PERIOD_MS = 100;

const DEFAULT_BURST_SECONDS = 0.25;
/** The largest payload that a datagram carries: a limit below it would let nothing through. */
const FULL_DATAGRAM = 65_507;
/** A tick is no shorter than 100 ns, so that ticks wrap after seven minutes at the soonest. */
const MAX_TICKS_PER_MS = 10_000;

/** How often {@link ActorRates.settle} must be called at least. */
export const SETTLE_INTERVAL_MS = 60_000;
/** 2^30 of the shortest ticks: later, what is written may be mistaken for the future. */
const LATEST_SETTLE_MS = 2 ** 30 / MAX_TICKS_PER_MS;

/** A meter's carries: of its slot (bytes and packets each way), of the total's, of its share (bytes each way). */
const TOTAL_CARRY = 4;
const SHARE_CARRY = 8;
const CARRIES = 10;

/** One packet, in an object that its meter keeps: nothing is allocated for each. */
interface Packet {
  direction: Direction;
  bytes: number;
  monotonicMs: number;
}

/**
 * Rates of actors, and of the relay as a whole, in memory that all threads share: what an actor relays in several
 * threads counts together, exactly. Settings stand there too, so that a change works at once everywhere.
 *
 * When the relay's own rate is the bottleneck, the actors share it fairly: the lower half of the burst is there for
 * whoever comes, the upper half only for those who take no more than their share.
 */
export class ActorRates {
  /** For another thread's `ActorRates`. */
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;
  readonly #active: Int32Array;
  readonly #numbers: Float64Array;
  readonly #offsetMs: number;
  #totalText = "{}";
  #settledMs: number | undefined;

  constructor(options: {
    /** See `commonClockOffsetMs`. */
    readonly clockOffsetMs: number;
    readonly memory?: SharedArrayBuffer;
  }) {
    const numberBytes = SLOTS * NUMBERS * Float64Array.BYTES_PER_ELEMENT;
    const words = SLOTS * CELLS + ACTIVE_WORDS;
    this.memory = options.memory ?? new SharedArrayBuffer(numberBytes + words * Int32Array.BYTES_PER_ELEMENT);
    this.#numbers = new Float64Array(this.memory, 0, SLOTS * NUMBERS);
    this.#cells = new Int32Array(this.memory, numberBytes, SLOTS * CELLS);
    this.#active = new Int32Array(
      this.memory,
      numberBytes + SLOTS * CELLS * Int32Array.BYTES_PER_ELEMENT,
      ACTIVE_WORDS,
    );
    this.#offsetMs = options.clockOffsetMs;
  }

  /**
   * Sets the rate of all together. Undefined: no limit. The same rate again leaves the buckets as they are.
   *
   * @throws RangeError if a rate isn't a positive number
   */
  configureTotal(rate: Rate | undefined, monotonicMs: number): void {
    const rateText = JSON.stringify(rate ?? {});
    if (rateText === this.#totalText) return;
    this.#totalText = rateText;
    this.#configure(TOTAL_SLOT, rate, monotonicMs);
  }

  /** Sets the rate of a slot (0 – {@link ACTOR_SLOTS} − 1). @throws RangeError if a rate isn't a positive number. */
  configureActor(slot: number, rate: Rate | undefined, monotonicMs: number): void {
    this.#configure(slot + 1, rate, monotonicMs);
  }

  /** What each packet of an actor must pass. */
  meter(slot: number): Meter {
    return new ActorMeter(this, slot + 1);
  }

  /** To be called every {@link SETTLE_INTERVAL_MS} by one thread. */
  settle(monotonicMs: number): void {
    // After a pause of the whole machine, ticks may have wrapped: nothing of what is written is of use.
    const isLate = monotonicMs - (this.#settledMs ?? monotonicMs) > LATEST_SETTLE_MS;
    this.#settledMs = monotonicMs;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (isLate) this.#fill(slot, monotonicMs);
      else this.#settleSlot(slot, monotonicMs);
    }
  }

  /**
   * Whether a packet is within the rate of its slot; takes it if so. Costs are whole ticks, of which a small packet may
   * take less than one where rates are high: `carry` has, from `place` on, what its meter owes yet.
   */
  takeOwn(options: Packet, slot: number, carry: number[], place: number): boolean {
    const { direction, bytes, monotonicMs } = options;
    const numbers = slot * NUMBERS;
    const cells = slot * CELLS + direction;
    const bytesPerMs = this.#numbers[numbers]!;
    const owed = carry[place + direction]!;
    const exact = owed + bytes * this.#numbers[numbers + 1]!;
    const byteCost = Math.floor(exact);
    if (bytesPerMs !== 0) {
      const now = ticksOf(monotonicMs + this.#offsetMs, bytesPerMs);
      if (!take(this.#cells, cells, byteCost, this.#numbers[numbers + 2]!, now)) return false;
      carry[place + direction] = exact - byteCost;
    }
    const packetsPerMs = this.#numbers[numbers + PACKET_NUMBERS]!;
    if (packetsPerMs === 0) return true;
    const now = ticksOf(monotonicMs + this.#offsetMs, packetsPerMs);
    const exactPacket = carry[place + PACKET_CELL + direction]! + this.#numbers[numbers + PACKET_NUMBERS + 1]!;
    const cost = Math.floor(exactPacket);
    if (take(this.#cells, cells + PACKET_CELL, cost, this.#numbers[numbers + PACKET_NUMBERS + 2]!, now)) {
      carry[place + PACKET_CELL + direction] = exactPacket - cost;
      return true;
    }
    if (bytesPerMs !== 0) {
      giveBack(this.#cells, cells, byteCost);
      carry[place + direction] = owed;
    }
    return false;
  }

  /** Whether a packet of a slot is within the rate of all together; takes it if so. */
  takeOfTotal(options: Packet, slot: number, carry: number[]): boolean {
    const { direction, bytes, monotonicMs } = options;
    const ticksPerMs = this.#numbers[0]!;
    if (ticksPerMs !== 0) {
      const active = this.#countActive(slot, monotonicMs);
      const now = ticksOf(monotonicMs + this.#offsetMs, ticksPerMs);
      const cost = bytes * this.#numbers[1]!;
      const half = this.#numbers[2]! / 2;
      if (taken(this.#cells, direction, now) + cost > half) {
        const share = Math.max(half, cost * active);
        const exact = carry[SHARE_CARRY + direction]! + cost * active;
        const whole = Math.floor(exact);
        if (!take(this.#cells, slot * CELLS + SHARE_CELL + direction, whole, share, now)) return false;
        carry[SHARE_CARRY + direction] = exact - whole;
      }
    }
    return this.takeOwn(options, TOTAL_SLOT, carry, TOTAL_CARRY);
  }

  /** How many actors have relayed lately, this one included. */
  #countActive(slot: number, monotonicMs: number): number {
    const period = ticksOf(monotonicMs + this.#offsetMs, 1 / ACTIVE_PERIOD_MS);
    const present = Atomics.load(this.#active, 0);
    if (present !== period && Atomics.compareExchange(this.#active, 0, present, period) === present) {
      Atomics.store(this.#active, 2, present === ((period - 1) | 0) ? Atomics.load(this.#active, 1) : 0);
      Atomics.store(this.#active, 1, 0);
    }
    const cell = slot * CELLS + ACTIVE_CELL;
    if (Atomics.exchange(this.#cells, cell, period) !== period) Atomics.add(this.#active, 1, 1);
    return Math.max(1, Atomics.load(this.#active, 1), Atomics.load(this.#active, 2));
  }

  #configure(slot: number, rate: Rate | undefined, monotonicMs: number): void {
    const burstSeconds = rate?.burstSeconds ?? DEFAULT_BURST_SECONDS;
    const bytes = numbersOf(rate?.bytesPerSecond, burstSeconds, FULL_DATAGRAM);
    const packets = numbersOf(rate?.packetsPerSecond, burstSeconds, 1);
    this.#numbers.set([...bytes, ...packets], slot * NUMBERS);
    this.#cells.fill(0, slot * CELLS, (slot + 1) * CELLS);
    // Ticks of another length mean other times: the buckets begin full.
    this.#fill(slot, monotonicMs);
    // Shares are counted in ticks of the total.
    if (slot === TOTAL_SLOT) {
      for (let other = 1; other < SLOTS; other++) {
        for (const cell of [SHARE_CELL, SHARE_CELL + 1]) {
          Atomics.store(this.#cells, other * CELLS + cell, ticksOf(monotonicMs + this.#offsetMs, this.#numbers[0]!));
        }
      }
    }
  }

  #fill(slot: number, monotonicMs: number): void {
    for (let cell = 0; cell < ACTIVE_CELL; cell++) {
      const ticksPerMs = this.#ticksPerMsOf(slot, cell);
      Atomics.store(this.#cells, slot * CELLS + cell, ticksOf(monotonicMs + this.#offsetMs, ticksPerMs));
    }
  }

  #settleSlot(slot: number, monotonicMs: number): void {
    for (let cell = 0; cell < ACTIVE_CELL; cell++) {
      const ticksPerMs = this.#ticksPerMsOf(slot, cell);
      if (ticksPerMs === 0) continue;
      settle(this.#cells, slot * CELLS + cell, ticksOf(monotonicMs + this.#offsetMs, ticksPerMs));
    }
  }

  #ticksPerMsOf(slot: number, cell: number): number {
    if (cell >= SHARE_CELL) return this.#numbers[0]!;
    return this.#numbers[slot * NUMBERS + (cell >= PACKET_CELL ? PACKET_NUMBERS : 0)]!;
  }
}

/** Ticks per millisecond, cost of one in ticks, burst in ticks; all 0 for no limit. */
function numbersOf(perSecond: number | undefined, burstSeconds: number, least: number): readonly number[] {
  if (perSecond === undefined) return [0, 0, 0];
  if (!(perSecond > 0 && perSecond < Infinity)) throw new RangeError(`A rate must be positive, not ${perSecond}`);
  if (!(burstSeconds > 0)) throw new RangeError(`A burst must be positive, not ${burstSeconds} seconds`);
  const longestMs = Math.max(burstSeconds * 1000, (least / perSecond) * 1000);
  const ticksPerMs = Math.min(MAX_TICKS_PER_MS, MAX_BURST_TICKS / longestMs);
  return [ticksPerMs, (1000 * ticksPerMs) / perSecond, longestMs * ticksPerMs];
}

/** One actor's share of {@link ActorRates}. */
class ActorMeter implements Meter {
  readonly #rates: ActorRates;
  readonly #slot: number;
  readonly #packet: Packet = { direction: TO_PEERS, bytes: 0, monotonicMs: 0 };
  // Halves, so that none is an integer for the runtime.
  readonly #carry: number[] = Array.from({ length: CARRIES }, () => 0.5);

  constructor(rates: ActorRates, slot: number) {
    this.#rates = rates;
    this.#slot = slot;
  }

  take(direction: Direction, bytes: number, monotonicMs: number): boolean {
    const packet = this.#packet;
    packet.direction = direction;
    packet.bytes = bytes;
    packet.monotonicMs = monotonicMs;
    return (
      this.#rates.takeOwn(packet, this.#slot, this.#carry, 0) &&
      this.#rates.takeOfTotal(packet, this.#slot, this.#carry)
    );
  }
}
