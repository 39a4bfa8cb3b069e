import type { IpAddress } from "@turnpike/stun";

/** How many requests may wait for slow answers. */
export interface QuestionLimits {
  /** In all. Default 256. */
  readonly maxConcurrent?: number;
  /** For clients of one address prefix (/24 of IPv4, /56 of IPv6). Default 32. */
  readonly maxConcurrentPerPrefix?: number;
}

/** Slow questions cost memory and somebody else's time, so their number is bounded, in all and per address prefix. */
export class QuestionLimiter {
  readonly #maxConcurrent: number;
  readonly #maxConcurrentPerPrefix: number;
  readonly #perPrefix = new Map<string, number>();
  #open = 0;

  /** @throws RangeError if a limit is not a whole number, at least 1. */
  constructor({ maxConcurrent = 256, maxConcurrentPerPrefix = 32 }: QuestionLimits = {}) {
    for (const [name, value] of Object.entries({ maxConcurrent, maxConcurrentPerPrefix })) {
      if (!Number.isInteger(value) || value < 1) {
        throw new RangeError(`Cannot limit questions: ${name} must be a whole number, at least 1`);
      }
    }
    this.#maxConcurrent = maxConcurrent;
    this.#maxConcurrentPerPrefix = maxConcurrentPerPrefix;
  }

  /** How many are open. */
  get open(): number {
    return this.#open;
  }

  /** Asks, unless too many are asking. */
  async run<Answer>(client: IpAddress, ask: () => Promise<Answer>): Promise<Answer> {
    const prefix = prefixOf(client);
    const ofPrefix = this.#perPrefix.get(prefix) ?? 0;
    if (this.#open >= this.#maxConcurrent || ofPrefix >= this.#maxConcurrentPerPrefix) {
      throw new TooManyQuestionsError();
    }
    this.#open += 1;
    this.#perPrefix.set(prefix, ofPrefix + 1);
    try {
      return await ask();
    } finally {
      this.#open -= 1;
      const left = (this.#perPrefix.get(prefix) ?? 1) - 1;
      if (left === 0) this.#perPrefix.delete(prefix);
      else this.#perPrefix.set(prefix, left);
    }
  }
}

/** More questions are open than {@link QuestionLimits} allow. */
export class TooManyQuestionsError extends Error {
  override readonly name = "TooManyQuestionsError";
  readonly code = "ERR_TOO_MANY_QUESTIONS";

  constructor() {
    super("Cannot ask: too many questions are open, in all or for this address prefix");
  }
}

/** An IPv4-mapped IPv6 address is its IPv4 address: both have it in the last word. */
function prefixOf({ w0, w1, w2, w3 }: IpAddress): string {
  const isIpv4 = w0 === 0 && w1 === 0 && w2 === 0xffff;
  return isIpv4 ? `4/${String(w3 & 0xffffff00)}` : `6/${String(w0)}/${String(w1 & 0xffffff00)}`;
}
