const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** RFC 4648 §4. */
export const STANDARD: string = `${DIGITS}+/`;
/** RFC 4648 §5. */
export const URL_SAFE: string = `${DIGITS}-_`;

/** Base64 without padding. */
export function toBase64(bytes: Uint8Array, alphabet: string): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const word = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    text += alphabet[word >> 18]! + alphabet[(word >> 12) & 63]!;
    if (left > 1) text += alphabet[(word >> 6) & 63]!;
    if (left > 2) text += alphabet[word & 63]!;
  }
  return text;
}

/** Reads URL-safe Base64 from `offset` on: `length` bytes, as many as the text has, or undefined. */
export function fromBase64(text: string, offset: number, length: number): Uint8Array<ArrayBuffer> | undefined {
  const bytes = new Uint8Array(length);
  let at = 0;
  let word = 0;
  let bits = 0;
  for (let i = offset; i < text.length; i++) {
    const value = URL_SAFE.indexOf(text[i]!);
    if (value < 0) return undefined;
    word = (word << 6) | value;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      if (at < bytes.length) bytes[at++] = (word >> bits) & 0xff;
      word &= (1 << bits) - 1;
    }
  }
  // The spare bits of the last character must be zero: everything has one spelling.
  return word === 0 && at === length ? bytes : undefined;
}
