import { parseIpAddress, type IpAddress } from "@turnpike/stun";

/** All addresses of one family from `first` to `last`, both included. */
export interface AddressRange {
  readonly first: IpAddress;
  readonly last: IpAddress;
}

/**
 * Reads `A`, `A/N` or `A-B`.
 *
 * @throws TypeError that says what is wrong: a range that were skipped would open what it should close.
 */
export function addressRange(text: string): AddressRange {
  const trimmed = text.trim();
  const dash = trimmed.indexOf("-");
  if (dash >= 0) {
    const first = parse(trimmed.slice(0, dash), text);
    const last = parse(trimmed.slice(dash + 1), text);
    if (first.family !== last.family) throw problem(text, "its ends are of different families");
    if (compare(first, last) > 0) throw problem(text, "its end lies before its start");
    return { first, last };
  }
  const slash = trimmed.indexOf("/");
  if (slash < 0) {
    const only = parse(trimmed, text);
    return { first: only, last: only };
  }
  const base = parse(trimmed.slice(0, slash), text);
  const bits = prefixLength(trimmed.slice(slash + 1), base.family, text);
  return { first: mask(base, bits, 0), last: mask(base, bits, -1) };
}

/** Whether an address lies in a range. Words are compared as unsigned numbers, the most significant first. */
export function rangeContains(range: AddressRange, ip: IpAddress): boolean {
  return ip.family === range.first.family && compare(range.first, ip) <= 0 && compare(ip, range.last) <= 0;
}

function parse(part: string, whole: string): IpAddress {
  const ip = parseIpAddress(part.trim());
  if (ip === undefined) throw problem(whole, `${JSON.stringify(part.trim())} is not an IP address`);
  return ip;
}

function prefixLength(part: string, family: 4 | 6, whole: string): number {
  const most = family === 4 ? 32 : 128;
  const bits = /^\d{1,3}$/.test(part) ? Number(part) : Number.NaN;
  if (!(bits <= most)) throw problem(whole, `the prefix length must be a whole number from 0 to ${most}`);
  return family === 4 ? bits + 96 : bits;
}

/** Keeps the first `bits` bits and fills the rest from `fill` (0 or -1). */
function mask(ip: IpAddress, bits: number, fill: 0 | -1): IpAddress {
  const word = (value: number, index: number): number => {
    const kept = Math.min(32, Math.max(0, bits - 32 * index));
    const keep = kept === 0 ? 0 : (-1 << (32 - kept)) | 0;
    return (value & keep) | (fill & ~keep);
  };
  return { family: ip.family, w0: word(ip.w0, 0), w1: word(ip.w1, 1), w2: word(ip.w2, 2), w3: word(ip.w3, 3) };
}

function compare(a: IpAddress, b: IpAddress): number {
  return (
    (a.w0 >>> 0) - (b.w0 >>> 0) ||
    (a.w1 >>> 0) - (b.w1 >>> 0) ||
    (a.w2 >>> 0) - (b.w2 >>> 0) ||
    (a.w3 >>> 0) - (b.w3 >>> 0)
  );
}

function problem(text: string, why: string): TypeError {
  return new TypeError(`Cannot parse address range ${JSON.stringify(text)}: ${why}`);
}
