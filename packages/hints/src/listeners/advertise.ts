import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { classifyAddress } from "../address-policy.ts";
import { formatHostPort } from "../host-port.ts";

/** One address of this machine. */
export interface LocalAddress {
  readonly address: string;
  /** True for loopback interfaces. */
  readonly internal: boolean;
}

/** The addresses of this machine, as the operating system lists them. */
export function systemAddresses(): readonly LocalAddress[] {
  return Object.values(networkInterfaces()).flatMap((list) => list ?? []);
}

/**
 * The addresses at which a listener might be reached: the one it is bound to, or for a wildcard those of the machine that
 * others could use, global ones first. Link-local ones need a zone, which no hint can carry.
 */
export function reachableAddresses(bound: string, addresses: readonly LocalAddress[]): readonly string[] {
  if (bound !== "0.0.0.0" && bound !== "::") return [bound];
  const usable = addresses.filter(({ address, internal }) => {
    if (internal || isIP(address) === 0) return false;
    if (bound === "0.0.0.0" && isIP(address) === 6) return false;
    const kind = classifyAddress(address);
    return kind === "global" || kind === "private" || kind === "shared";
  });
  const rank = ({ address }: LocalAddress): number => (classifyAddress(address) === "global" ? 0 : 1);
  return usable.toSorted((left, right) => rank(left) - rank(right)).map(({ address }) => address);
}

/** Hints for a listener: one for each name of its certificate, or else for each address. */
export function hintsFor(
  type: string,
  where: {
    readonly bound: string;
    readonly port: number;
    readonly path: string;
    readonly names: readonly string[];
    readonly addresses: readonly LocalAddress[];
  },
): readonly string[] {
  const hosts = where.names.length > 0 ? where.names : reachableAddresses(where.bound, where.addresses);
  const path = where.path === "/" ? "" : where.path;
  return hosts.map((host) => `${type}:${formatHostPort(host, where.port)}${path}`);
}
