/** Time as an input. Durations are measured monotonically; moments that others name (expiry) are wall-clock time. */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC; may jump when the machine's clock is set. */
  unixMs(): number;
}

/** Runs something later. One pending call needs one timer, whatever its owner does with it. */
export interface Scheduler {
  /** Calls `run` once, `delayMs` from now; the returned function cancels it (idempotent). */
  schedule(delayMs: number, run: () => void): () => void;
}

/** The machine's clock. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  unixMs: () => Date.now(),
};

/** The machine's timers; a pending one doesn't keep the process alive. */
export const systemScheduler: Scheduler = {
  schedule(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
