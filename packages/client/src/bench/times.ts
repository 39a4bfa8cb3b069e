import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import type { HistogramBucket, Percentiles } from "./report.ts";

/** Bounds of the buckets that people see, in milliseconds: 1, 2, 5 of each decade. */
const BOUNDS = [0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/** Times that were measured, in bounded memory however many they are. */
export class Times {
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 3 });
  readonly #counts = new Float64Array(BOUNDS.length);

  record(milliseconds: number): void {
    this.#histogram.record(Math.max(1, Math.round(milliseconds * 1000)));
    let bucket = BOUNDS.length - 1;
    while (bucket > 0 && milliseconds < BOUNDS[bucket]!) bucket--;
    this.#counts[bucket]!++;
  }

  /** Undefined if nothing was recorded. */
  percentiles(): Percentiles | undefined {
    const histogram = this.#histogram;
    if (histogram.count === 0) return undefined;
    const at = (percentile: number): number => histogram.percentile(percentile) / 1000;
    return {
      min: histogram.min / 1000,
      mean: histogram.mean / 1000,
      p50: at(50),
      p90: at(90),
      p99: at(99),
      p999: at(99.9),
      max: histogram.max / 1000,
    };
  }

  /** From the first bucket that has any to the last. */
  buckets(): HistogramBucket[] {
    const all = BOUNDS.map((fromMs, index) => ({
      fromMs,
      toMs: BOUNDS[index + 1] ?? Number.POSITIVE_INFINITY,
      count: this.#counts[index]!,
    }));
    const first = all.findIndex(({ count }) => count > 0);
    const last = all.findLastIndex(({ count }) => count > 0);
    return first < 0 ? [] : all.slice(first, last + 1);
  }
}
