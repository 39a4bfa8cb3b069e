import { utf8 } from "./bytes.ts";

/** Where a time-limited user name has its timestamp: before the user, after the user, or alone. */
export type TimeLimitedForm = "timestamp:user" | "user:timestamp" | "timestamp";

/** A user name that says when it ends, parsed. */
export type TimeLimitedName =
  | {
      readonly form: "timestamp:user" | "user:timestamp";
      /** When the credential ends: seconds since 1970. */
      readonly expiresAtUnixSeconds: number;
      /** May contain colons; may be empty. */
      readonly user: string;
    }
  | { readonly form: "timestamp"; readonly expiresAtUnixSeconds: number };

/** USERNAME is shorter than 509 bytes (RFC 8489 §14.3). */
export const MAX_USERNAME_BYTES = 508;

/** The last second that ten digits can name, in the year 2286. */
const MAX_TIMESTAMP = 9_999_999_999;

/**
 * Reads a time-limited user name; `undefined` for any other name (most static users' names, or no valid name at all).
 *
 * A timestamp is one to ten ASCII digits without a leading zero, in seconds. Then, in this order:
 * 1. a timestamp before the first colon: `timestamp:user`, the user being all that follows;
 * 2. a timestamp after the last colon: `user:timestamp`, the user being all that precedes;
 * 3. a timestamp and no colon: the bare form.
 *
 * The rules are total and exclusive, so that no name has two readings, of which one would end later. More than ten
 * digits (milliseconds, telephone numbers) are no timestamp, since such a credential would never end.
 * A name with control characters or lone surrogates, or of more than 508 bytes, is no name.
 */
export function parseTimeLimitedName(username: string): TimeLimitedName | undefined {
  if (!isUsername(username)) return undefined;
  const first = username.indexOf(":");
  if (first === -1) {
    const alone = parseTimestamp(username);
    return alone === undefined ? undefined : { form: "timestamp", expiresAtUnixSeconds: alone };
  }
  const before = parseTimestamp(username.slice(0, first));
  if (before !== undefined) {
    return { form: "timestamp:user", expiresAtUnixSeconds: before, user: username.slice(first + 1) };
  }
  const last = username.lastIndexOf(":");
  const after = parseTimestamp(username.slice(last + 1));
  if (after === undefined) return undefined;
  return { form: "user:timestamp", expiresAtUnixSeconds: after, user: username.slice(0, last) };
}

/**
 * Writes a time-limited user name.
 *
 * @throws RangeError if the timestamp is not a whole number of 1…9,999,999,999, or if the name would be longer than
 *   508 bytes.
 * @throws TypeError if the user has control characters or lone surrogates, or if the name would be read in another
 *   way than it is written (user `1900000000` in the form `user:timestamp`).
 */
export function formatTimeLimitedName(name: TimeLimitedName): string {
  const { expiresAtUnixSeconds } = name;
  if (!Number.isInteger(expiresAtUnixSeconds) || expiresAtUnixSeconds < 1 || expiresAtUnixSeconds > MAX_TIMESTAMP) {
    throw new RangeError("Cannot format a time-limited name: the timestamp must be whole seconds since 1970");
  }
  const timestamp = String(expiresAtUnixSeconds);
  if (name.form === "timestamp") return timestamp;
  const username = name.form === "timestamp:user" ? `${timestamp}:${name.user}` : `${name.user}:${timestamp}`;
  if (username.length > MAX_USERNAME_BYTES || utf8(username).length > MAX_USERNAME_BYTES) {
    throw new RangeError(
      `Cannot format a time-limited name: it would be longer than ${String(MAX_USERNAME_BYTES)} bytes (RFC 8489 §14.3)`,
    );
  }
  if (!isPrintable(username)) {
    throw new TypeError("Cannot format a time-limited name: the user has control characters or lone surrogates");
  }
  if (parseTimeLimitedName(username)?.form !== name.form) {
    throw new TypeError(
      'Cannot format a time-limited name: a user that begins with a timestamp can only be written as "timestamp:user"',
    );
  }
  return username;
}

/** Whether the name fits into USERNAME and has no control characters. */
function isUsername(username: string): boolean {
  if (username.length > MAX_USERNAME_BYTES || !isPrintable(username)) return false;
  return username.length * 3 <= MAX_USERNAME_BYTES || utf8(username).length <= MAX_USERNAME_BYTES;
}

/** No control characters and no lone surrogates: an OpaqueString has neither (RFC 8265 §4.2). */
export function isPrintable(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  }
  return text.isWellFormed();
}

function parseTimestamp(text: string): number | undefined {
  if (text.length < 1 || text.length > 10 || text.charCodeAt(0) === ZERO) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

const ZERO = 0x30;
