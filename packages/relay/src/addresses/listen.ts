import { formatTransportAddress, type IpAddress, parseTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import type { LocalAddress } from "./local-addresses.ts";

/** Where to listen: a transport and an address, which may be a wildcard, with a port, which may be 0 (any). */
export interface ListenSpec {
  readonly transport: ClientTransport;
  readonly local: TransportAddress;
}

/**
 * Parses `TRANSPORT:ADDRESS:PORT`, e.g. `udp:0.0.0.0:3478` or `tls:[2001:db8::1]:5349`. Transports: udp, tcp, tls, dtls,
 * ws, wss; see {@link transportsOf} for what each serves.
 *
 * @throws TypeError if it is anything else.
 */
export function parseListenSpec(text: string): ListenSpec {
  const colon = text.indexOf(":");
  const name = text.slice(0, Math.max(0, colon));
  const transport = TRANSPORTS.find((each) => each === name);
  const local = parseTransportAddress(text.slice(colon + 1));
  if (transport === undefined || local === undefined) {
    const form =
      transport === undefined
        ? `TRANSPORT:ADDRESS:PORT, with one of ${TRANSPORTS.join(", ")}`
        : `${transport}:ADDRESS:PORT`;
    throw new TypeError(
      `Cannot listen on ${JSON.stringify(text)}: expected ${form}, e.g. udp:0.0.0.0:3478 or udp:[::]:3478`,
    );
  }
  return { transport, local };
}

/**
 * What a listening address serves; the first bytes of a connection tell. `tcp`: TURN over TCP and WebSocket, and both
 * in TLS too if there is a certificate. `tls`: TURN over TLS and WebSocket in TLS. All others: themselves.
 */
export function transportsOf(transport: ClientTransport, hasCertificate: boolean): readonly ClientTransport[] {
  switch (transport) {
    case "tcp":
      return hasCertificate ? ["tcp", "tls", "ws", "wss"] : ["tcp", "ws"];
    case "tls":
      return ["tls", "wss"];
    default:
      return [transport];
  }
}

/** Whether a listening address takes datagrams: it doesn't collide with a stream's of the same port. */
export function isDatagramTransport(transport: ClientTransport): boolean {
  return transport === "udp" || transport === "dtls";
}

/** Whether a listening address is of no use without a certificate. */
export function needsCertificate(transport: ClientTransport): boolean {
  return transport === "tls" || transport === "dtls" || transport === "wss";
}

const TRANSPORTS: readonly ClientTransport[] = ["udp", "tcp", "tls", "dtls", "ws", "wss"];

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
