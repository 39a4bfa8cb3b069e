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
import type { RelayAddress } from "./addresses/relay-address.ts";
import type { NatDiscoveryOptions } from "./relay-options.ts";

/**
 * The listening addresses that NAT behaviour discovery needs (RFC 5780 §6), in the order of `NatDiscovery.listeners`.
 *
 * @throws TypeError or RangeError unless these are two addresses of one family and two ports.
 */
export function natDiscoverySpecs(options: NatDiscoveryOptions | undefined): readonly string[] {
  return options === undefined ? [] : addressesOf(options).map((local) => `udp:${formatTransportAddress(local)}`);
}

/** The listeners of {@link natDiscoverySpecs} among all, with what a 1:1 NAT shows for them. */
export function findNatDiscovery(
  options: NatDiscoveryOptions | undefined,
  listening: readonly Listener[],
  relayAddresses: readonly RelayAddress[],
): NatDiscovery | undefined {
  if (options === undefined) return undefined;
  const wanted = addressesOf(options);
  const idOf = (address: TransportAddress): number => {
    const found = listening.find(({ transport, local }) => transport === "udp" && sameTransportAddress(local, address));
    if (found === undefined) throw new RangeError(`There is no listener on ${formatTransportAddress(address)}`);
    return found.id;
  };
  const shown = (address: TransportAddress): TransportAddress => {
    const external = relayAddresses.find(({ local }) => sameIp(local, address));
    return external === undefined ? address : withPort(external.relayed, address.port);
  };
  const [first, second, third, fourth] = wanted;
  return {
    listeners: [idOf(first), idOf(second), idOf(third), idOf(fourth)],
    addresses: [shown(first), shown(second), shown(third), shown(fourth)],
  };
}

type FourAddresses = readonly [TransportAddress, TransportAddress, TransportAddress, TransportAddress];

function addressesOf(options: NatDiscoveryOptions): FourAddresses {
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
  return [withPort(first, port), withPort(first, otherPort), withPort(second, port), withPort(second, otherPort)];
}
