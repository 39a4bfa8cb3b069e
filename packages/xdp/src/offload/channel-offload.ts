import { readdirSync, readFileSync } from "node:fs";
import { BpfMap, type HookName, hookOf, Program, XdpLink, type XdpMode } from "../kernel/bpf.ts";
import { type Link, Netlink } from "../kernel/netlink.ts";
import { type System, XdpError } from "../kernel/system.ts";
import { hop, OUTCOME, type Outcome, OUTCOMES, route, routeKey, scratch, state } from "../program/layout.ts";
import { relayProgram } from "../program/relay-program.ts";
import { ChannelTable, type ChannelCounts } from "./channel-table.ts";
import { NextHops } from "./next-hops.ts";
import type { ChannelRoute } from "./routes.ts";

/** What {@link ChannelOffload} is made with. */
export interface ChannelOffloadOptions {
  readonly system: System;
  /** Interfaces whose packets are relayed in the kernel, e.g. `eth0`. */
  readonly interfaces: readonly string[];
  /**
   * How to attach, in order of preference. Default: native, else TCX, else generic; on veth interfaces not native, as
   * they lose what is sent natively unless their other end has an XDP program too.
   */
  readonly modes?: readonly XdpMode[];
  /** Channels that the kernel's tables hold; what is beyond goes through the sockets. Default 16,384. */
  readonly maxChannels?: number;
  /** Something that somebody should look at. */
  readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void;
}

/** A program on an interface. */
export interface InterfaceStatus {
  readonly name: string;
  readonly mode: XdpMode;
  /** False after somebody took the program off, or the interface went away. */
  readonly attached: boolean;
  /** The program's number, as `bpftool prog` shows it. */
  readonly program: number;
}

/** A map of the programs. */
export interface MapStatus {
  readonly name: string;
  /** As `bpftool map` shows it. */
  readonly id: number;
  readonly used: number;
  readonly entries: number;
}

/** What the offload is doing. */
export interface OffloadStatus {
  readonly interfaces: readonly InterfaceStatus[];
  readonly maps: readonly MapStatus[];
  readonly channels: number;
  readonly maxChannels: number;
  /** Channels that were left to the sockets since a table was full or refused them. */
  readonly refused: number;
  readonly hops: { readonly known: number; readonly unusable: number };
  /** What all channels have relayed since the start. */
  readonly traffic: ChannelCounts;
  /** Packets, by what became of them. */
  readonly outcomes: Readonly<Record<Outcome, number>>;
}

const DEFAULT_MAX_CHANNELS = 16_384;

/**
 * Relays channels in the kernel, beside the sockets: what it isn't told, can't do or gets wrong goes up to them.
 * Driven by {@link bind} and {@link unbind} alone, and by {@link refresh} every half second.
 */
export class ChannelOffload {
  readonly #options: ChannelOffloadOptions;
  readonly #netlink: Netlink;
  readonly #maps: Readonly<Record<"routes" | "states" | "hops" | "outcomes", BpfMap>>;
  /** Of TCX programs alone. */
  #scratch: BpfMap | undefined;
  readonly #attached: { readonly name: string; readonly link: XdpLink; readonly program: Program; lost: boolean }[] =
    [];
  readonly #hops: NextHops;
  readonly #table: ChannelTable;
  readonly #cpus = possibleCpus();
  /** The last status, once it is closed: its descriptors are others' then. */
  #closed: OffloadStatus | undefined;
  #partialChecksums = 0;

