import { parseIpAddress, parseTransportAddress, withPort, type IpAddress, type TransportAddress } from "@turnpike/stun";

/** A peer: `192.0.2.1:5000`, `[2001:db8::1]:5000`, or the same as a value. */
export type PeerAddress = string | TransportAddress;

/** A peer's host: with or without a port, which doesn't matter. */
export type PeerHost = string | IpAddress;

/** @throws TypeError */
export function readPeer(peer: PeerAddress): TransportAddress {
  const parsed = typeof peer === "string" ? parseTransportAddress(peer) : peer;
  if (parsed === undefined || parsed.port === 0) {
    throw new TypeError(
      `Cannot parse peer ${JSON.stringify(peer)}: expected an address and a port, such as 192.0.2.1:5000 or [2001:db8::1]:5000`,
    );
  }
  return parsed;
}

/** @throws TypeError */
export function readHost(host: PeerHost): IpAddress {
  const parsed = typeof host === "string" ? (parseIpAddress(host) ?? parseTransportAddress(host)) : host;
  if (parsed === undefined) {
    throw new TypeError(`Cannot parse peer ${JSON.stringify(host)}: expected an IP address, such as 192.0.2.1`);
  }
  return withPort(parsed, 0);
}
