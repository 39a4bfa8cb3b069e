import type { BpfMap } from "../kernel/bpf.ts";
import type { Link, Netlink } from "../kernel/netlink.ts";
import { hop } from "../program/layout.ts";
import { type Ip, ipKey, wireBytes } from "./endpoint.ts";

/** What it needs of {@link Netlink}. */
export type NextHopSource = Pick<Netlink, "linkByIndex" | "route" | "neighbour" | "useNeighbour" | "hasChanged">;

interface Destination {
  readonly key: string;
  readonly index: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  users: number;
  /** Of the way found at last. */
  link: number;
  neighbour: Uint8Array | undefined;
  mtu: number;
}

/**
 * The ways out that the program uses: one entry for each pair of addresses. An entry without a known neighbour, or
 * whose way leads through another interface than at first, is void, and its packets go up to the sockets, by which the
 * kernel finds the neighbour.
 */
export class NextHops {
  readonly #source: NextHopSource;
  readonly #links: ReadonlySet<number>;
  readonly #words: BigUint64Array;
  readonly #view: DataView;
  readonly #free: number[];
  readonly #known = new Map<string, Destination>();

  /** @param options.interfaces Indexes of the interfaces that packets may leave by. */
  constructor(options: {
    readonly source: NextHopSource;
    readonly map: Pick<BpfMap, "memory">;
    readonly entries: number;
    readonly interfaces: readonly number[];
  }) {
    this.#source = options.source;
    this.#links = new Set(options.interfaces);
    const memory = options.map.memory();
    this.#words = new BigUint64Array(memory);
    this.#view = new DataView(memory);
    this.#free = Array.from({ length: options.entries }, (_none, index) => options.entries - 1 - index);
  }

  /** The index of the entry for the way from `source` to `destination`; undefined if there is no room. */
  take(source: Ip, destination: Ip): number | undefined {
    const key = `${ipKey(source)}>${ipKey(destination)}`;
    const known = this.#known.get(key);
    if (known !== undefined) {
      known.users++;
      return known.index;
    }
    const index = this.#free.pop();
    if (index === undefined) return undefined;
    const fresh: Destination = {
      key,
      index,
      source: wireBytes(source),
      destination: wireBytes(destination),
      users: 1,
      link: 0,
      neighbour: undefined,
      mtu: 0,
    };
    this.#known.set(key, fresh);
    this.#words[this.#word(index)] = 0n;
    this.#view.setUint32(this.#word(index) * 8 + hop.field.interface.offset, 0, true);
    this.#findRoute(fresh);
    this.#findNeighbour(fresh, true);
    return index;
  }

  /** Gives an index back, once for each {@link take}. */
  release(source: Ip, destination: Ip): void {
    const known = this.#known.get(`${ipKey(source)}>${ipKey(destination)}`);
    if (known === undefined || --known.users > 0) return;
    this.#known.delete(known.key);
    this.#words[this.#word(known.index)] = 0n;
    this.#free.unshift(known.index);
  }

  /** Looks for changes; to be called every half second or so. */
  refresh(): void {
    const changed = this.#source.hasChanged();
    const used = new Set<string>();
    for (const each of this.#known.values()) {
      if (changed) this.#findRoute(each);
      const neighbour = `${each.link} ${each.neighbour?.join(".")}`;
      // What the kernel doesn't use itself, it wouldn't miss: one question for each neighbour keeps it known.
      this.#findNeighbour(each, !used.has(neighbour));
      used.add(neighbour);
    }
  }

  /** How many ways are known, and how many of them can't be used at the moment. */
  get counts(): { readonly known: number; readonly unusable: number } {
    let unusable = 0;
    for (const { index } of this.#known.values()) if (this.#words[this.#word(index)] === 0n) unusable++;
    return { known: this.#known.size, unusable };
  }

  #word(index: number): number {
    return (index * hop.size) / 8;
  }

  #findRoute(each: Destination): void {
    const route = this.#source.route(each.source, each.destination);
    const link = route === undefined ? undefined : this.#source.linkByIndex(route.interface);
    each.neighbour = undefined;
    if (route === undefined || link === undefined || !this.#links.has(link.index) || link.address.length !== 6) return;
    if (!this.#setInterface(each, link)) return;
    each.neighbour = route.neighbour;
    each.mtu = route.mtu === 0 ? link.mtu : Math.min(route.mtu, link.mtu);
  }

  /** The interface of an entry is written once, before it is valid: the program reads it beside the rest. */
  #setInterface(each: Destination, link: Link): boolean {
    if (each.link !== 0) return each.link === link.index;
    each.link = link.index;
    const start = this.#word(each.index) * 8;
    for (const [place, byte] of link.address.entries())
      this.#view.setUint8(start + hop.field.source.offset + place, byte);
    this.#view.setUint32(start + hop.field.interface.offset, link.index, true);
    return true;
  }

  #findNeighbour(each: Destination, use: boolean): void {
    let word = 0n;
    if (each.neighbour !== undefined) {
      if (use) this.#source.useNeighbour(each.link, each.neighbour);
      const address = this.#source.neighbour(each.link, each.neighbour);
      if (address?.length === 6) word = hopWord(address, each.mtu);
    }
    // One store: the program sees the old way or the new one.
    this.#words[this.#word(each.index)] = word;
  }
}

/** Link address and MTU as the program reads them. */
function hopWord(address: Uint8Array, mtu: number): bigint {
  const bytes = new DataView(new ArrayBuffer(8));
  for (const [place, byte] of address.entries()) bytes.setUint8(hop.field.destination.offset + place, byte);
  bytes.setUint16(hop.field.mtu.offset, Math.min(mtu, 0xffff), true);
  return bytes.getBigUint64(0, true);
}
