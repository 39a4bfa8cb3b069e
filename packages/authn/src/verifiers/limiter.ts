/** How much runs and waits at once. */
export interface LimiterOptions {
  /** How many run at the same time; at least 1. */
  readonly maxActive: number;
  /** How many may wait for their turn; beyond, {@link Limiter.run} refuses. */
  readonly maxQueued: number;
}

/** Thrown by {@link Limiter.run} when too much waits already. */
export class OverloadedError extends Error {
  override readonly name = "OverloadedError";
  readonly code = "overloaded";
}

interface Waiter {
  readonly start: () => void;
}

/** Lets so many run at once, so many wait, and refuses the rest. First come, first served. */
export class Limiter {
  readonly #maxActive: number;
  readonly #maxQueued: number;
  #active = 0;
  // A Set keeps the order of arrival, and whoever stops waiting leaves it in O(1).
  readonly #waiting = new Set<Waiter>();

  /** @throws RangeError if a bound is not a whole number, or nothing could ever run */
  constructor({ maxActive, maxQueued }: LimiterOptions) {
    if (!Number.isInteger(maxActive) || maxActive < 1) throw new RangeError(`Cannot run ${maxActive} at a time`);
    if (!Number.isInteger(maxQueued) || maxQueued < 0) throw new RangeError(`Cannot queue ${maxQueued}`);
    this.#maxActive = maxActive;
    this.#maxQueued = maxQueued;
  }

  /** How many run. */
  get active(): number {
    return this.#active;
  }

  /** How many wait. */
  get queued(): number {
    return this.#waiting.size;
  }

  /**
   * Runs `work` when its turn comes, and gives what it gives.
   *
   * @throws OverloadedError if too many wait already; the signal's reason if it aborts while waiting
   */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#active < this.#maxActive) this.#active++;
    else await this.#turn(signal);
    try {
      return await work();
    } finally {
      this.#handOn();
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.size >= this.#maxQueued) {
      return Promise.reject(new OverloadedError(`${this.#waiting.size} are waiting already`));
    }
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.delete(waiter);
        reject(signal?.reason instanceof Error ? signal.reason : new Error("Aborted while waiting"));
      };
      const waiter: Waiter = {
        start: () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        },
      };
      this.#waiting.add(waiter);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** The place of whoever is done goes to whoever waited longest. */
  #handOn(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#active--;
      return;
    }
    this.#waiting.delete(next);
    next.start();
  }
}
