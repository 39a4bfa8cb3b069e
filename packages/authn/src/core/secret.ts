const REDACTED = "[redacted]";

/**
 * A password, token or key that never prints: strings, JSON, template literals, `console.log` and error dumps all show
 * `[redacted]`. The value leaves only by {@link reveal} or {@link revealBytes}, so that a search for those two names
 * finds every place that handles it in the clear.
 *
 * @example
 * const password = new Secret("correct horse");
 * `${password}`; // "[redacted]"
 * password.reveal(); // "correct horse"
 */
export class Secret {
  readonly #value: string | Uint8Array;

  /** Bytes are copied, so that the caller may wipe its own. */
  constructor(value: string | Uint8Array) {
    this.#value = typeof value === "string" ? value : Uint8Array.from(value);
  }

  /** The value as text; bytes are read as UTF-8. */
  reveal(): string {
    return typeof this.#value === "string" ? this.#value : new TextDecoder().decode(this.#value);
  }

  /** A fresh copy of the value as bytes; text becomes UTF-8. */
  revealBytes(): Uint8Array {
    return typeof this.#value === "string" ? new TextEncoder().encode(this.#value) : Uint8Array.from(this.#value);
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  static {
    // What node:util's inspect looks for; on the prototype, as a method would be.
    Object.defineProperty(Secret.prototype, Symbol.for("nodejs.util.inspect.custom"), { value: () => REDACTED });
  }
}
