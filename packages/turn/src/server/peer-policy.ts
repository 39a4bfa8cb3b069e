import type { IpAddress } from "@turnpike/stun";
import { addressRange, rangeContains, type AddressRange } from "./address-range.ts";

/**
 * What a policy says of a peer: `allowed` and `denied` by the operator's lists, `special` when it isn't globally
 * routable, `global` otherwise. `allowed` and `global` may be reached.
 */
export type PeerDecision = "allowed" | "denied" | "special" | "global";

/** Decides which peers an allocation may reach, and be reached by. Pure; asked for each new permission. */
export interface PeerPolicy {
  decide(peer: IpAddress): PeerDecision;
}

/** The operator's lists: `A.B.C.D`, `A.B.C.D/N`, `A-B`, and the same for IPv6. */
export interface PeerPolicyOptions {
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}

/**
 * Makes a policy: what `allow` names may be reached, then what `deny` names may not, then whatever isn't globally
 * routable may not (in every form in which IPv6 wraps an IPv4 address). In both lists: allow wins.
 *
 * @throws TypeError naming the range that can't be read. A range is never skipped.
 * @example
 * const policy = createPeerPolicy({ allow: ["10.1.0.0/16"], deny: ["203.0.113.7"] });
 */
export function createPeerPolicy(options: PeerPolicyOptions = {}): PeerPolicy {
  const allow = (options.allow ?? []).map(addressRange);
  const deny = (options.deny ?? []).map(addressRange);
  const decide = (peer: IpAddress): PeerDecision => {
    // A relay socket can't reach an IPv4-mapped address as IPv6; what asks for one means to slip by an IPv4 rule.
    if (peer.family === 6 && rangeContains(MAPPED, peer)) return "denied";
    if (allow.some((range) => rangeContains(range, peer))) return "allowed";
    if (deny.some((range) => rangeContains(range, peer))) return "denied";
    if (peer.family === 4) return SPECIAL_IPV4.some((range) => rangeContains(range, peer)) ? "special" : "global";
    return decideIpv6(peer, deny);
  };
  return { decide };
}

function decideIpv6(peer: IpAddress, deny: readonly AddressRange[]): PeerDecision {
  const embedded = embeddedIpv4(peer);
  if (embedded !== undefined) {
    if (deny.some((range) => rangeContains(range, embedded))) return "denied";
    if (SPECIAL_IPV4.some((range) => rangeContains(range, embedded))) return "special";
  }
  if (rangeContains(NAT64, peer)) return "global";
  if (!rangeContains(GLOBAL_UNICAST, peer)) return "special";
  return SPECIAL_IPV6.some((range) => rangeContains(range, peer)) ? "special" : "global";
}

/** The IPv4 address that a translator or a tunnel would send to, for the forms that aren't refused as a whole. */
export function embeddedIpv4(peer: IpAddress): IpAddress | undefined {
  const isNat64 = rangeContains(NAT64, peer);
  // RFC 5214 §6.1: an ISATAP interface identifier is 0000:5efe or 0200:5efe, then the IPv4 address.
  const isIsatap = (peer.w2 & ~0x02000000) === 0x00005efe;
  return isNat64 || isIsatap ? { family: 4, w0: 0, w1: 0, w2: 0xffff, w3: peer.w3 } : undefined;
}

const MAPPED = addressRange("::ffff:0:0/96");
/** RFC 6052 §2.1. */
const NAT64 = addressRange("64:ff9b::/96");
const GLOBAL_UNICAST = addressRange("2000::/3");

/** IANA's IPv4 special-purpose registry: what isn't globally reachable, and cloud metadata services. */
const SPECIAL_IPV4: readonly AddressRange[] = [
  "0.0.0.0/8", // RFC 791 §3.2: this network
  "10.0.0.0/8", // RFC 1918
  "100.64.0.0/10", // RFC 6598: carrier-grade NAT
  "127.0.0.0/8", // RFC 1122: loopback
  "168.63.129.16", // a cloud's metadata service on an address that looks public
  "169.254.0.0/16", // RFC 3927: link-local, metadata services
  "172.16.0.0/12", // RFC 1918
  "192.0.0.0/24", // RFC 6890: protocol assignments
  "192.0.2.0/24", // RFC 5737: documentation
  "192.88.99.0/24", // RFC 7526: 6to4 relays
  "192.168.0.0/16", // RFC 1918
  "198.18.0.0/15", // RFC 2544: benchmarks
  "198.51.100.0/24", // RFC 5737
  "203.0.113.0/24", // RFC 5737
  "224.0.0.0/4", // RFC 1112: multicast
  "240.0.0.0/4", // RFC 1112, RFC 919: reserved, broadcast
].map(addressRange);

/** What isn't globally reachable within 2000::/3. */
const SPECIAL_IPV6: readonly AddressRange[] = [
  "2001::/23", // RFC 2928: protocol assignments, Teredo among them
  "2001:db8::/32", // RFC 3849: documentation
  "2002::/16", // RFC 3056: 6to4
  "3fff::/20", // RFC 9637: documentation
].map(addressRange);

/** Whether an address is a loopback address (127/8 or ::1). */
export function isLoopback(ip: IpAddress): boolean {
  return ip.family === 4 ? ip.w3 >>> 24 === 127 : (ip.w0 | ip.w1 | ip.w2) === 0 && ip.w3 === 1;
}
