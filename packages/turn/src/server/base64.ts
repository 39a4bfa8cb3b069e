/** RFC 4648 §5, URL-safe and without padding. In ASCII. */
const DIGITS: Uint8Array = Uint8Array.from(
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
  (digit) => digit.charCodeAt(0),
);
/** The value of each digit, −1 for what is none. */
const VALUES: Int8Array = new Int8Array(256).fill(-1);
for (const [value, digit] of DIGITS.entries()) VALUES[digit] = value;

/** How many digits so many bytes have. */
export function base64Length(bytes: number): number {
  return Math.ceil((bytes * 4) / 3);
}

/** Writes `bytes` as digits into `into`, from `at` on. */
export function writeBase64(bytes: Uint8Array, into: Uint8Array, at: number): void {
  let end = at;
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const word = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    into[end++] = DIGITS[word >> 18]!;
    into[end++] = DIGITS[(word >> 12) & 63]!;
    if (left > 1) into[end++] = DIGITS[(word >> 6) & 63]!;
    if (left > 2) into[end++] = DIGITS[word & 63]!;
  }
}

/** Fills `into` with what the digits of `text` from `offset` on say; false if they aren't as many digits of that. */
export function readBase64(text: Uint8Array, offset: number, into: Uint8Array): boolean {
  const end = offset + base64Length(into.length);
  let at = 0;
  let word = 0;
  let bits = 0;
  for (let i = offset; i < end; i++) {
    const value = VALUES[text[i] ?? 0]!;
    if (value < 0) return false;
    word = (word << 6) | value;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      into[at++] = word >> bits;
      word &= (1 << bits) - 1;
    }
  }
  // The spare bits of the last digit must be zero: everything has one spelling.
  return word === 0;
}