  /**
   * Loads the program and attaches it.
   *
   * @throws {XdpError} if an interface doesn't exist or isn't Ethernet, or the kernel refuses.
   */
  constructor(options: ChannelOffloadOptions) {
    const { system } = options;
    this.#options = options;
    const maxChannels = options.maxChannels ?? DEFAULT_MAX_CHANNELS;
    this.#netlink = new Netlink(system);
    const links = options.interfaces.map((name) => this.#link(name));
    this.#maps = openMaps(system, maxChannels);
    this.#hops = new NextHops({
      source: this.#netlink,
      map: this.#maps.hops,
      entries: maxChannels * 2,
      interfaces: links.map(({ index }) => index),
    });
    this.#table = new ChannelTable({
      routes: this.#maps.routes,
      states: this.#maps.states.memory(),
      hops: this.#hops,
      maxChannels,
      warn: options.warn,
    });
    try {
      for (const link of links) this.#attach(link);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Takes a channel over, or prolongs it. `id` names it. False: it stays with the sockets.
   *
   * @param expiresAtNs On CLOCK_MONOTONIC, as `process.hrtime.bigint()` tells it.
   */
  bind(id: string, channel: ChannelRoute, expiresAtNs: bigint): boolean {
    return this.#closed === undefined && this.#table.bind(id, channel, expiresAtNs);
  }

  /** Gives a channel back to the sockets; what it has relayed, or undefined if it wasn't here. */
  unbind(id: string): ChannelCounts | undefined {
    return this.#closed === undefined ? this.#table.unbind(id) : undefined;
  }

  /** What a channel has relayed so far, or undefined if it isn't here. */
  counts(id: string): ChannelCounts | undefined {
    return this.#table.counts(id);
  }

  /** Follows routes and neighbours, and looks whether the programs are still attached. To be called every half second. */
  refresh(): void {
    if (this.#closed !== undefined) return;
    this.#hops.refresh();
    this.#table.sweep();
    for (const each of this.#attached) {
      if (each.lost || each.link.isAttached()) continue;
      each.lost = true;
      this.#options.warn(
        { interface: each.name },
        "The program was taken off the interface: channels are relayed through the sockets; restart to use it again",
      );
    }
    this.#warnOfPartialChecksums();
  }

  /** What it is doing; after {@link close}, what it has done. */
  status(): OffloadStatus {
    if (this.#closed !== undefined) return this.#closed;
    return {
      interfaces: this.#attached.map(({ name, link, program }) => ({
        name,
        mode: link.mode,
        attached: link.isAttached(),
        program: program.id,
      })),
      maps: this.#mapStatus(),
      channels: this.#table.size,
      maxChannels: this.#options.maxChannels ?? DEFAULT_MAX_CHANNELS,
      refused: this.#table.refused,
      hops: this.#hops.counts,
      traffic: this.#table.traffic,
      outcomes: this.#outcomes(),
    };
  }

  /** Detaches everything. From then on every packet goes through the sockets. */
  close(): void {
    if (this.#closed !== undefined) return;
    const status = this.status();
    this.#closed = { ...status, interfaces: status.interfaces.map((each) => ({ ...each, attached: false })) };
    for (const { link, program } of this.#attached) {
      link.close();
      program.close();
    }
    for (const map of [...Object.values(this.#maps), this.#scratch]) map?.close();
    this.#netlink.close();
  }

  #link(name: string): Link {
    const link = this.#netlink.link(name);
    if (link === undefined) {
      const there = readdirSync("/sys/class/net").toSorted().join(", ");
      throw new XdpError(`There is no interface ${name} (there are ${there})`, ENODEV);
    }
    if (link.address.length === 6 && link.address.some((byte) => byte !== 0)) return link;
    throw new XdpError(`Interface ${name} is not an Ethernet one: the kernel can't relay on it`, EINVAL);
  }

  #attach(link: Link): void {
    const { system, modes } = this.#options;
    const programs = new Map<HookName, Program>();
    try {
      const attached = new XdpLink(system, {
        program: (hook) => {
          const program = programs.get(hook) ?? this.#load(hook, link);
          programs.set(hook, program);
          return program;
        },
        interface: link.name,
        interfaceIndex: link.index,
        modes: modes ?? (link.kind === "veth" ? ["tcx", "generic"] : ["native", "tcx", "generic"]),
      });
      const hook = hookOf(attached.mode);
      const program = programs.get(hook);
      if (program === undefined) throw new TypeError(`No program of ${hook} was loaded`);
      this.#attached.push({ name: link.name, link: attached, program, lost: false });
      programs.delete(hook);
    } finally {
      for (const program of programs.values()) program.close();
    }
  }

  #load(hook: HookName, link: Link): Program {
    const { system } = this.#options;
    const maps = {
      routes: this.#maps.routes.descriptor,
      states: this.#maps.states.descriptor,
      hops: this.#maps.hops.descriptor,
      outcomes: this.#maps.outcomes.descriptor,
    };
    const options = { maps, linkAddress: link.address };
    if (hook === "xdp") return new Program(system, { name: PROGRAM_NAME, hook, assembled: relayProgram(options) });
    this.#scratch ??= openScratch(system);
    const tcx = { scratch: this.#scratch.descriptor };
    return new Program(system, { name: PROGRAM_NAME, hook, assembled: relayProgram({ ...options, tcx }) });
  }

  #mapStatus(): MapStatus[] {
    const { routes, states, hops, outcomes } = this.#maps;
    const { size } = this.#table;
    const scratches = this.#scratch === undefined ? [] : [{ map: this.#scratch, used: 1 }];
    return [
      { map: routes, used: 2 * size },
      { map: states, used: size },
      { map: hops, used: this.#hops.counts.known },
      { map: outcomes, used: OUTCOMES },
      ...scratches,
    ].map(({ map: { name, id, entries }, used }) => ({ name, id, used, entries }));
  }

  #outcomes(): Record<Outcome, number> {
    const outcomes: Record<Outcome, number> = { ...OUTCOME };
    for (const name of OUTCOME_NAMES) {
      outcomes[name] = 0;
      const values = this.#maps.outcomes.get(new Uint8Array(new Uint32Array([OUTCOME[name]]).buffer), this.#cpus);
      const view = new DataView(values.buffer, values.byteOffset, values.length);
      for (let cpu = 0; cpu < this.#cpus; cpu++) outcomes[name] += Number(view.getBigUint64(cpu * 8, true));
    }
    return outcomes;
  }

  #warnOfPartialChecksums(): void {
    const outcomes = this.#outcomes();
    const { partialChecksum } = outcomes;
    const grown = partialChecksum - this.#partialChecksums;
    this.#partialChecksums = partialChecksum;
    // One finished checksum in 65,536 looks unfinished.
    if (grown * 100 < outcomes.relayedToPeer + outcomes.relayedToClient || grown === 0) return;
    this.#options.warn(
      { packets: grown },
      "Packets come with unfinished checksums, from this machine's own virtual interfaces: they go through the sockets. " +
        "On the senders' interfaces, `ethtool --offload INTERFACE tx off` makes them whole; mode tcx relays them as they are",
    );
  }
}

