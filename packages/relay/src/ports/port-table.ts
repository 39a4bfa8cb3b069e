import { createPortRange, type PortRange } from "./port-range.ts";

/** Ports of a block: they are leased together, and a pair (RFC 8656 §7.2, EVEN-PORT with R=1) never spans two. */
export const BLOCK_PORTS = 64;

const PORTS = 65536;
const BLOCKS = PORTS / BLOCK_PORTS;

/** The highest reactor number that a {@link PortTable} can name. */
export const MAX_REACTOR = 254;

/** What {@link PortTable} is made with. */
export interface PortTableOptions {
  readonly range: PortRange;
  /**
   * How many port spaces there are: one for each relay address and transport, since the same port number is another
   * port on another address.
   */
  readonly spaces: number;
  /** The memory of another reactor's table ({@link PortTable.memory}), to share it. Default: fresh memory. */
  readonly memory?: SharedArrayBuffer;
}

/**
 * Which reactor holds which port, and which block is leased to whom: one byte each, in memory that all reactors of a
 * relay share. Every change is one atomic compare-and-exchange, so that reactors need neither locks nor messages.
 */
export class PortTable {
  readonly range: PortRange;
  readonly spaces: number;
  /** Give it to another thread's `PortTable` with the same range and spaces. */
  readonly memory: SharedArrayBuffer;
  /** For each space and port: 0 (free) or 1 + the reactor that holds it. */
  readonly #holders: Uint8Array;
  /** For each space and block: 0 (free) or 1 + the reactor that it is leased to. */
  readonly #lessees: Uint8Array;

  /** @throws RangeError for a wrong range, no space, or memory of another size. */
  constructor(options: PortTableOptions) {
    this.range = createPortRange(options.range);
    this.spaces = options.spaces;
    if (!Number.isInteger(this.spaces) || this.spaces < 1) {
      throw new RangeError(`Cannot make a port table: ${this.spaces} port spaces`);
    }
    const size = this.spaces * (PORTS + BLOCKS);
    this.memory = options.memory ?? new SharedArrayBuffer(size);
    if (this.memory.byteLength !== size) {
      throw new RangeError(`Cannot share a port table of ${this.memory.byteLength} bytes: ${size} are needed`);
    }
    this.#holders = new Uint8Array(this.memory, 0, this.spaces * PORTS);
    this.#lessees = new Uint8Array(this.memory, this.spaces * PORTS);
  }

  /** Takes a free port for a reactor. False if somebody holds it. */
  take(space: number, port: number, reactor: number): boolean {
    return Atomics.compareExchange(this.#holders, space * PORTS + port, 0, reactor + 1) === 0;
  }

  /** Gives a port back. False if the reactor does not hold it. */
  giveBack(space: number, port: number, reactor: number): boolean {
    return Atomics.compareExchange(this.#holders, space * PORTS + port, reactor + 1, 0) === reactor + 1;
  }

  /** Passes a port on, without its being free in between. False if `from` does not hold it. */
  pass(space: number, port: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#holders, space * PORTS + port, from + 1, to + 1) === from + 1;
  }

  /** Whether a reactor holds a port. */
  isHeldBy(space: number, port: number, reactor: number): boolean {
    return Atomics.load(this.#holders, space * PORTS + port) === reactor + 1;
  }

  /** Leases a free block to a reactor. True if it is leased to that reactor afterwards. */
  lease(space: number, block: number, reactor: number): boolean {
    const was = Atomics.compareExchange(this.#lessees, space * BLOCKS + block, 0, reactor + 1);
    return was === 0 || was === reactor + 1;
  }

  /** Ends a lease. Ports of the block that are held stay held. */
  endLease(space: number, block: number, reactor: number): void {
    Atomics.compareExchange(this.#lessees, space * BLOCKS + block, reactor + 1, 0);
  }

  /** The reactor that a block is leased to, or undefined. */
  lessee(space: number, block: number): number | undefined {
    const value = Atomics.load(this.#lessees, space * BLOCKS + block);
    return value === 0 ? undefined : value - 1;
  }

  /** Frees everything that a reactor holds, e.g. after its thread died. */
  clear(reactor: number): void {
    for (let index = 0; index < this.#holders.length; index++) {
      Atomics.compareExchange(this.#holders, index, reactor + 1, 0);
    }
    for (let index = 0; index < this.#lessees.length; index++) {
      Atomics.compareExchange(this.#lessees, index, reactor + 1, 0);
    }
  }
}
