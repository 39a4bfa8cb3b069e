import type { Clock, Scheduler } from "../core/clock.ts";

interface Pending {
  readonly dueMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock and scheduler that stand still until they are told to go on: tests jump, they never sleep. */
export class ManualClock implements Clock, Scheduler {
  #nowMs = 0;
  #order = 0;
  readonly #unixStartMs: number;
  readonly #pending = new Set<Pending>();

  constructor({ unixMs = 1_700_000_000_000 }: { unixMs?: number } = {}) {
    this.#unixStartMs = unixMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  unixMs(): number {
    return this.#unixStartMs + this.#nowMs;
  }

  /** How many calls are scheduled. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  schedule(delayMs: number, run: () => void): () => void {
    const pending: Pending = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run };
    this.#pending.add(pending);
    return () => void this.#pending.delete(pending);
  }

  /** Goes on by `ms`; what falls due runs in order, each at its own time. */
  advance(ms: number): void {
    const targetMs = this.#nowMs + ms;
    for (let next = this.#next(targetMs); next !== undefined; next = this.#next(targetMs)) {
      this.#pending.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.run();
    }
    this.#nowMs = targetMs;
  }

  #next(targetMs: number): Pending | undefined {
    let first: Pending | undefined;
    for (const pending of this.#pending) {
      if (pending.dueMs > targetMs) continue;
      if (
        first === undefined ||
        pending.dueMs < first.dueMs ||
        (pending.dueMs === first.dueMs && pending.order < first.order)
      ) {
        first = pending;
      }
    }
    return first;
  }
}
