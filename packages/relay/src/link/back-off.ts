/** How long to wait between attempts. */
export interface BackOffSettings {
  /** Default 1,000. */
  readonly initialMs?: number;
  /** Default 60,000. */
  readonly maxMs?: number;
  /** Attempts are given up when none succeeded for this long. Default 24 hours. */
  readonly giveUpAfterMs?: number;
}

const DAY_MS = 86_400_000;

/** Exponential back-off. Each pause is somewhere between half of its step and all of it, so that a fleet spreads out. */
export class BackOff {
  readonly #initialMs: number;
  readonly #maxMs: number;
  readonly #giveUpAfterMs: number;
  readonly #random: () => number;
  #attempts = 0;
  #failingSinceMs: number | undefined;

  /** @param random at least 0, less than 1 */
  constructor({ initialMs = 1_000, maxMs = 60_000, giveUpAfterMs = DAY_MS }: BackOffSettings, random: () => number) {
    if (!(initialMs > 0 && maxMs >= initialMs && giveUpAfterMs > 0)) {
      throw new RangeError("Cannot back off: pauses must be more than 0, and the longest at least the first");
    }
    this.#initialMs = initialMs;
    this.#maxMs = maxMs;
    this.#giveUpAfterMs = giveUpAfterMs;
    this.#random = random;
  }

  /** Milliseconds until the next attempt; `undefined`: give up. `atLeastMs`: the other end asked for it. */
  next({ nowMs, atLeastMs = 0 }: { readonly nowMs: number; readonly atLeastMs?: number }): number | undefined {
    this.#failingSinceMs ??= nowMs;
    if (nowMs - this.#failingSinceMs >= this.#giveUpAfterMs) return undefined;
    const stepMs = Math.min(this.#maxMs, this.#initialMs * 2 ** Math.min(this.#attempts, 30));
    this.#attempts++;
    const pauseMs = stepMs * (0.5 + this.#random() / 2);
    // What was asked for is kept, and spread as well.
    return atLeastMs > 0 ? Math.max(pauseMs, atLeastMs + this.#random() * this.#initialMs) : pauseMs;
  }

  /** An attempt succeeded. */
  reset(): void {
    this.#attempts = 0;
    this.#failingSinceMs = undefined;
  }
}

const MAX_RETRY_AFTER_MS = 3_600_000;

/** Reads `Retry-After` (RFC 9110 §10.2.3): seconds or a date. At most an hour counts; `undefined`: can't be read. */
export function retryAfterMs(value: string | undefined, nowUnixMs: number): number | undefined {
  const text = value?.trim();
  if (text === undefined || text === "") return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowUnixMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS);
}
