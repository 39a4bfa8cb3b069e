import type { Now } from "@turnpike/turn";
import type { Clock } from "../reactor/clock.ts";

/** Reads the machine's clocks. */
export interface TimeSource {
  readonly monotonicMs: () => number;
  readonly unixMs: () => number;
}

/**
 * The clock of a thread that blocks: it stands still within a turn, so that a packet costs no system call, and its
 * timers are fired by whoever takes the turns.
 */
export class TurnClock implements Clock {
  readonly #source: TimeSource;
  readonly #now = { monotonicMs: 0, unixMs: 0 };
  readonly #timers = new Set<{ readonly dueMs: number; readonly wake: () => void }>();

  constructor(source: TimeSource) {
    this.#source = source;
    this.tick();
  }

  now(): Now {
    return this.#now;
  }

  /** Reads the time. */
  tick(): void {
    this.#now.monotonicMs = this.#source.monotonicMs();
    this.#now.unixMs = this.#source.unixMs();
  }

  schedule(delayMs: number, wake: () => void): () => void {
    const timer = { dueMs: this.#now.monotonicMs + Math.max(0, delayMs), wake };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Whole milliseconds until the next timer, at most `longestMs`. */
  waitMs(longestMs: number): number {
    let wait = longestMs;
    for (const { dueMs } of this.#timers) wait = Math.min(wait, dueMs - this.#now.monotonicMs);
    return Math.max(0, Math.ceil(wait));
  }

  /** Calls what is due. */
  fire(): void {
    if (this.#timers.size === 0) return;
    for (const timer of this.#timers) {
      if (timer.dueMs > this.#now.monotonicMs) continue;
      this.#timers.delete(timer);
      timer.wake();
    }
  }
}
