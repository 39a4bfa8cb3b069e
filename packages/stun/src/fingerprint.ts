/**
 * The value of FINGERPRINT over `bytes[start, end)`: CRC-32 (ISO 3309, ITU V.42) XOR 0x5354554e (RFC 8489 §14.7).
 * Unsigned.
 */
export function fingerprintOf(bytes: Uint8Array, start: number, end: number): number {
  return (crc32(bytes, start, end) ^ FINGERPRINT_XOR) >>> 0;
}

/** CRC-32 of `bytes[start, end)`, unsigned. */
export function crc32(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1;
  for (let index = start; index < end; index++) {
    crc = TABLE[(crc ^ bytes[index]!) & 0xff]! ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

const FINGERPRINT_XOR = 0x5354554e;
const POLYNOMIAL = 0xedb88320;

const TABLE: Int32Array = Int32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? POLYNOMIAL : 0);
  return remainder;
});
