/**
 * What a connection speaks, by its first bytes. `more`: they don't tell yet. `unknown`: nothing that is served.
 */
export type Spoken = "tls" | "http" | "turn" | "unknown" | "more";

/** A TLS handshake record (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 0x16;
const TLS_MAJOR = 0x03;
const GET: readonly number[] = [0x47, 0x45, 0x54, 0x20];

/**
 * Tells TLS, HTTP and TURN apart on one port. "GET " could be ChannelData of channel 0x4745, but a connection never
 * begins with ChannelData: a channel belongs to an allocation, and that to its connection.
 */
export function sniff(bytes: Uint8Array): Spoken {
  const [first, second] = bytes;
  if (first === undefined) return "more";
  if (first === TLS_HANDSHAKE) {
    if (second === undefined) return "more";
    return second === TLS_MAJOR ? "tls" : "unknown";
  }
  if (first === GET[0]) {
    for (const [index, wanted] of GET.entries()) {
      const byte = bytes[index];
      if (byte === undefined) return "more";
      if (byte !== wanted) return "unknown";
    }
    return "http";
  }
  // The first two bits of a STUN message are zero (RFC 8489 §5); the framer looks at the rest.
  return first < 0x40 ? "turn" : "unknown";
}
