const SUB_BUCKETS = 32;
const SMALLEST_MS = 1e-4;

/** Durations in milliseconds, in buckets that are 1/32 of an octave wide: quantiles within 3 %. */
export class Histogram {
  readonly #buckets = new Float64Array(40 * SUB_BUCKETS);
  #count = 0;

  clear(): void {
    this.#buckets.fill(0);
    this.#count = 0;
  }

  add(ms: number): void {
    const bucket = Math.floor(Math.log2(Math.max(1, ms / SMALLEST_MS)) * SUB_BUCKETS);
    const index = Math.min(bucket, this.#buckets.length - 1);
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
    this.#count++;
  }

  /** The duration that `part` of all stayed below; 0 if there is none. */
  quantile(part: number): number {
    let seen = 0;
    for (const [index, count] of this.#buckets.entries()) {
      seen += count;
      if (count > 0 && seen >= part * this.#count) return SMALLEST_MS * 2 ** ((index + 1) / SUB_BUCKETS);
    }
    return 0;
  }
}
