import {
  formatTransportAddress,
  parseIpAddress,
  sameIp,
  sameTransportAddress,
  type TransportAddress,
  withPort,
} from "@turnpike/stun";
import type { Listener, NatDiscovery } from "@turnpike/turn";
import { isWildcard } from "./addresses/listen.ts";
import type { NatDiscoveryOptions } from "./relay-options.ts";

/**
 * The listening addresses that NAT behaviour discovery needs (RFC 5780 §7.1), in the order of `NatDiscovery.listeners`.
 *
 * @throws TypeError or RangeError unless these are two addresses of one family and two ports.
 */
export function natDiscoverySpecs(options: NatDiscoveryOptions | undefined): readonly string[] {
  return options === undefined ? [] : addressesOf(options).map((local) => `udp:${formatTransportAddress(local)}`);
}

/** The listeners of {@link natDiscoverySpecs} among all. */
export function findNatDiscovery(
  options: NatDiscoveryOptions | undefined,
  listening: readonly Listener[],
): NatDiscovery | undefined {
  if (options === undefined) return undefined;
  const [first, second, third, fourth] = addressesOf(options).map((wanted) => {
    const found = listening.find(({ transport, local }) => transport === "udp" && sameTransportAddress(local, wanted));
    if (found === undefined) throw new RangeError(`There is no listener on ${formatTransportAddress(wanted)}`);
    return found.id;
  });
  return { listeners: [first ?? -1, second ?? -1, third ?? -1, fourth ?? -1] };
}

function addressesOf(options: NatDiscoveryOptions): readonly TransportAddress[] {
  const ips = options.addresses.map((text) => {
    const ip = parseIpAddress(text);
    if (ip === undefined || isWildcard(ip)) {
      throw new TypeError(`Cannot discover NAT behaviour: ${JSON.stringify(text)} is not an address of this machine`);
    }
    return ip;
  });
  const [first, second] = ips;
  if (first === undefined || second === undefined || first.family !== second.family || sameIp(first, second)) {
    throw new TypeError("Cannot discover NAT behaviour: two different addresses of one family are needed");
  }
  const [port, otherPort] = options.ports;
  if (port === otherPort || options.ports.some((each) => !Number.isInteger(each) || each < 1 || each > 65_535)) {
    throw new RangeError("Cannot discover NAT behaviour: two different ports from 1 to 65535 are needed");
  }
  return ips.flatMap((ip) => options.ports.map((each) => withPort(ip, each)));
}
