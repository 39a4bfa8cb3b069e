import { readInt32, writeUint32 } from "./bytes.ts";
import type { IpAddress, TransportAddress } from "./ip-address.ts";

/**
 * Parses an IPv4 dotted quad (four decimal octets without leading zeros) or an IPv6 address (RFC 4291 §2.2, all
 * three forms). Nothing else: no zone, brackets, prefix length or white space.
 *
 * @returns undefined if `text` is not an address.
 */
export function parseIpAddress(text: string): IpAddress | undefined {
  if (text.length > LONGEST_IP_TEXT) return undefined;
  if (text.includes(":")) return parseIpv6(text);
  const word = parseIpv4(text);
  return word === undefined ? undefined : ipv4(word);
}

/** The one text form of an address: dotted quad, or RFC 5952. */
export function formatIpAddress(ip: IpAddress): string {
  return ip.family === 4 ? formatIpv4(ip.w3) : formatIpv6(ip);
}

/** `1.2.3.4:80` or `[::1]:80` (RFC 3986 §3.2.2). */
export function formatTransportAddress(address: TransportAddress): string {
  const ip = formatIpAddress(address);
  return address.family === 4 ? `${ip}:${address.port}` : `[${ip}]:${address.port}`;
}

/**
 * Parses what {@link formatTransportAddress} writes. The port is decimal without leading zeros.
 *
 * @returns undefined if `text` is not a transport address.
 */
export function parseTransportAddress(text: string): TransportAddress | undefined {
  const colon = text.lastIndexOf(":");
  if (colon < 0) return undefined;
  const port = parseDecimal(text, colon + 1, text.length, 65_535);
  if (port === undefined) return undefined;
  const bracketed = text.startsWith("[");
  if (bracketed && text[colon - 1] !== "]") return undefined;
  const ip = parseIpAddress(bracketed ? text.slice(1, colon - 1) : text.slice(0, colon));
  if (ip === undefined || (ip.family === 6) !== bracketed) return undefined;
  return withPort(ip, port);
}

/**
 * A transport address from configuration.
 *
 * @throws TypeError if `ip` is not an IP address; RangeError if `port` is not an integer of 0–65535.
 */
export function transportAddress(ip: string, port: number): TransportAddress {
  const parsed = parseIpAddress(ip);
  if (parsed === undefined) {
    throw new TypeError(
      `Cannot parse IP address ${JSON.stringify(ip)}: expected IPv4 (192.0.2.1) or IPv6 (2001:db8::1)`,
    );
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`Cannot use port ${port}: expected an integer from 0 to 65535`);
  }
  return withPort(parsed, port);
}

export function sameIp(a: IpAddress, b: IpAddress): boolean {
  return a.w3 === b.w3 && a.w2 === b.w2 && a.w1 === b.w1 && a.w0 === b.w0 && a.family === b.family;
}

export function sameTransportAddress(a: TransportAddress, b: TransportAddress): boolean {
  return a.port === b.port && sameIp(a, b);
}

/** The address in network order: 4 bytes for IPv4, 16 for IPv6. */
export function ipBytes(ip: IpAddress): Uint8Array {
  if (ip.family === 4) {
    const bytes = new Uint8Array(4);
    writeUint32(bytes, 0, ip.w3);
    return bytes;
  }
  const bytes = new Uint8Array(16);
  writeUint32(bytes, 0, ip.w0);
  writeUint32(bytes, 4, ip.w1);
  writeUint32(bytes, 8, ip.w2);
  writeUint32(bytes, 12, ip.w3);
  return bytes;
}

/**
 * The address in `bytes` at `offset`: 4 bytes for family 4, 16 for family 6.
 *
 * @throws RangeError if they reach past the end.
 */
export function ipFromBytes(bytes: Uint8Array, offset: number, family: 4 | 6): IpAddress {
  if (!(offset >= 0 && offset + (family === 4 ? 4 : 16) <= bytes.length)) {
    throw new RangeError(`Cannot read an IPv${family} address at offset ${offset} of ${bytes.length} bytes`);
  }
  if (family === 4) return ipv4(readInt32(bytes, offset));
  return {
    family: 6,
    w0: readInt32(bytes, offset),
    w1: readInt32(bytes, offset + 4),
    w2: readInt32(bytes, offset + 8),
    w3: readInt32(bytes, offset + 12),
  };
}

