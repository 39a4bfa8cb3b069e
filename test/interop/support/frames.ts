import { type TransportAddress, transportAddress } from "@turnpike/stun";

/** A UDP datagram in an Ethernet frame, in parts. */
export interface Datagram {
  readonly source: TransportAddress;
  readonly destination: TransportAddress;
  readonly payload: Uint8Array;
  readonly trafficClass: number;
}

/** How a frame is made; each field can be made wrong. */
export interface FrameOptions {
  readonly linkDestination: Uint8Array;
  readonly linkSource: Uint8Array;
  readonly identification?: number;
  readonly timeToLive?: number;
  readonly dontFragment?: boolean;
}

/** Adds up 16-bit words the plain way, and gives the complement (RFC 1071). */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += (bytes[i] ?? 0) * (i % 2 === 0 ? 256 : 1);
  while (sum > 0xffff) sum = (sum % 0x1_0000) + Math.floor(sum / 0x1_0000);
  return 0xffff - sum;
}

/** The frame of a datagram, whole and with right checksums. */
export function frameOf(datagram: Datagram, options: FrameOptions): Uint8Array {
  const { source, destination, payload, trafficClass } = datagram;
  const udp = new Uint8Array(8 + payload.length);
  const udpView = new DataView(udp.buffer);
  udpView.setUint16(0, source.port);
  udpView.setUint16(2, destination.port);
  udpView.setUint16(4, udp.length);
  udp.set(payload, 8);
  const sum = checksum(Uint8Array.from([...pseudoHeader(datagram, udp.length), ...udp]));
  udpView.setUint16(6, sum === 0 ? 0xffff : sum);
  const link = [...options.linkDestination, ...options.linkSource];
  if (source.family === 6) {
    const ip = new DataView(new ArrayBuffer(8));
    ip.setUint32(0, 0x60000000 | (trafficClass << 20));
    ip.setUint16(4, udp.length);
    ip.setUint8(6, 17);
    ip.setUint8(7, options.timeToLive ?? 64);
    const addresses = [...octets(source), ...octets(destination)];
    return Uint8Array.from([...link, 0x86, 0xdd, ...new Uint8Array(ip.buffer), ...addresses, ...udp]);
  }
  const header = new DataView(new ArrayBuffer(20));
  header.setUint8(0, 0x45);
  header.setUint8(1, trafficClass);
  header.setUint16(2, 20 + udp.length);
  header.setUint16(4, options.identification ?? 0);
  header.setUint16(6, options.dontFragment === true ? 0x4000 : 0);
  header.setUint8(8, options.timeToLive ?? 64);
  header.setUint8(9, 17);
  const bytes = new Uint8Array(header.buffer);
  bytes.set(octets(source), 12);
  bytes.set(octets(destination), 16);
  header.setUint16(10, checksum(bytes));
  return Uint8Array.from([...link, 0x08, 0x00, ...bytes, ...udp]);
}

/** What a host's UDP sockets would be given of a frame; undefined if that is nothing. A checksum of 0 counts as none. */
export function datagramOf(frame: Uint8Array, linkAddress: Uint8Array): Datagram | undefined {
  if (frame.length < 42 || linkAddress.some((byte, index) => frame[index] !== byte)) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const type = view.getUint16(12);
  let udp: number;
  let end: number;
  let trafficClass: number;
  if (type === 0x0800) {
    if (view.getUint8(14) !== 0x45 || view.getUint8(23) !== 17) return undefined;
    if ((view.getUint16(20) & 0xbfff) !== 0 || checksum(frame.subarray(14, 34)) !== 0) return undefined;
    end = 14 + view.getUint16(16);
    udp = 34;
    trafficClass = view.getUint8(15);
  } else if (type === 0x86dd && frame.length >= 62) {
    if (view.getUint8(14) >>> 4 !== 6 || view.getUint8(20) !== 17) return undefined;
    end = 54 + view.getUint16(18);
    udp = 54;
    trafficClass = (view.getUint16(14) >>> 4) & 0xff;
  } else {
    return undefined;
  }
  if (end > frame.length || end < udp + 8) return undefined;
  const length = view.getUint16(udp + 4);
  if (length < 8 || udp + length > end) return undefined;
  const address = (from: number, port: number): TransportAddress =>
    transportAddress(
      type === 0x0800
        ? [...frame.subarray(from, from + 4)].join(".")
        : Array.from({ length: 8 }, (_none, word) => view.getUint16(from + 2 * word).toString(16)).join(":"),
      port,
    );
  const [first, second] = type === 0x0800 ? [26, 30] : [22, 38];
  return {
    source: address(first, view.getUint16(udp)),
    destination: address(second, view.getUint16(udp + 2)),
    payload: frame.slice(udp + 8, udp + length),
    trafficClass,
  };
}

/** Whether a frame's UDP checksum is right. */
export function hasRightChecksum(frame: Uint8Array, datagram: Datagram): boolean {
  const udp = frame.subarray(frame.length - datagram.payload.length - 8);
  return checksum(Uint8Array.from([...pseudoHeader(datagram, udp.length), ...udp])) === 0;
}

/** What the UDP checksum field holds when the sender leaves it to its card: the pseudo-header's sum. */
export function partialChecksum(datagram: Datagram): number {
  return 0xffff - checksum(Uint8Array.from(pseudoHeader(datagram, datagram.payload.length + 8)));
}

function pseudoHeader({ source, destination }: Datagram, length: number): readonly number[] {
  return [...octets(source), ...octets(destination), 0, 17, length >>> 8, length & 0xff];
}

function octets(address: TransportAddress): readonly number[] {
  const words = address.family === 4 ? [address.w3] : [address.w0, address.w1, address.w2, address.w3];
  return words.flatMap((word) => [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff]);
}
