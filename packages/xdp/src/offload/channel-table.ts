import type { BpfMap } from "../kernel/bpf.ts";
import { state } from "../program/layout.ts";
import type { NextHops } from "./next-hops.ts";
import { type ChannelRoute, routeEntries } from "./routes.ts";

/** What a channel has relayed in the kernel. Bytes are payload. */
export interface ChannelCounts {
  readonly packetsToPeer: number;
  readonly bytesToPeer: number;
  readonly packetsToClient: number;
  readonly bytesToClient: number;
}

interface Bound {
  readonly channel: ChannelRoute;
  readonly keys: readonly [Uint8Array, Uint8Array];
  readonly slot: number;
  /** What the slot's counts began with. */
  readonly counted: ChannelCounts;
}

/** A slot rests so many sweeps (half seconds) before it is another channel's: no program runs that long. */
const RESTING_SWEEPS = 2;

/** The channels in the kernel's maps. */
export class ChannelTable {
  readonly #routes: Pick<BpfMap, "set" | "delete">;
  readonly #hops: Pick<NextHops, "take" | "release">;
  readonly #states: BigUint64Array;
  readonly #warn: (fields: Readonly<Record<string, unknown>>, message: string) => void;
  readonly #bound = new Map<string, Bound>();
  readonly #free: number[];
  #resting: { readonly slot: number; sweeps: number }[] = [];
  /** Of channels that were given back. */
  #past: ChannelCounts = NOTHING;
  #refused = 0;
  #warned = false;

  constructor(options: {
    readonly routes: Pick<BpfMap, "set" | "delete">;
    readonly states: ArrayBuffer;
    readonly hops: Pick<NextHops, "take" | "release">;
    readonly maxChannels: number;
    readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void;
  }) {
    this.#routes = options.routes;
    this.#states = new BigUint64Array(options.states);
    this.#hops = options.hops;
    this.#warn = options.warn;
    this.#free = Array.from({ length: options.maxChannels }, (_none, index) => options.maxChannels - 1 - index);
  }

  get size(): number {
    return this.#bound.size;
  }

  /** Channels that could not be taken. */
  get refused(): number {
    return this.#refused;
  }

  /** What all channels have relayed, those that are gone included. */
  get traffic(): ChannelCounts {
    let sum = this.#past;
    for (const { slot, counted } of this.#bound.values()) sum = add(sum, subtract(this.#countsOf(slot), counted));
    return sum;
  }

  bind(id: string, channel: ChannelRoute, expiresAtNs: bigint): boolean {
    const known = this.#bound.get(id);
    if (known !== undefined && sameRoute(known.channel, channel)) {
      this.#set(known.slot, "expiresAtNs", expiresAtNs);
      return true;
    }
    const counted = this.unbind(id) ?? NOTHING;
    const slot = this.#free.pop();
    if (slot === undefined) return this.#refuse("the kernel's table of channels is full");
    const hopToPeer = this.#hops.take(channel.relay, channel.peer);
    const hopToClient = this.#hops.take(channel.listener, channel.client);
    const release = (reason: string): false => {
      if (hopToPeer !== undefined) this.#hops.release(channel.relay, channel.peer);
      if (hopToClient !== undefined) this.#hops.release(channel.listener, channel.client);
      this.#free.push(slot);
      return this.#refuse(reason);
    };
    if (hopToPeer === undefined || hopToClient === undefined) return release("the kernel's table of hops is full");
    for (const name of COUNTS) this.#set(slot, name, BigInt(counted[name]));
    this.#set(slot, "expiresAtNs", expiresAtNs);
    const { toPeer, toClient } = routeEntries(channel, { slot, hopToPeer, hopToClient });
    const errno = this.#routes.set(toPeer.key, toPeer.value);
    if (errno !== 0) return release(`the kernel refused it with error ${errno}`);
    const errnoBack = this.#routes.set(toClient.key, toClient.value);
    if (errnoBack !== 0) {
      this.#routes.delete(toPeer.key);
      return release(`the kernel refused it with error ${errnoBack}`);
    }
    this.#bound.set(id, { channel, keys: [toPeer.key, toClient.key], slot, counted });
    return true;
  }

  unbind(id: string): ChannelCounts | undefined {
    const known = this.#bound.get(id);
    if (known === undefined) return undefined;
    const { channel, keys, slot, counted } = known;
    this.#set(slot, "expiresAtNs", 0n);
    for (const key of keys) this.#routes.delete(key);
    this.#bound.delete(id);
    this.#hops.release(channel.relay, channel.peer);
    this.#hops.release(channel.listener, channel.client);
    this.#resting.push({ slot, sweeps: 0 });
    const counts = this.#countsOf(slot);
    this.#past = add(this.#past, subtract(counts, counted));
    return counts;
  }

  counts(id: string): ChannelCounts | undefined {
    const known = this.#bound.get(id);
    return known === undefined ? undefined : this.#countsOf(known.slot);
  }

  /** Lets slots rest. */
  sweep(): void {
    this.#resting = this.#resting.filter((each) => {
      if (++each.sweeps <= RESTING_SWEEPS) return true;
      this.#free.push(each.slot);
      return false;
    });
    this.#warned = false;
  }

  #refuse(reason: string): false {
    this.#refused++;
    if (!this.#warned) {
      this.#warned = true;
      this.#warn({ reason, channels: this.size }, "A channel is relayed through the sockets, not in the kernel");
    }
    return false;
  }

  #countsOf(slot: number): ChannelCounts {
    return combine((name) => Number(this.#states[place(slot, name)] ?? 0n));
  }

  #set(slot: number, name: keyof typeof state.field, value: bigint): void {
    this.#states[place(slot, name)] = value;
  }
}

const COUNTS = ["packetsToPeer", "bytesToPeer", "packetsToClient", "bytesToClient"] as const;
const NOTHING: ChannelCounts = { packetsToPeer: 0, bytesToPeer: 0, packetsToClient: 0, bytesToClient: 0 };

function add(a: ChannelCounts, b: ChannelCounts): ChannelCounts {
  return combine((name) => a[name] + b[name]);
}

function subtract(a: ChannelCounts, b: ChannelCounts): ChannelCounts {
  return combine((name) => a[name] - b[name]);
}

function combine(value: (name: keyof ChannelCounts) => number): ChannelCounts {
  const counts = { packetsToPeer: 0, bytesToPeer: 0, packetsToClient: 0, bytesToClient: 0 };
  for (const name of COUNTS) counts[name] = value(name);
  return counts;
}

function place(slot: number, name: keyof typeof state.field): number {
  return (slot * state.size + state.field[name].offset) / 8;
}

function sameRoute(a: ChannelRoute, b: ChannelRoute): boolean {
  const describe = (route: ChannelRoute): string =>
    [route.client, route.listener, route.relay, route.peer]
      .flatMap(({ w0, w1, w2, w3, port }) => [w0 | 0, w1 | 0, w2 | 0, w3 | 0, port])
      .concat(route.channel, Number(route.hairpin))
      .join();
  return describe(a) === describe(b);
}
