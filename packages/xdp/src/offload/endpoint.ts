/** An IP address as four words in host order; IPv4 as ::ffff:a.b.c.d. */
export interface Ip {
  readonly family: 4 | 6;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
}

/** A UDP transport address. */
export interface Endpoint extends Ip {
  readonly port: number;
}

/** The sixteen bytes of an address, as {@link Ip} has it. */
export function addressBytes(ip: Ip): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of [ip.w0, ip.w1, ip.w2, ip.w3].entries()) view.setUint32(index * 4, word >>> 0);
  return bytes;
}

/** The bytes of an address on the wire: 4 or 16. */
export function wireBytes(ip: Ip): Uint8Array {
  const bytes = addressBytes(ip);
  return ip.family === 4 ? bytes.subarray(12) : bytes;
}

/** Equal for equal addresses. */
export function ipKey({ w0, w1, w2, w3 }: Ip): string {
  return `${w0 >>> 0},${w1 >>> 0},${w2 >>> 0},${w3 >>> 0}`;
}
