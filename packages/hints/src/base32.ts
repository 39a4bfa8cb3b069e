const alphabet = "abcdefghijklmnopqrstuvwxyz234567";

/** Bytes in the lower-case base32 of RFC 4648 §6, without padding. */
export function encodeBase32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet.charAt((value >>> bits) & 31);
    }
    value &= (1 << bits) - 1;
  }
  return bits > 0 ? text + alphabet.charAt((value << (5 - bits)) & 31) : text;
}

/**
 * Reads base32 without padding into exactly `length` bytes; nothing if it is anything else. Only the one canonical
 * spelling is read: lower case, unused bits zero.
 */
export function decodeBase32(text: string, length: number): Uint8Array | undefined {
  if (text.length !== Math.ceil((length * 8) / 5)) return undefined;
  const bytes = new Uint8Array(length);
  let bits = 0;
  let value = 0;
  let index = 0;
  for (const character of text) {
    const digit = alphabet.indexOf(character);
    if (digit < 0) return undefined;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8 && index < length) {
      bits -= 8;
      bytes[index] = value >>> bits;
      index += 1;
    }
    value &= (1 << bits) - 1;
  }
  return value === 0 ? bytes : undefined;
}
