import type { AddressRegister, TransportAddress } from "@turnpike/stun";
import { AF_INET, AF_INET6, sockaddr } from "./layout.ts";

/** Bytes to set apart for any socket address. */
export const SOCKADDR_SPACE = 32;

/** The IPv4-mapped prefix's last word, `::ffff:0:0` (RFC 4291 §2.5.5.2). */
const MAPPED = 0xffff;

/** Writes `from` as a `sockaddr_in` or `sockaddr_in6` at `offset` (a multiple of 4) and returns its length in bytes. */
export function writeSocketAddress(words: Int32Array, offset: number, from: TransportAddress): number {
  const index = offset >> 2;
  // family is in host order, the port in network order: x86-64 is little-endian.
  const port = ((from.port & 0xff) << 8) | (from.port >>> 8);
  if (from.family === 4) {
    words[index] = AF_INET | (port << 16);
    words[index + 1] = swap(from.w3);
    words[index + 2] = 0;
    words[index + 3] = 0;
    return sockaddr.in.size;
  }
  words[index] = AF_INET6 | (port << 16);
  words[index + 1] = 0;
  words[index + 2] = swap(from.w0);
  words[index + 3] = swap(from.w1);
  words[index + 4] = swap(from.w2);
  words[index + 5] = swap(from.w3);
  words[index + 6] = 0;
  return sockaddr.in6.size;
}

/** Reads the socket address at `offset` (a multiple of 4) into `into`. False: it is of neither IP family. */
export function readSocketAddress(words: Int32Array, offset: number, into: AddressRegister): boolean {
  const index = offset >> 2;
  const head = words[index] ?? 0;
  const family = head & 0xffff;
  const port = head >>> 16;
  into.port = ((port & 0xff) << 8) | (port >>> 8);
  if (family === AF_INET) {
    into.family = 4;
    into.w0 = 0;
    into.w1 = 0;
    into.w2 = MAPPED;
    into.w3 = swap(words[index + 1] ?? 0);
    return true;
  }
  if (family !== AF_INET6) return false;
  into.family = 6;
  into.w0 = swap(words[index + 2] ?? 0);
  into.w1 = swap(words[index + 3] ?? 0);
  into.w2 = swap(words[index + 4] ?? 0);
  into.w3 = swap(words[index + 5] ?? 0);
  return true;
}

function swap(word: number): number {
  return ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
