import type { Output } from "@turnpike/turn";
import type { TransportAddress } from "@turnpike/stun";
import {
  BpfMap,
  hop,
  type HookName,
  loadSystem,
  OUTCOMES,
  Program,
  relayProgram,
  route,
  routeEntries,
  routeKey,
  scratch,
  state,
  TCX,
  type TestRun,
  XDP,
} from "@turnpike/xdp";

type ChannelBound = Extract<Output, { kind: "channelBound" }>;

const CHANNELS = 64;
const MTU_WORD = 1500n << 48n;
/** Test runs come in by the loopback interface. */
const INTERFACE = 1;

/** Addresses on the link: the relay's own, and that of the next hop to everybody. */
export const RELAY_LINK = Uint8Array.of(2, 0, 0, 0, 0, 1);
export const NEXT_LINK = Uint8Array.of(2, 0, 0, 0, 0, 2);

/** The program and its maps, attached to nothing: packets are handed to it by BPF_PROG_TEST_RUN. */
export class KernelPath {
  readonly hook: HookName;
  readonly #maps: Readonly<Record<"routes" | "states" | "hops" | "outcomes" | "scratch", BpfMap>>;
  readonly #program: Program;
  readonly #states: BigUint64Array;
  readonly #hop: BigUint64Array;
  readonly #expiriesMs: { readonly slot: number; readonly expiresAtMs: number }[] = [];

  constructor(hook: HookName) {
    this.hook = hook;
    const system = loadSystem();
    const map = (
      kind: "hash" | "array" | "perCpuArray",
      name: string,
      sizes: readonly [number, number, number],
    ): BpfMap =>
      new BpfMap(system, {
        kind,
        name,
        keySize: sizes[0],
        valueSize: sizes[1],
        entries: sizes[2],
        mapped: kind === "array",
      });
    this.#maps = {
      routes: map("hash", "routes", [routeKey.size, route.size, 2 * CHANNELS]),
      states: map("array", "states", [4, state.size, CHANNELS]),
      hops: map("array", "hops", [4, hop.size, 1]),
      outcomes: map("perCpuArray", "outcomes", [4, 8, OUTCOMES]),
      scratch: map("perCpuArray", "scratch", [4, scratch.size, 1]),
    };
    this.#states = new BigUint64Array(this.#maps.states.memory());
    const hops = this.#maps.hops.memory();
    this.#hop = new BigUint64Array(hops);
    const bytes = new Uint8Array(hops);
    bytes.set(NEXT_LINK, hop.field.destination.offset);
    bytes.set(RELAY_LINK, hop.field.source.offset);
    new DataView(hops).setUint32(hop.field.interface.offset, INTERFACE, true);
    this.#hop[0] = ((this.#hop[0] ?? 0n) & 0xffff_ffff_ffffn) | MTU_WORD;
    const { routes, states, hops: hopMap, outcomes } = this.#maps;
    this.#program = new Program(system, {
      name: "differential",
      hook,
      assembled: relayProgram({
        maps: {
          routes: routes.descriptor,
          states: states.descriptor,
          hops: hopMap.descriptor,
          outcomes: outcomes.descriptor,
        },
        linkAddress: RELAY_LINK,
        ...(hook === "tcx" && { tcx: { scratch: this.#maps.scratch.descriptor } }),
      }),
    });
  }

  /** Takes a channel over as the engine announced it. */
  bind(bound: ChannelBound, addresses: { readonly listener: TransportAddress; readonly hairpin: boolean }): void {
    const slot = this.#expiriesMs.length;
    this.#expiriesMs.push({ slot, expiresAtMs: bound.expiresAtMs });
    const { channel, client, relayed, peer } = bound;
    const { toPeer, toClient } = routeEntries(
      { channel, client, listener: addresses.listener, relay: relayed, peer, hairpin: addresses.hairpin },
      { slot, hopToPeer: 0, hopToClient: 0 },
    );
    for (const { key, value } of [toPeer, toClient]) {
      const errno = this.#maps.routes.set(key, value);
      if (errno !== 0) throw new Error(`Refused with error ${errno}`);
    }
  }

  /** Sets the clock: at `monotonicMs` of the engine, channels have so long to live in the kernel. */
  setClock(monotonicMs: number): void {
    const nowNs = process.hrtime.bigint();
    for (const { slot, expiresAtMs } of this.#expiriesMs) {
      const leftMs = expiresAtMs - monotonicMs;
      this.#states[(slot * state.size) / 8] = nowNs + BigInt(Math.round(leftMs)) * 1_000_000n;
    }
  }

  run(packet: Uint8Array, context?: Uint8Array): TestRun {
    return this.#program.testRun(packet, context === undefined ? {} : { context });
  }

  /** What a verdict means: any other is one that the program must not give. */
  meaning({ verdict }: TestRun): "sent" | "left" | undefined {
    const [sent, left] = this.hook === "xdp" ? [XDP.transmit, XDP.pass] : [TCX.redirect, TCX.next];
    return new Map<number, "sent" | "left">([
      [sent, "sent"],
      [left, "left"],
    ]).get(verdict);
  }

  /** What all channels have counted. */
  counts(): {
    readonly packetsToPeer: number;
    readonly bytesToPeer: number;
    readonly packetsToClient: number;
    readonly bytesToClient: number;
  } {
    const sum = { packetsToPeer: 0, bytesToPeer: 0, packetsToClient: 0, bytesToClient: 0 };
    for (const { slot } of this.#expiriesMs) {
      for (const name of ["packetsToPeer", "bytesToPeer", "packetsToClient", "bytesToClient"] as const) {
        sum[name] += Number(this.#states[(slot * state.size + state.field[name].offset) / 8] ?? 0n);
      }
    }
    return sum;
  }

  /** Voids or restores the next hop. */
  setHop(known: boolean): void {
    const link = NEXT_LINK.reduceRight((word, byte) => (word << 8n) | BigInt(byte), 0n);
    this.#hop[0] = known ? link | MTU_WORD : 0n;
  }

  close(): void {
    this.#program.close();
    for (const map of Object.values(this.#maps)) map.close();
  }
}
