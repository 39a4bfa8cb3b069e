/**
 * Token buckets as one integer each, in memory that threads share: the generic cell rate algorithm (ITU-T I.371). The
 * integer is the theoretical arrival time: when the bucket would be full again, in ticks of a clock that all threads
 * have in common. Taking is one compare-and-exchange, so that several threads together get what one would.
 *
 * Ticks wrap around. Times are compared by their signed difference, which is right as long as no time is more than 2^31
 * ticks away: {@link settle} has to pass every cell in each 2^30 ticks.
 */

/** The longest that a burst may be, in ticks. */
export const MAX_BURST_TICKS: number = 2 ** 28;

/** Takes `cost` ticks from a cell if that keeps it within `burst` ticks of the present. Allocates nothing. */
export function take(cells: Int32Array, cell: number, cost: number, burst: number, nowTicks: number): boolean {
  for (;;) {
    const arrival = Atomics.load(cells, cell);
    const base = ((arrival - nowTicks) | 0) > 0 ? arrival : nowTicks;
    const next = (base + cost) | 0;
    if (((next - nowTicks) | 0) > burst) return false;
    if (Atomics.compareExchange(cells, cell, arrival, next) === arrival) return true;
  }
}

/** Gives back what {@link take} took. */
export function giveBack(cells: Int32Array, cell: number, cost: number): void {
  Atomics.sub(cells, cell, cost);
}

/** How many ticks of a cell are taken. */
export function taken(cells: Int32Array, cell: number, nowTicks: number): number {
  return Math.max(0, (Atomics.load(cells, cell) - nowTicks) | 0);
}

/** Keeps a cell that nobody used from being mistaken for one of the future. */
export function settle(cells: Int32Array, cell: number, nowTicks: number): void {
  const arrival = Atomics.load(cells, cell);
  if (((arrival - nowTicks) | 0) < 0) Atomics.compareExchange(cells, cell, arrival, nowTicks | 0);
}

/** Milliseconds of the common clock in ticks, wrapped to 32 bits. */
export function ticksOf(ms: number, ticksPerMs: number): number {
  return Math.floor(ms * ticksPerMs) | 0;
}
