/** A DTLS record's header (RFC 6347 §4.1): type, version, epoch, sequence number, length. */
export const RECORD_HEADER_LENGTH = 13;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;

/**
 * Cuts what OpenSSL wrote into datagrams: whole records, as many as fit into `mtu` bytes; a record that is longer goes
 * alone. The datagrams are parts of `bytes`.
 */
export function* splitIntoDatagrams(bytes: Uint8Array, mtu: number): Generator<Uint8Array> {
  let start = 0;
  let end = 0;
  while (end < bytes.length) {
    const next = Math.min(bytes.length, end + recordLength(bytes, end));
    if (next - start > mtu && end > start) {
      yield bytes.subarray(start, end);
      start = end;
    }
    end = next;
  }
  if (end > start) yield bytes.subarray(start, end);
}

/** Whether a datagram begins with an unencrypted ClientHello. */
export function isClientHello(datagram: Uint8Array): boolean {
  const epoch = ((datagram[3] ?? 0) << 8) | (datagram[4] ?? 0);
  return (
    datagram.length > RECORD_HEADER_LENGTH &&
    datagram[0] === HANDSHAKE &&
    epoch === 0 &&
    datagram[RECORD_HEADER_LENGTH] === CLIENT_HELLO
  );
}

function recordLength(bytes: Uint8Array, at: number): number {
  return RECORD_HEADER_LENGTH + (((bytes[at + 11] ?? 0) << 8) | (bytes[at + 12] ?? 0));
}
