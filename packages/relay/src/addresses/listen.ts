import { formatTransportAddress, type IpAddress, parseTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { LocalAddress } from "./local-addresses.ts";

/** Where to listen: a transport and an address, which may be a wildcard, with a port, which may be 0 (any). */
export interface ListenSpec {
  readonly transport: "udp";
  readonly local: TransportAddress;
}

/**
 * Parses `udp:ADDRESS:PORT`, e.g. `udp:0.0.0.0:3478` or `udp:[2001:db8::1]:3478`.
 *
 * @throws TypeError if it is anything else.
 */
export function parseListenSpec(text: string): ListenSpec {
  const colon = text.indexOf(":");
  const transport = text.slice(0, Math.max(0, colon));
  if (transport !== "udp") {
    throw new TypeError(`Cannot listen on ${JSON.stringify(text)}: expected udp:ADDRESS:PORT`);
  }
  const local = parseTransportAddress(text.slice(colon + 1));
  if (local === undefined) {
    throw new TypeError(
      `Cannot listen on ${JSON.stringify(text)}: expected udp:ADDRESS:PORT, e.g. udp:0.0.0.0:3478 or udp:[::]:3478`,
    );
  }
  return { transport, local };
}

/** Writes what {@link parseListenSpec} reads. */
export function formatListenSpec(spec: ListenSpec): string {
  return `${spec.transport}:${formatTransportAddress(spec.local)}`;
}

/** Whether an address is `0.0.0.0` or `::`. */
export function isWildcard(ip: IpAddress): boolean {
  return ip.w3 === 0 && ip.w1 === 0 && ip.w0 === 0 && ip.w2 === (ip.family === 4 ? 0xffff : 0);
}

/**
 * The addresses that a listening address stands for: a wildcard for all of the machine's of its family. A socket on a
 * wildcard answers from whatever address the routes prefer, and a client drops an answer that comes from another
 * address than it asked; a socket on each address answers from the right one.
 */
export function expandWildcard(local: IpAddress, machine: readonly LocalAddress[]): readonly IpAddress[] {
  return isWildcard(local)
    ? machine.filter(({ ip, scope }) => ip.family === local.family && scope !== "link").map(({ ip }) => ip)
    : [local];
}
