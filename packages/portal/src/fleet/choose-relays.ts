import { BlockList, isIPv4 } from "node:net";
import type { LinkedRelay } from "./fleet-state.ts";

/** What a choice goes by. */
export interface ChoiceOptions {
  /** How many at most. */
  readonly count: number;
  /** The client's address, as text. */
  readonly clientAddress?: string;
  /** Which region an address belongs to. */
  readonly regionOf?: (address: string) => string | undefined;
  /** At least 0, less than 1. */
  readonly random: () => number;
}

/** Loads that differ by less than this are the same: a report is seconds old when it is read. */
const LOAD_STEP = 0.05;

/**
 * The relays that a client is given: those of its region first, then by load; in random order among equals, so that
 * what is minted between two reports doesn't all go to one. Those that drain, or have no URL, are left out.
 */
export function chooseRelays(relays: readonly LinkedRelay[], options: ChoiceOptions): readonly LinkedRelay[] {
  const { clientAddress, regionOf, random } = options;
  const region = clientAddress === undefined ? undefined : regionOf?.(clientAddress);
  const keyOf = (relay: LinkedRelay): readonly [number, number, number] => [
    region !== undefined && relay.presence?.region === region ? 0 : 1,
    Math.floor((relay.presence?.load ?? 0.5) / LOAD_STEP),
    random(),
  ];
  return relays
    .filter((relay) => relay.presence?.draining !== true && relay.urls.length > 0)
    .map((relay) => ({ relay, key: keyOf(relay) }))
    .toSorted(({ key: a }, { key: b }) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2])
    .slice(0, options.count)
    .map(({ relay }) => relay);
}

/**
 * Regions by address prefix: `{ "192.0.2.0/24": "eu-west" }`. A prefix that stands before another wins.
 *
 * @throws TypeError if a prefix can't be read
 */
export function regionsByPrefix(regions: Readonly<Record<string, string>>): (address: string) => string | undefined {
  const lists = Object.entries(regions).map(([prefix, region]) => {
    const list = new BlockList();
    const [address = "", length = ""] = prefix.split("/");
    try {
      list.addSubnet(address, /^\d+$/.test(length) ? Number(length) : NaN, isIPv4(address) ? "ipv4" : "ipv6");
    } catch {
      throw new TypeError(`Cannot use "${prefix}" as an address prefix: write it as 192.0.2.0/24 or 2001:db8::/32`);
    }
    return { list, region };
  });
  return (address) => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
    const family = isIPv4(plain) ? "ipv4" : "ipv6";
    return lists.find(({ list }) => list.check(plain, family))?.region;
  };
}
