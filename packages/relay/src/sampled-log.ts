import type { Logger } from "./logger.ts";

/** What {@link SampledLog} is made with. */
export interface SampledLogOptions {
  readonly logger: Logger;
  readonly monotonicMs: () => number;
  /** How long a message is not repeated, in milliseconds. Default 60,000. */
  readonly quietMs?: number;
}

/**
 * Logs what clients can cause again and again: each message at once, then not again for a minute, and then with the
 * number of those that were left out. Messages are constants of the program, so that there are few.
 */
export class SampledLog {
  readonly #logger: Logger;
  readonly #monotonicMs: () => number;
  readonly #quietMs: number;
  readonly #messages = new Map<string, { quietUntilMs: number; leftOut: number }>();

  constructor(options: SampledLogOptions) {
    this.#logger = options.logger;
    this.#monotonicMs = options.monotonicMs;
    this.#quietMs = options.quietMs ?? 60_000;
  }

  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#log("warn", fields, message);
  }

  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#log("error", fields, message);
  }

  #log(level: "warn" | "error", fields: Readonly<Record<string, unknown>>, message: string): void {
    const nowMs = this.#monotonicMs();
    const known = this.#messages.get(message);
    if (known !== undefined && nowMs < known.quietUntilMs) {
      known.leftOut++;
      return;
    }
    const leftOut = known?.leftOut ?? 0;
    this.#messages.set(message, { quietUntilMs: nowMs + this.#quietMs, leftOut: 0 });
    this.#logger[level](leftOut === 0 ? fields : { ...fields, leftOut }, message);
  }
}
