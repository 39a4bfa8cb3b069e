import { AddressRegister, type TransportAddress } from "@turnpike/stun";
import type { AllocationDescription, LifecycleEvent, Listener, Output, Totals } from "@turnpike/turn";
import type { ChannelCounts, ChannelRoute } from "@turnpike/xdp";
import type { HairpinMap } from "../addresses/hairpin-map.ts";

/** What the engine says of a channel: it may be taken over, or must be given back. */
export type ChannelOutput = Extract<Output, { kind: "channelBound" | "channelUnbound" }>;

/** What relays channels beside the sockets: `ChannelOffload` of `@turnpike/xdp`. */
export interface Offload {
  bind(id: string, channel: ChannelRoute, expiresAtNs: bigint): boolean;
  unbind(id: string): ChannelCounts | undefined;
  counts(id: string): ChannelCounts | undefined;
}

/** What {@link KernelChannels} is made with. */
export interface KernelChannelsOptions {
  readonly offload: Offload;
  readonly listeners: readonly Listener[];
  readonly hairpin: HairpinMap;
  /** Whether somebody takes events: else nothing is added up for them. */
  readonly events: boolean;
  /** CLOCK_MONOTONIC in nanoseconds, the clock that the reactors' milliseconds are of. Default `process.hrtime.bigint`. */
  readonly monotonicNs?: () => bigint;
}

interface AllocationTraffic {
  /** Of channels that are gone. */
  packetsToPeers: number;
  bytesToPeers: number;
  packetsFromPeers: number;
  bytesFromPeers: number;
  readonly channels: Set<string>;
}

/**
 * Hands the channels of all reactors to the offload, and adds what it relayed to the totals of their allocations: the
 * engines see none of it.
 */
export class KernelChannels {
  readonly #offload: Offload;
  readonly #listeners: ReadonlyMap<number, Listener>;
  readonly #hairpin: HairpinMap;
  readonly #events: boolean;
  readonly #monotonicNs: () => bigint;
  readonly #allocations = new Map<string, AllocationTraffic>();
  readonly #local = new AddressRegister();

  constructor(options: KernelChannelsOptions) {
    this.#offload = options.offload;
    this.#listeners = new Map(options.listeners.map((listener) => [listener.id, listener]));
    this.#hairpin = options.hairpin;
    this.#events = options.events;
    this.#monotonicNs = options.monotonicNs ?? (() => process.hrtime.bigint());
  }

  /** What a reactor's engine said. */
  handle(reactor: number, output: ChannelOutput): void {
    const allocationId = `${reactor}-${output.allocation}`;
    const id = `${allocationId}-${output.channel}`;
    if (output.kind === "channelUnbound") return this.#unbind(allocationId, id);
    const listener = this.#listeners.get(output.listener);
    if (listener?.transport !== "udp") return;
    const route: ChannelRoute = {
      channel: output.channel,
      client: output.client,
      listener: listener.local,
      relay: this.#localOf(output.relayed),
      peer: output.peer,
      hairpin: this.#hairpin.isOwn(output.peer),
    };
    const taken = this.#offload.bind(id, route, this.#deadline(output.expiresAtMs));
    if (taken) this.#trafficOf(allocationId).channels.add(id);
  }

  /** A reactor died, and its allocations with it. To be called before their deletion is told. */
  forget(reactor: number): void {
    for (const [allocationId, { channels }] of this.#allocations) {
      if (!allocationId.startsWith(`${reactor}-`)) continue;
      for (const id of channels) this.#unbind(allocationId, id);
    }
  }

  /** The event, with what the kernel relayed in its totals. */
  complete(event: LifecycleEvent): LifecycleEvent {
    if (event.type !== "trafficReport" && event.type !== "allocationDeleted") return event;
    const totals = this.#totals(event.context.allocationId, event.totals);
    if (event.type === "allocationDeleted") this.#allocations.delete(event.context.allocationId);
    return { ...event, totals };
  }

  /** The allocation as a reactor described it, with what the kernel relayed in its totals. */
  describe(allocation: AllocationDescription): AllocationDescription {
    return { ...allocation, totals: this.#totals(allocation.context.allocationId, allocation.totals) };
  }

  #totals(allocationId: string, engine: Totals): Totals {
    const traffic = this.#allocations.get(allocationId);
    if (traffic === undefined) return engine;
    let totals = add(engine, traffic);
    for (const id of traffic.channels) {
      const counts = this.#offload.counts(id);
      if (counts !== undefined) totals = add(totals, trafficOfChannel(counts));
    }
    return totals;
  }

  #unbind(allocationId: string, id: string): void {
    const counts = this.#offload.unbind(id);
    if (counts === undefined) return;
    const traffic = this.#trafficOf(allocationId);
    traffic.channels.delete(id);
    Object.assign(traffic, sum(traffic, trafficOfChannel(counts)));
    // Without events nobody asks for the sum, nor tells when the allocation is gone.
    if (!this.#events && traffic.channels.size === 0) this.#allocations.delete(allocationId);
  }

  #trafficOf(allocationId: string): AllocationTraffic {
    const known = this.#allocations.get(allocationId);
    if (known !== undefined) return known;
    const fresh: AllocationTraffic = { ...NOTHING, channels: new Set() };
    this.#allocations.set(allocationId, fresh);
    return fresh;
  }

  #localOf(relayed: TransportAddress): TransportAddress {
    if (!this.#hairpin.toLocal(relayed, this.#local)) return relayed;
    const { family, w0, w1, w2, w3, port } = this.#local;
    return { family, w0, w1, w2, w3, port };
  }

  /** Reactors tell time in milliseconds of the same clock. */
  #deadline(expiresAtMs: number): bigint {
    const nowNs = this.#monotonicNs();
    const leftMs = expiresAtMs - Number(nowNs) / 1e6;
    return nowNs + BigInt(Math.trunc(leftMs * 1e6));
  }
}

type Traffic = Omit<AllocationTraffic, "channels">;
const NOTHING: Traffic = { packetsToPeers: 0, bytesToPeers: 0, packetsFromPeers: 0, bytesFromPeers: 0 };

function trafficOfChannel(counts: ChannelCounts): Traffic {
  return {
    packetsToPeers: counts.packetsToPeer,
    bytesToPeers: counts.bytesToPeer,
    packetsFromPeers: counts.packetsToClient,
    bytesFromPeers: counts.bytesToClient,
  };
}

function sum(a: Traffic, b: Traffic): Traffic {
  return {
    packetsToPeers: a.packetsToPeers + b.packetsToPeers,
    bytesToPeers: a.bytesToPeers + b.bytesToPeers,
    packetsFromPeers: a.packetsFromPeers + b.packetsFromPeers,
    bytesFromPeers: a.bytesFromPeers + b.bytesFromPeers,
  };
}

function add(totals: Totals, traffic: Traffic): Totals {
  return { ...totals, ...sum(totals, traffic) };
}
