import { BoundedPriorityQueue } from "../cache/bounded-priority-queue.ts";
import type { Clock, Scheduler } from "../core/clock.ts";

/** Why a wait ended: its time came, there was no room for it, or nobody waits for it any more. */
export type WaitEnd = "due" | "full" | "aborted";

/** Configuration of a {@link DelayQueue}. */
export interface DelayQueueOptions {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  /** How many may wait in all. */
  readonly capacity: number;
  /** How many of one group may wait. */
  readonly capacityPerGroup: number;
}

/** Any number of waits in one heap, with one timer for the earliest. */
export class DelayQueue {
  readonly #options: DelayQueueOptions;
  readonly #waiting: BoundedPriorityQueue<symbol, (end: WaitEnd) => void>;
  readonly #groups = new Map<string, number>();
  #timer: { readonly dueMs: number; readonly cancel: () => void } | undefined;

  constructor(options: DelayQueueOptions) {
    this.#options = options;
    this.#waiting = new BoundedPriorityQueue({ capacity: options.capacity });
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Waits until a monotonic time: at once `due` if that is past, `full` if there is no room. Never rejects. */
  wait(
    untilMs: number,
    { group, signal }: { readonly group: string; readonly signal: AbortSignal | undefined },
  ): Promise<WaitEnd> {
    if (signal?.aborted === true) return Promise.resolve("aborted");
    if (untilMs <= this.#options.clock.monotonicMs()) return Promise.resolve("due");
    const inGroup = this.#groups.get(group) ?? 0;
    if (this.#waiting.size >= this.#options.capacity || inGroup >= this.#options.capacityPerGroup) {
      return Promise.resolve("full");
    }
    this.#groups.set(group, inGroup + 1);
    return new Promise((resolve) => {
      const key = Symbol("wait");
      const abort = (): void => {
        this.#waiting.delete(key);
        end("aborted");
        this.#arm();
      };
      const end = (why: WaitEnd): void => {
        signal?.removeEventListener("abort", abort);
        this.#leave(group);
        resolve(why);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.set(key, end, untilMs);
      this.#arm();
    });
  }

  /** Ends all waits as `aborted`. */
  close(): void {
    for (const { value: end } of this.#waiting.popUpTo(Infinity)) end("aborted");
    this.#arm();
  }

  #leave(group: string): void {
    const left = (this.#groups.get(group) ?? 1) - 1;
    if (left === 0) this.#groups.delete(group);
    else this.#groups.set(group, left);
  }

  #arm(): void {
    const dueMs = this.#waiting.peek()?.priority;
    if (dueMs === this.#timer?.dueMs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (dueMs === undefined) return;
    const delayMs = Math.ceil(Math.max(0, dueMs - this.#options.clock.monotonicMs()));
    this.#timer = { dueMs, cancel: this.#options.scheduler.schedule(delayMs, () => this.#run()) };
  }

  #run(): void {
    this.#timer = undefined;
    for (const { value: end } of this.#waiting.popUpTo(this.#options.clock.monotonicMs())) end("due");
    this.#arm();
  }
}
