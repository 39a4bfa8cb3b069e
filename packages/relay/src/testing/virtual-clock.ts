import type { Now } from "@turnpike/turn";
import type { Clock } from "../reactor/clock.ts";

/** A clock that moves when it is told to, and wakes those who asked for it on the way. */
export class VirtualClock implements Clock {
  readonly #now = { monotonicMs: 1000, unixMs: 1_900_000_000_000 };
  readonly #alarms = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  /** How often somebody asked to be woken. */
  scheduled = 0;

  /** Alarms that are set. */
  get pending(): number {
    return this.#alarms.size;
  }

  now(): Now {
    return this.#now;
  }

  schedule(delayMs: number, wake: () => void): () => void {
    this.scheduled++;
    const alarm = { atMs: this.#now.monotonicMs + delayMs, wake };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  }

  advance(ms: number): void {
    const untilMs = this.#now.monotonicMs + ms;
    for (;;) {
      const next = [...this.#alarms].toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > untilMs) {
        break;
      }
      this.#alarms.delete(next);
      this.#moveTo(next.atMs);
      next.wake();
    }
    this.#moveTo(untilMs);
  }

  #moveTo(monotonicMs: number): void {
    this.#now.unixMs += monotonicMs - this.#now.monotonicMs;
    this.#now.monotonicMs = monotonicMs;
  }
}
