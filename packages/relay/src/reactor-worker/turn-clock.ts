import type { Now } from "@turnpike/turn";
import type { Clock } from "../reactor/clock.ts";

/** A moment that is read again and again into the same object. */
export interface MutableNow {
  monotonicMs: number;
  unixMs: number;
}

/** Reads clocks, as {@link MutableNow}. It writes rather than returns: a returned number would be boxed at each turn. */
export type TimeSource = (into: MutableNow) => void;

/**
 * The clock of a thread that blocks: it stands still within a turn, so that a packet costs no system call, and its
 * timers are fired by whoever takes the turns.
 */
export class TurnClock implements Clock {
  readonly #source: TimeSource;
  // Fractions, so that the fields are made for them.
  readonly #now: MutableNow = { monotonicMs: 0.5, unixMs: 0.5 };
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
    this.#source(this.#now);
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
