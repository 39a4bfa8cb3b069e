import { parseIpAddress, type TransportAddress } from "@turnpike/stun";

/** What the beginning of a proxied connection says. */
export type ProxyHeader =
  | { readonly kind: "more" }
  /** `client` is undefined where the proxy speaks for itself (LOCAL, UNKNOWN): its own address counts. */
  | { readonly kind: "header"; readonly length: number; readonly client: TransportAddress | undefined }
  | { readonly kind: "error"; readonly reason: string };

const V1_PREFIX = Buffer.from("PROXY ", "latin1");
/** The specification's worst case, with the line's end. */
const V1_MAX_LENGTH = 107;
const V2_SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const V2_HEADER_LENGTH = 16;
/** Addresses take at most 216 bytes; the rest is extensions, of which a proxy sends a few hundred. */
const V2_MAX_LENGTH = 4096;
/** Family and protocol: TCP over IPv4, and over IPv6. */
const TCP4 = 0x11;
const TCP6 = 0x21;
const MORE: ProxyHeader = { kind: "more" };

/**
 * Reads a PROXY protocol header, version 1 or 2 (HAProxy's `proxy-protocol.txt`, §2). Strict: a connection of a trusted
 * proxy that begins with anything else is an error, for the address of its client would be unknown.
 */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader {
  if (startsWith(bytes, V2_SIGNATURE)) return readVersion2(bytes);
  if (startsWith(bytes, V1_PREFIX)) return readVersion1(bytes);
  const undecided = isPrefix(bytes, V2_SIGNATURE) || isPrefix(bytes, V1_PREFIX);
  return undecided ? MORE : failed("the connection doesn't begin with a PROXY header");
}

function readVersion1(bytes: Uint8Array): ProxyHeader {
  const end = bytes.subarray(0, V1_MAX_LENGTH).indexOf(0x0a);
  if (end < 0) return bytes.length < V1_MAX_LENGTH ? MORE : failed("a PROXY line is too long");
  if (bytes[end - 1] !== 0x0d) return failed("a PROXY line doesn't end with CR LF");
  const words = Buffer.from(bytes.subarray(V1_PREFIX.length, end - 1))
    .toString("latin1")
    .split(" ");
  const length = end + 1;
  const [protocol, source = "", destination = "", sourcePort = "", destinationPort = ""] = words;
  if (protocol === "UNKNOWN") return { kind: "header", length, client: undefined };
  const family = protocol === "TCP4" ? 4 : protocol === "TCP6" ? 6 : undefined;
  const ip = parseIpAddress(source);
  const port = parsePort(sourcePort);
  const whole =
    words.length === 5 && parseIpAddress(destination)?.family === family && parsePort(destinationPort) !== undefined;
  if (family === undefined || ip?.family !== family || port === undefined || !whole) {
    return failed("a PROXY line is malformed");
  }
  return { kind: "header", length, client: { ...ip, port } };
}

function readVersion2(bytes: Uint8Array): ProxyHeader {
  if (bytes.length < V2_HEADER_LENGTH) return MORE;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const command = view.getUint8(12);
  const protocol = view.getUint8(13);
  const payload = view.getUint16(14);
  const length = V2_HEADER_LENGTH + payload;
  if (command >> 4 !== 2 || (command & 0xf) > 1) return failed("a PROXY header has another version or command");
  if (length > V2_MAX_LENGTH) return failed("a PROXY header is too long");
  if (bytes.length < length) return MORE;
  const isLocal = (command & 0xf) === 0;
  if (isLocal || protocol === 0) return { kind: "header", length, client: undefined };
  if (protocol === TCP4 && payload >= 12) {
    const ip = { family: 4, w0: 0, w1: 0, w2: 0xffff, w3: view.getInt32(16) } as const;
    return { kind: "header", length, client: { ...ip, port: view.getUint16(24) } };
  }
  if (protocol === TCP6 && payload >= 36) {
    const [w0, w1, w2, w3] = [view.getInt32(16), view.getInt32(20), view.getInt32(24), view.getInt32(28)];
    return { kind: "header", length, client: { family: 6, w0, w1, w2, w3, port: view.getUint16(48) } };
  }
  return failed("a PROXY header is not of a TCP connection");
}

function parsePort(text: string): number | undefined {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && isPrefix(bytes.subarray(0, prefix.length), prefix);
}

function isPrefix(bytes: Uint8Array, whole: Uint8Array): boolean {
  return bytes.length <= whole.length && bytes.every((byte, index) => byte === whole[index]);
}

function failed(reason: string): ProxyHeader {
  return { kind: "error", reason };
}