const PROGRAM_NAME = "turnpike_relay";
const ENODEV = 19;
const EINVAL = 22;
const OUTCOME_NAMES = Object.keys(OUTCOME).filter((name): name is Outcome => name in OUTCOME);

function openMaps(system: System, maxChannels: number): Record<"routes" | "states" | "hops" | "outcomes", BpfMap> {
  return {
    routes: new BpfMap(system, {
      kind: "hash",
      name: "turn_routes",
      keySize: routeKey.size,
      valueSize: route.size,
      entries: maxChannels * 2,
    }),
    states: new BpfMap(system, {
      kind: "array",
      name: "turn_states",
      keySize: 4,
      valueSize: state.size,
      entries: maxChannels,
      mapped: true,
    }),
    hops: new BpfMap(system, {
      kind: "array",
      name: "turn_hops",
      keySize: 4,
      valueSize: hop.size,
      entries: maxChannels * 2,
      mapped: true,
    }),
    outcomes: new BpfMap(system, {
      kind: "perCpuArray",
      name: "turn_outcomes",
      keySize: 4,
      valueSize: 8,
      entries: OUTCOMES,
    }),
  };
}

function openScratch(system: System): BpfMap {
  return new BpfMap(system, {
    kind: "perCpuArray",
    name: "turn_scratch",
    keySize: 4,
    valueSize: scratch.size,
    entries: 1,
  });
}

/** CPUs that there may ever be: maps kept per CPU have a value for each. */
function possibleCpus(): number {
  const last = /(\d+)\s*$/.exec(readFileSync("/sys/devices/system/cpu/possible", "utf8"))?.[1];
  if (last === undefined) throw new XdpError("The kernel doesn't say how many CPUs there may be", EINVAL);
  return Number(last) + 1;
}
