/** Sums of 16-bit words in network order, the way of Internet checksums (RFC 1071): not yet folded. */
export function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  return sum;
}

/** Folds a sum to 16 bits; 0 only if it is 0. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return folded;
}

/** What takes `folded` off a sum: adding it is subtracting in ones' complement. */
export function negated(folded: number): number {
  return 0xffff - folded;
}
