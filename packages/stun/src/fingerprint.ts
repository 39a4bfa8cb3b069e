/**
 * The value of FINGERPRINT over `bytes[start, end)`: CRC-32 (ISO 3309, ITU V.42) XOR 0x5354554e (RFC 8489 §14.7).
 * Unsigned.
 */
export function fingerprintOf(bytes: Uint8Array, start: number, end: number): number {
  return (crc32(bytes, start, end) ^ FINGERPRINT_XOR) >>> 0;
}

/** CRC-32 of `bytes[start, end)`, unsigned. Four bytes a step: it runs before anything of a packet is authenticated. */
export function crc32(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      TABLES[0x300 + (crc & 0xff)]! ^
      TABLES[0x200 + ((crc >>> 8) & 0xff)]! ^
      TABLES[0x100 + ((crc >>> 16) & 0xff)]! ^
      TABLES[crc >>> 24]!;
  }
  for (; at < end; at++) crc = TABLES[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

const FINGERPRINT_XOR = 0x5354554e;
const POLYNOMIAL = 0xedb88320;

/** Four tables of 256 words, one behind the other: what a byte adds, followed by 0, 1, 2 and 3 zero bytes. */
const TABLES: Int32Array = (() => {
  const tables = new Int32Array(0x400);
  for (let byte = 0; byte < 0x100; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? POLYNOMIAL : 0);
    tables[byte] = remainder;
  }
  for (let at = 0x100; at < tables.length; at++) {
    const before = tables[at - 0x100]!;
    tables[at] = tables[before & 0xff]! ^ (before >>> 8);
  }
  return tables;
})();
