import { inspect } from "node:util";

const MASK = "********";

/** A value that must never be printed: string conversion, JSON, inspection and logs show a mask. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself, for the one place that uses it. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}

/** What is shown where a secret stands. */
export const SECRET_MASK: string = MASK;
