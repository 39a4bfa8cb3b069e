import { formatIpAddress, type IpAddress } from "@turnpike/stun";
import type { Quota } from "./admission-store.ts";

/** How many allocations there may be at once. Each absent: any number. */
export interface QuotaSettings {
  /** Of one user: the actor, whatever names and relays it comes by. */
  readonly user?: number;
  /** Of all users together, over all relays that share a store. */
  readonly total?: number;
  /** From one client address prefix. */
  readonly addressPrefix?: number;
  /** What counts as one prefix. Default 32. */
  readonly ipv4PrefixLength?: number;
  /** Default 64: whoever has one address of a /64 has them all. */
  readonly ipv6PrefixLength?: number;
}

/** @throws RangeError that names the setting. */
export function checkQuotas(settings: QuotaSettings): QuotaSettings {
  for (const [name, value] of Object.entries(settings)) {
    if (!Number.isInteger(value) || value < 0) {
      throw new RangeError(`Cannot use ${value} for the quota ${name}: it must be a whole number from 0`);
    }
  }
  if ((settings.ipv4PrefixLength ?? 0) > 32 || (settings.ipv6PrefixLength ?? 0) > 128) {
    throw new RangeError("Cannot use these prefix lengths: at most 32 for IPv4, 128 for IPv6");
  }
  return settings;
}

/** The quotas that an allocation counts against; `user` is the user's own, if it isn't that of the settings. */
export function quotasFor(
  settings: QuotaSettings,
  who: { readonly actor: string; readonly client: IpAddress; readonly user: number | undefined },
): readonly Quota[] {
  const quotas: Quota[] = [];
  const user = who.user ?? settings.user;
  if (user !== undefined && user !== Infinity) quotas.push({ key: `user ${who.actor}`, limit: user });
  if (settings.addressPrefix !== undefined) {
    quotas.push({ key: `prefix ${prefixText(settings, who.client)}`, limit: settings.addressPrefix });
  }
  if (settings.total !== undefined) quotas.push({ key: "total", limit: settings.total });
  return quotas;
}

function prefixText(settings: QuotaSettings, client: IpAddress): string {
  // A proxy may name an IPv4 client by its IPv4-mapped address: all of those share one /64.
  const isMapped = client.w0 === 0 && client.w1 === 0 && client.w2 === 0xffff;
  const family = isMapped ? 4 : client.family;
  const length = family === 4 ? (settings.ipv4PrefixLength ?? 32) : (settings.ipv6PrefixLength ?? 64);
  const bits = family === 4 ? length + 96 : length;
  const word = (value: number, index: number): number => {
    const kept = Math.min(32, Math.max(0, bits - 32 * index));
    return kept === 0 ? 0 : value & (-1 << (32 - kept));
  };
  const { w0, w1, w2, w3 } = client;
  return `${formatIpAddress({ family, w0: word(w0, 0), w1: word(w1, 1), w2: word(w2, 2), w3: word(w3, 3) })}/${length}`;
}
