/** What can be wrong with a hint: code to text. The text completes "Cannot use hint "x": …". */
const explanations = {
  empty: "it is empty",
  "too-long": "it is longer than 256 characters",
  "too-many": "the list holds more than 16 hints",
  "bad-character": "only printable ASCII without spaces may stand in a hint",
  "missing-colon": "a colon must follow the type, as in tcp:host:port",
  "malformed-type": "the type must be a lower-case word and the rest is not an old host:port either",
  "unknown-type": "no handler is registered for its type",
  "missing-host": "the host is missing",
  "bad-host": "the host is neither an IPv4 address, an IPv6 address in brackets, nor a DNS name",
  "bad-name": "the host is not a valid DNS name (letters, digits and hyphens; an international name in its xn-- form)",
  "onion-name": "an .onion name is reached with tor:, never through DNS",
  "bad-onion": "the .onion name is not a version 3 onion address (56 characters with a checksum)",
  "missing-port": "the port is missing",
  "bad-port": "the port must be a whole number from 1 to 65535 without leading zeros",
  "trailing-text": "there is text after the port, and a hint takes no options",
  "bad-path": "the path is not allowed here",
  "private-address": "the address is not globally routable, and so must not be asked of this network",
} as const;

/** The code of an {@link InvalidHintError}. */
export type InvalidHintCode = keyof typeof explanations;

/** A hint that cannot be used, with the place where reading it failed. */
export class InvalidHintError extends Error {
  override readonly name = "InvalidHintError";
  readonly code: InvalidHintCode;
  /** The hint, cut to 64 characters, with everything that is not printable ASCII escaped. */
  readonly hint: string;
  /** Where in the hint, in characters from its start. */
  readonly offset: number;

  constructor(options: {
    readonly code: InvalidHintCode;
    readonly hint: string;
    readonly offset: number;
    readonly cause?: unknown;
  }) {
    const hint = printable(options.hint);
    super(
      `Cannot use hint "${hint}": ${explanations[options.code]} (at ${options.offset})`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = options.code;
    this.hint = hint;
    this.offset = options.offset;
  }
}

/** Makes a foreign string safe to print: at most `limit` characters, JSON escapes for what a terminal might obey. */
export function printable(text: string, limit = 64): string {
  const cut = text.length > limit ? text.slice(0, limit) : text;
  let out = "";
  for (let index = 0; index < cut.length; index += 1) {
    const code = cut.charCodeAt(index);
    out += code < 0x20 || code > 0x7e ? `\\u${code.toString(16).padStart(4, "0")}` : cut.charAt(index);
  }
  return text.length > limit ? `${out}…` : out;
}
