/** Fields of a log line. Values are plain data; a `Secret` among them prints redacted. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where log lines go. A pino logger (so Fastify's `request.log` too) fits as it is. */
export interface Logger {
  trace(fields: LogFields, message: string): void;
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

const ignore = (): void => {};

/** Drops everything. */
export const silentLogger: Logger = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };

const DEFAULT_PRINTABLE_LENGTH = 128;

// C0 and C1 controls, line and paragraph separators, bidirectional and invisible format characters, lone surrogates, and
// the backslash, so that an escape can't be forged.
const UNPRINTABLE = /[\\\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * Text from outside, made safe for one line of a log or terminal: control, bidirectional and invisible characters become
 * `\u{…}`, and more than `maxLength` UTF-16 units (128 by default) are cut with `…`.
 */
export function printable(text: string, { maxLength = DEFAULT_PRINTABLE_LENGTH }: { maxLength?: number } = {}): string {
  const cut = text.length > maxLength ? text.slice(0, maxLength) : text;
  const escaped = cut.replace(UNPRINTABLE, (character) =>
    character === "\\" ? "\\\\" : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
  return cut === text ? escaped : `${escaped}…`;
}
