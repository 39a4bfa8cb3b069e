import type { OperationContext } from "@turnpike/authn";
import { lastMessage, messagesAfter, type OutboxEntry } from "../store/outbox.ts";
import type { Store } from "../store/store.ts";

/** What {@link OutboxTail} needs. */
export interface OutboxTailOptions {
  readonly store: Store;
  readonly deliver: (entry: OutboxEntry) => void;
  /** How often the database is asked even if nobody pokes. Default 400: a revocation reaches every relay within a second. */
  readonly intervalMs?: number;
}

/**
 * Reads the messages for relays as they come, in their order, each once. The database is the truth; pokes only make it
 * quicker.
 */
export class OutboxTail {
  readonly #options: OutboxTailOptions;
  readonly #ctx: OperationContext;
  #last = 0;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #isStopped = false;

  constructor(ctx: OperationContext, options: OutboxTailOptions) {
    this.#ctx = ctx;
    this.#options = options;
  }

  /** Starts behind the last message: what was before comes to a relay when it joins. */
  async start(): Promise<void> {
    this.#last = await lastMessage(this.#ctx, this.#options.store);
    this.#schedule();
  }

  /** Reads at once; again, if it is reading. Resolves when that is done. */
  poke(): Promise<void> {
    this.#again = true;
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#reading;
  }

  async #readAll(): Promise<void> {
    while (this.#again && !this.#isStopped) {
      this.#again = false;
      try {
        for (const entry of await messagesAfter(this.#ctx, this.#options.store, this.#last)) {
          this.#options.deliver(entry);
          this.#last = entry.seq;
          this.#again = true;
        }
      } catch (error) {
        // The next attempt comes with the timer.
        const text = error instanceof Error ? error.message : "unknown error";
        this.#ctx.logger.warn({ error: text }, "The messages for relays can't be read");
      }
    }
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      void this.poke().finally(() => {
        if (!this.#isStopped) this.#schedule();
      });
    }, this.#options.intervalMs ?? 400);
    this.#timer.unref();
  }
}
