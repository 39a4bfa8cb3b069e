import { randomBytes } from "node:crypto";
import {
  type ForwardingPlane,
  HairpinMap,
  type Opened,
  PortLeases,
  PortTable,
  Reactor,
  RelaySockets,
  silentLogger,
} from "@turnpike/relay";
import { type TransportAddress, transportAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { createPeerPolicy, TurnServer } from "@turnpike/turn";
import { staticUsers } from "../../sim/support/authentication.ts";
import { VirtualClock } from "../../sim/support/clock.ts";
import { ALICE } from "../../support/relay.ts";

const ADDRESSES = ["127.0.0.1", "::1"];

/** One engine over a plane, real sockets and all, whose time stands still until it is moved. */
export class VirtualReactor {
  readonly #clock: VirtualClock;
  readonly #wakes: Set<Wake>;
  readonly #reactor: Reactor;
  readonly #listening: ReadonlyMap<4 | 6, TransportAddress>;

  /** Opens a listener on loopback of each family. The plane's owner stops it, after {@link stop}. */
  static async start(plane: ForwardingPlane): Promise<VirtualReactor> {
    const listening = new Map<4 | 6, TransportAddress>();
    for (const [id, address] of ADDRESSES.entries()) {
      const opened = await new Promise<Opened>((done) => plane.openListener(id, transportAddress(address, 0), done));
      if (opened.kind !== "opened") throw new Error(`Cannot listen on ${address}: ${opened.code}`);
      listening.set(opened.local.family, opened.local);
    }
    return new VirtualReactor(plane, listening);
  }

  private constructor(plane: ForwardingPlane, listening: ReadonlyMap<4 | 6, TransportAddress>) {
    this.#listening = listening;
    const now = new VirtualClock();
    const wakes = new Set<Wake>();
    this.#clock = now;
    this.#wakes = wakes;
    const clock = {
      now: () => now,
      schedule(delayMs: number, run: () => void): () => void {
        const wake = { atMs: now.monotonicMs + delayMs, run };
        wakes.add(wake);
        return () => void wakes.delete(wake);
      },
    };
    const relayAddresses = ADDRESSES.map((address) => {
      const local = transportAddress(address, 0);
      return { local, relayed: local };
    });
    const hairpin = new HairpinMap({ relayAddresses, ownAddresses: [] });
    const randomInteger = (bound: number): number => randomBytes(4).readUInt32LE(0) % bound;
    const table = new PortTable({ range: { min: 49152, max: 65535 }, spaces: ADDRESSES.length });
    const engine = new TurnServer({
      crypto: nodeCrypto,
      random: (length) => randomBytes(length),
      realm: "turnpike",
      listeners: [...listening.values()].map((local, id) => ({ id, transport: "udp" as const, local })),
      authenticate: staticUsers({ [ALICE.username]: ALICE.password }),
      peerPolicy: createPeerPolicy({ allow: ["127.0.0.0/8", "::1"] }),
      hairpin,
      families: [4, 6],
      nonceKey: randomBytes(32),
      unauthenticatedBytesPerSecond: 1e9,
    });
    this.#reactor = new Reactor({
      engine,
      plane,
      relaySockets: new RelaySockets({
        plane,
        leases: new PortLeases({ table, reactor: 0, randomInteger }),
        addresses: relayAddresses,
        hairpin,
        logger: silentLogger,
        randomInteger,
        monotonicMs: () => now.monotonicMs,
      }),
      clock,
      logger: silentLogger,
      admit: () => ({ admitted: true }),
      release: () => {},
    });
    plane.start(this.#reactor);
  }

  /** Where it listens. */
  server(family: 4 | 6): TransportAddress {
    const local = this.#listening.get(family);
    if (local === undefined) throw new Error(`No listener of IPv${family}`);
    return local;
  }

  /** Errors that should not be. */
  get internalErrors(): number {
    return this.#reactor.internalErrors;
  }

  /** Moves the time, and wakes who waited for it, in order. */
  jump(seconds: number): void {
    const toMs = this.#clock.monotonicMs + seconds * 1000;
    for (;;) {
      const [next] = [...this.#wakes].filter(({ atMs }) => atMs <= toMs).toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#wakes.delete(next);
      this.#clock.advance(Math.max(0, next.atMs - this.#clock.monotonicMs));
      next.run();
    }
    this.#clock.advance(toMs - this.#clock.monotonicMs);
  }

  /** Ends every allocation. */
  stop(): void {
    this.#reactor.stop();
  }
}

interface Wake {
  readonly atMs: number;
  readonly run: () => void;
}
