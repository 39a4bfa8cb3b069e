/** How many packets a nap must be expected to gather: fewer are not worth its latency. */
const WORTHWHILE_PACKETS = 2;
/** A turn with so many packets needs no help to form batches. */
const FULL_PACKETS = 32;
/** Weight of the latest turn in the estimate of the rate. */
const WEIGHT = 1 / 16;

/**
 * Decides when to wait a moment before looking for packets again: at middle loads, where packets come often enough that
 * a short nap gathers several, and seldom enough that they would otherwise be taken one by one.
 */
export class Coalescing {
  readonly #coalesceUs: number;
  #packetsPerUs = 0;
  #lastMs: number;

  /** `coalesceUs`: how long a nap is, 0 for none. */
  constructor(options: { readonly coalesceUs: number; readonly monotonicMs: number }) {
    this.#coalesceUs = options.coalesceUs;
    this.#lastMs = options.monotonicMs;
  }

  /** After a turn that took `packets`, at `monotonicMs`: how long to nap, in microseconds. */
  napUs(packets: number, monotonicMs: number): number {
    if (this.#coalesceUs === 0) return 0;
    const elapsedUs = Math.max(1, (monotonicMs - this.#lastMs) * 1000);
    this.#lastMs = monotonicMs;
    this.#packetsPerUs += (packets / elapsedUs - this.#packetsPerUs) * WEIGHT;
    if (packets === 0 || packets >= FULL_PACKETS) return 0;
    return this.#packetsPerUs * this.#coalesceUs >= WORTHWHILE_PACKETS ? this.#coalesceUs : 0;
  }
}
