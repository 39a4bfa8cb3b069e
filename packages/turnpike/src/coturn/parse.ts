/** One line of a `turnserver.conf` that sets something. */
export interface CoturnEntry {
  readonly key: string;
  /** Empty for a bare key. */
  readonly value: string;
  /** Counts from 1. */
  readonly line: number;
}

/**
 * Reads the lines of a `turnserver.conf`: `key=value`, `key value` or a bare `key`; `#` begins a comment at the start of
 * a line. Whatever the text is, there is an answer: what a key means is decided by who knows the keys.
 */
export function parseCoturn(text: string): readonly CoturnEntry[] {
  const entries: CoturnEntry[] = [];
  for (const [index, raw] of text.split(/\r\n|\r|\n/).entries()) {
    const line = raw.replace(/^\uFEFF/, "").trim();
    if (line === "" || line.startsWith("#")) continue;
    const end = line.search(/[\s=]/);
    const key = end < 0 ? line : line.slice(0, end);
    const rest = end < 0 ? "" : line.slice(end);
    entries.push({ key, value: unquoted(withoutSeparator(rest)), line: index + 1 });
  }
  return entries;
}

/** Without the blanks and equals signs between key and value. A loop: a regular expression may take quadratic time. */
function withoutSeparator(text: string): string {
  let start = 0;
  while (start < text.length && (text[start] === "=" || text[start]?.trim() === "")) start++;
  return text.slice(start);
}

function unquoted(value: string): string {
  if (!value.startsWith('"')) return value;
  return value.endsWith('"') && value.length > 1 ? value.slice(1, -1) : value.slice(1);
}

/** Whether a value turns its key on: a bare key does, and whatever isn't one of the words for no. */
export function isOn(value: string): boolean {
  return !/^(?:0|n|no|f|false|off)$/i.test(value);
}

/** A whole number at the start of a value, as `atoi` reads it; undefined if there is none. */
export function wholeNumber(value: string): number | undefined {
  const digits = /^\d{1,15}/.exec(value)?.[0];
  return digits === undefined ? undefined : Number(digits);
}
