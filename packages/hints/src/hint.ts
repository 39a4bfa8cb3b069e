import { InvalidHintError } from "./hint-error.ts";
import { parseHostPort } from "./host-port.ts";

/** Longest hint, in characters. A longer one is refused before anything looks at it. */
export const maximumHintLength = 256;

/** Most hints that one list may hold. */
export const maximumHintCount = 16;

/** Longest hint type, in characters. */
export const maximumTypeLength = 32;

/** One connection hint, split at its first colon. What stands after the type is for the type's handler to judge. */
export interface Hint {
  /** The hint in canonical form, `type:rest`: two hints are the same when their texts are. */
  readonly text: string;
  /** The name that a handler is registered under, such as `tcp`. */
  readonly type: string;
  /** Everything after the type's colon, such as `relay.example.org:443`. */
  readonly rest: string;
  /** True if the hint was written in the old form `host:port`. */
  readonly legacy: boolean;
}

/**
 * Splits a hint into type and rest, in time linear in its length (and constant above {@link maximumHintLength}).
 *
 * The type is looked up first. Only if no handler has it is the hint read as the old form `host:port`, which means
 * `tcp:host:port`, and looked up again. So a handler named `localhost` gets `localhost:12345`; without one it is TCP.
 *
 * @param text the hint as received; any string is safe input.
 * @param options.hasHandler tells whether a type is known.
 * @throws InvalidHintError with code `unknown-type` if both look-ups fail, or the code of what is malformed.
 */
export function parseHint(text: string, options: { readonly hasHandler: (type: string) => boolean }): Hint {
  checkCharacters(text);
  const colon = text.indexOf(":");
  if (colon < 0) throw new InvalidHintError({ code: "missing-colon", hint: text, offset: text.length });
  const type = text.slice(0, colon);
  const rest = text.slice(colon + 1);
  if (isHintType(type) && options.hasHandler(type)) return { text, type, rest, legacy: false };
  const converted = convertLegacyHint(text);
  if (converted === undefined) {
    if (!isHintType(type)) throw new InvalidHintError({ code: "malformed-type", hint: text, offset: 0 });
    throw new InvalidHintError({ code: "unknown-type", hint: text, offset: 0 });
  }
  if (!options.hasHandler("tcp")) throw new InvalidHintError({ code: "unknown-type", hint: text, offset: 0 });
  return { text: `tcp:${converted}`, type: "tcp", rest: converted, legacy: true };
}

/**
 * Reads `host:port` as it was written before hints had types: one colon, a dotted quad or a DNS name before it and a
 * port after it. Returns its canonical spelling, or nothing if the text is not of that form.
 */
export function convertLegacyHint(text: string): string | undefined {
  if (text.length > maximumHintLength || text.indexOf(":") !== text.lastIndexOf(":")) return undefined;
  try {
    const { host, port } = parseHostPort(text, { hint: text, start: 0 });
    return `${host}:${port}`;
  } catch (error) {
    if (error instanceof InvalidHintError) return undefined;
    throw error;
  }
}

/** True for what a handler may be registered under: `[a-z][a-z0-9+._-]*`, at most {@link maximumTypeLength} long. */
export function isHintType(type: string): boolean {
  if (type.length === 0 || type.length > maximumTypeLength) return false;
  for (let index = 0; index < type.length; index += 1) {
    const code = type.charCodeAt(index);
    const letter = code >= 0x61 && code <= 0x7a;
    const digit = code >= 0x30 && code <= 0x39;
    const mark = code === 0x2b || code === 0x2d || code === 0x2e || code === 0x5f;
    if (!letter && (index === 0 || (!digit && !mark))) return false;
  }
  return true;
}

function checkCharacters(text: string): void {
  if (text.length === 0) throw new InvalidHintError({ code: "empty", hint: text, offset: 0 });
  if (text.length > maximumHintLength) {
    throw new InvalidHintError({ code: "too-long", hint: text, offset: maximumHintLength });
  }
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code <= 0x20 || code >= 0x7f) throw new InvalidHintError({ code: "bad-character", hint: text, offset: index });
  }
}