export function withPort(ip: IpAddress, port: number): TransportAddress {
  return { family: ip.family, w0: ip.w0, w1: ip.w1, w2: ip.w2, w3: ip.w3, port };
}

/** `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255` */
const LONGEST_IP_TEXT = 45;
const COLON = 0x3a;

function ipv4(word: number): IpAddress {
  return { family: 4, w0: 0, w1: 0, w2: 0xffff, w3: word };
}

function parseIpv4(text: string): number | undefined {
  const octets = text.split(".");
  if (octets.length !== 4) return undefined;
  let word = 0;
  for (const octet of octets) {
    const value = parseDecimal(octet, 0, octet.length, 255);
    if (value === undefined) return undefined;
    word = (word << 8) | value;
  }
  return word;
}

function parseIpv6(text: string): IpAddress | undefined {
  const groups: number[] = [];
  let gap = -1;
  let index = 0;
  if (text.startsWith("::")) {
    gap = 0;
    index = 2;
  }
  while (index < text.length) {
    let end = index;
    while (end < text.length && text.charCodeAt(end) !== COLON) end++;
    const part = text.slice(index, end);
    if (end === text.length && part.includes(".")) {
      const word = parseIpv4(part);
      if (word === undefined) return undefined;
      groups.push(word >>> 16, word & 0xffff);
      index = end;
      break;
    }
    const group = parseHexGroup(part);
    if (group === undefined) return undefined;
    groups.push(group);
    index = end;
    if (index === text.length) break;
    index++;
    if (index === text.length) return undefined;
    if (text.charCodeAt(index) === COLON) {
      if (gap >= 0) return undefined;
      gap = groups.length;
      index++;
    }
  }
  if (gap < 0 ? groups.length !== 8 : groups.length > 7) return undefined;
  if (gap >= 0) groups.splice(gap, 0, ...Array.from({ length: 8 - groups.length }, () => 0));
  return { family: 6, w0: wordAt(groups, 0), w1: wordAt(groups, 2), w2: wordAt(groups, 4), w3: wordAt(groups, 6) };
}

function wordAt(groups: readonly number[], index: number): number {
  return (groups[index]! << 16) | groups[index + 1]!;
}

function parseHexGroup(text: string): number | undefined {
  if (text.length === 0 || text.length > 4) return undefined;
  let value = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index) | 0x20;
    const digit = code >= 0x61 && code <= 0x66 ? code - 0x57 : text.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 15 || (digit > 9 && code < 0x61)) return undefined;
    value = (value << 4) | digit;
  }
  return value;
}

function parseDecimal(text: string, start: number, end: number, maximum: number): number | undefined {
  const length = end - start;
  if (length < 1 || length > 5) return undefined;
  if (length > 1 && text.charCodeAt(start) === 0x30) return undefined;
  let value = 0;
  for (let index = start; index < end; index++) {
    const digit = text.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value <= maximum ? value : undefined;
}

function formatIpv4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 0xff}.${(word >>> 8) & 0xff}.${word & 0xff}`;
}

/** RFC 5952 §4: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function formatIpv6(ip: IpAddress): string {
  // RFC 5952 §5: a well-known prefix with an embedded IPv4 address is written in the mixed notation.
  if (ip.w0 === 0 && ip.w1 === 0 && ip.w2 === 0xffff) return `::ffff:${formatIpv4(ip.w3)}`;
  const groups: number[] = [];
  for (const word of [ip.w0, ip.w1, ip.w2, ip.w3]) groups.push(word >>> 16, word & 0xffff);
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > bestLength) {
      bestStart = start;
      bestLength = end - start;
    }
    if (end > start) start = end - 1;
  }
  const text = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  return bestStart < 0 ? text(0, 8) : `${text(0, bestStart)}::${text(bestStart + bestLength, 8)}`;
}
