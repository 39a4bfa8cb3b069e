import { formatIpAddress, type IpAddress, parseIpAddress } from "@turnpike/stun";

declare const prefixBrand: unique symbol;

/** What counts as one network: `192.0.2.1/32`, or `2001:db8:0:1::/64`. */
export type AddressPrefix = string & { readonly [prefixBrand]: true };

/** Who tries: a network, and the user whose secret is tried. */
export interface AttemptSource {
  readonly prefix: AddressPrefix;
  readonly user: string;
}

/**
 * The network of an address: all of IPv4, the first 64 bits of IPv6, since whoever has one address of a /64 has them
 * all. An IPv4-mapped address counts as the IPv4 address that it is.
 */
export function addressPrefix(address: IpAddress): AddressPrefix {
  const mapped = address.w0 === 0 && address.w1 === 0 && address.w2 === 0xffff;
  if (address.family === 4 || mapped) {
    return brand(`${formatIpAddress({ family: 4, w0: 0, w1: 0, w2: 0xffff, w3: address.w3 })}/32`);
  }
  return brand(`${formatIpAddress({ family: 6, w0: address.w0, w1: address.w1, w2: 0, w3: 0 })}/64`);
}

/** {@link addressPrefix} of an address as text, with or without a zone; all that is no address is one network. */
export function addressPrefixOf(text: string): AddressPrefix {
  const address = parseIpAddress(text.split("%", 1)[0] ?? "");
  return address === undefined ? brand("unknown") : addressPrefix(address);
}

/** One text for a source: a prefix has no space, so two sources never share one. */
export function sourceKey({ prefix, user }: AttemptSource): string {
  return `${prefix} ${user}`;
}

function brand(text: string): AddressPrefix {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place that makes the brand
  return text as AddressPrefix;
}
