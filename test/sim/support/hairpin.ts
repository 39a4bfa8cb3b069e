import { parseIpAddress, sameIp, type IpAddress, type TransportAddress } from "@turnpike/stun";
import type { Hairpin } from "@turnpike/turn";

/** A relay without NAT in front of it: its addresses are what peers see. */
export function ownAddresses(addresses: readonly string[], isLive: (address: TransportAddress) => boolean): Hairpin {
  const own = addresses.map((text) => parseIpAddress(text) as IpAddress);
  return {
    isOwn: (ip) => own.some((address) => sameIp(address, ip)),
    isLive,
    toLocal: () => false,
    toRelayed: () => false,
  };
}
