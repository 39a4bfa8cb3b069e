/** Two samples beside each other. */
export interface Comparison {
  readonly medianA: number;
  readonly medianB: number;
  /** Two-sided p of the Mann–Whitney U test (normal approximation, ties corrected). */
  readonly mannWhitneyP: number;
  /** Two-sided p of Welch's t test on the samples without their slowest 5 %, which are the machine's. */
  readonly welchP: number;
  /** How likely a measurement of A is above one of B: 0.5 says nothing. */
  readonly superiority: number;
}

const TRIMMED_SHARE = 0.05;

/** Compares two samples of equal size. */
export function compare(a: readonly number[], b: readonly number[]): Comparison {
  const { u, p } = mannWhitney(a, b);
  return {
    medianA: median(a),
    medianB: median(b),
    mannWhitneyP: p,
    welchP: welch(trimmed(a), trimmed(b)),
    superiority: u / (a.length * b.length),
  };
}

/**
 * How many measurements of each kind tell A from B, with 5 % of false alarms and 80 % of hits, if the difference is as
 * measured (Noether 1987).
 */
export function measurementsNeeded({ superiority }: Comparison): number {
  return (1.96 + 0.84) ** 2 / (6 * (superiority - 0.5) ** 2);
}

function mannWhitney(a: readonly number[], b: readonly number[]): { readonly u: number; readonly p: number } {
  const all = [...a.map((value) => ({ value, isA: true })), ...b.map((value) => ({ value, isA: false }))].toSorted(
    (left, right) => left.value - right.value,
  );
  const total = all.length;
  let rankSumA = 0;
  let ties = 0;
  for (let from = 0; from < total;) {
    let to = from;
    while (to < total && all[to]?.value === all[from]?.value) to++;
    // Ranks count from 1; what is equal shares the mean of its ranks.
    const rank = (from + 1 + to) / 2;
    rankSumA += rank * all.slice(from, to).filter(({ isA }) => isA).length;
    ties += (to - from) ** 3 - (to - from);
    from = to;
  }
  const u = rankSumA - (a.length * (a.length + 1)) / 2;
  const mean = (a.length * b.length) / 2;
  const variance = ((a.length * b.length) / 12) * (total + 1 - ties / (total * (total - 1)));
  return { u, p: twoSided((u - mean) / Math.sqrt(variance)) };
}

/** With thousands of measurements Student's distribution is the normal one. */
function welch(a: readonly number[], b: readonly number[]): number {
  return twoSided((mean(a) - mean(b)) / Math.sqrt(variance(a) / a.length + variance(b) / b.length));
}

function twoSided(z: number): number {
  return 2 * upperTail(Math.abs(z));
}

/** Upper tail of the normal distribution (Abramowitz and Stegun 26.2.17, good to 7.5e-8). */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const series = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
  const polynomial = series.reduceRight((sum, coefficient) => (sum + coefficient) * t, 0);
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * polynomial;
}

function trimmed(values: readonly number[]): readonly number[] {
  return sorted(values).slice(0, Math.ceil(values.length * (1 - TRIMMED_SHARE)));
}

function median(values: readonly number[]): number {
  const inOrder = sorted(values);
  return inOrder[Math.floor(inOrder.length / 2)] ?? Number.NaN;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function variance(values: readonly number[]): number {
  const middle = mean(values);
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1);
}

function sorted(values: readonly number[]): readonly number[] {
  return Array.from(Float64Array.from(values).toSorted());
}
