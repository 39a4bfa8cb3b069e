import { BLOCK_PORTS, MAX_REACTOR, type PortTable } from "./port-table.ts";

/** What a port must be: any, even (EVEN-PORT with R=0), or even with the next one (R=1; RFC 8656 §7.2). */
export type PortWish = "any" | "even" | "evenPair";

/** What {@link PortLeases} is made with. */
export interface PortLeasesOptions {
  readonly table: PortTable;
  /** Which reactor leases, 0–254. */
  readonly reactor: number;
  /** A uniformly distributed integer from 0 to `bound - 1`, unpredictable to others. */
  readonly randomInteger: (bound: number) => number;
  /** How long a port that another process uses is left alone, in milliseconds. Default 60,000. */
  readonly setAsideMs?: number;
}

/**
 * The relay ports of one reactor. It leases blocks of 64 ports from the {@link PortTable} as it needs them and ends a
 * lease when the last port of the block comes back. Ports are tried in a random permutation (RFC 6056 §3.3 gives the
 * reason: nobody should guess the next one), each at most once: a look-up ends after the range, however full it is.
 * When no block is left to lease, single free ports of other reactors' blocks are taken, so that `undefined` means
 * that the range is used up.
 */
export class PortLeases {
  readonly #table: PortTable;
  readonly #reactor: number;
  readonly #randomInteger: (bound: number) => number;
  readonly #setAsideMs: number;
  readonly #firstBlock: number;
  readonly #blocks: number;
  /** The smallest prime that is not below the number of blocks: each stride below it visits every block once. */
  readonly #prime: number;
  /** Ports that this reactor holds, for each space and block. */
  readonly #held: Uint8Array;
  /** Ports that could not be bound, by space and port, and until when; soonest first. */
  readonly #setAside = new Map<number, number>();
  #inUse = 0;

  /** @throws RangeError if `reactor` is not between 0 and 254. */
  constructor(options: PortLeasesOptions) {
    this.#table = options.table;
    this.#reactor = options.reactor;
    if (!Number.isInteger(this.#reactor) || this.#reactor < 0 || this.#reactor > MAX_REACTOR) {
      throw new RangeError(`Cannot lease ports to reactor ${this.#reactor}: not between 0 and ${MAX_REACTOR}`);
    }
    this.#randomInteger = options.randomInteger;
    this.#setAsideMs = options.setAsideMs ?? 60_000;
    const { min, max } = options.table.range;
    this.#firstBlock = Math.floor(min / BLOCK_PORTS);
    this.#blocks = Math.floor(max / BLOCK_PORTS) - this.#firstBlock + 1;
    this.#prime = primeFrom(this.#blocks);
    this.#held = new Uint8Array(options.table.spaces * this.#blocks);
  }

  /** Which reactor leases. */
  get reactor(): number {
    return this.#reactor;
  }

  /** Ports taken and not yet given back, set-aside ones not counted. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Ports that wait for another process to leave them. */
  get setAsideCount(): number {
    return this.#setAside.size;
  }

  /**
   * Takes a port (for `evenPair`: this one and the next). `undefined` only if no free port of the range fits.
   *
   * @param nowMs monotonic milliseconds; set-aside ports come back by it.
   * @param tried numbers of blocks ({@link blockOf}) that are looked at after all others.
   */
  take(space: number, wish: PortWish, nowMs: number, tried: ReadonlySet<number> = NONE): number | undefined {
    this.#returnSetAside(nowMs);
    const port = this.#search(space, wish, true, tried) ?? this.#search(space, wish, false, tried);
    return port === undefined && tried.size > 0 ? this.take(space, wish, nowMs) : port;
  }

  /** Gives a port back. Of a pair each port comes back alone. False if it was not taken. */
  giveBack(space: number, port: number): boolean {
    if (!this.#isTaken(space, port)) {
      return false;
    }
    this.#inUse--;
    this.#release(space, port);
    return true;
  }

  /** Passes a taken port on to another reactor, which must {@link accept} it. False if it was not taken. */
  passTo(space: number, port: number, reactor: number): boolean {
    if (!this.#isTaken(space, port)) return false;
    this.#table.pass(space, port, this.#reactor, reactor);
    const block = blockOf(port);
    this.#held[this.#heldIndex(space, block)]! -= 1;
    this.#inUse--;
    this.#endLeaseIfUnused(space, block);
    return true;
  }

  /** Takes a port over that another reactor has passed on to this one. False if it has not. */
  accept(space: number, port: number): boolean {
    if (!this.#table.isHeldBy(space, port, this.#reactor)) return false;
    this.#held[this.#heldIndex(space, blockOf(port))]! += 1;
    this.#inUse++;
    return true;
  }

  /** Leaves a taken port alone for a while, since it could not be bound. False if it was not taken. */
  setAside(space: number, port: number, nowMs: number): boolean {
    if (!this.#isTaken(space, port)) {
      return false;
    }
    this.#inUse--;
    this.#setAside.set(portKey(space, port), nowMs + this.#setAsideMs);
    return true;
  }

  #isTaken(space: number, port: number): boolean {
    return this.#table.isHeldBy(space, port, this.#reactor) && !this.#setAside.has(portKey(space, port));
  }

  #returnSetAside(nowMs: number): void {
    for (const [key, untilMs] of this.#setAside) {
      if (untilMs > nowMs) {
        return;
      }
      this.#setAside.delete(key);
      this.#release(Math.floor(key / 65536), key % 65536);
    }
  }

  /** Visits each block once, in random order; `leased`: only blocks that are, or can become, this reactor's. */
  #search(space: number, wish: PortWish, leased: boolean, tried: ReadonlySet<number>): number | undefined {
    const prime = this.#prime;
    let index = this.#randomInteger(prime);
    const stride = 1 + this.#randomInteger(prime - 1);
    for (let visited = 0; visited < prime; visited++) {
      if (index < this.#blocks && !tried.has(this.#firstBlock + index)) {
        const port = this.#searchBlock(space, this.#firstBlock + index, wish, leased);
        if (port !== undefined) {
          return port;
        }
      }
      index = (index + stride) % prime;
    }
    return undefined;
  }

  #searchBlock(space: number, block: number, wish: PortWish, leased: boolean): number | undefined {
    if (this.#held[this.#heldIndex(space, block)] === BLOCK_PORTS) {
      return undefined;
    }
    if (leased && !this.#table.lease(space, block, this.#reactor)) {
      return undefined;
    }
    // An odd stride visits each slot of a power of two once.
    const step = wish === "any" ? 1 : 2;
    const slots = BLOCK_PORTS / step;
    let slot = this.#randomInteger(slots);
    const stride = 1 + 2 * this.#randomInteger(slots / 2);
    for (let visited = 0; visited < slots; visited++) {
      const port = block * BLOCK_PORTS + slot * step;
      if (wish === "evenPair" ? this.#takePair(space, port) : this.#takeOne(space, port)) {
        this.#inUse += wish === "evenPair" ? 2 : 1;
        return port;
      }
      slot = (slot + stride) % slots;
    }
    this.#endLeaseIfUnused(space, block);
    return undefined;
  }

  #takePair(space: number, port: number): boolean {
    if (!this.#takeOne(space, port)) {
      return false;
    }
    if (this.#takeOne(space, port + 1)) {
      return true;
    }
    this.#putBack(space, port);
    return false;
  }

  #takeOne(space: number, port: number): boolean {
    const { min, max } = this.#table.range;
    if (port < min || port > max || !this.#table.take(space, port, this.#reactor)) {
      return false;
    }
    this.#held[this.#heldIndex(space, blockOf(port))]! += 1;
    return true;
  }

  #putBack(space: number, port: number): void {
    this.#table.giveBack(space, port, this.#reactor);
    this.#held[this.#heldIndex(space, blockOf(port))]! -= 1;
  }

  #release(space: number, port: number): void {
    this.#putBack(space, port);
    this.#endLeaseIfUnused(space, blockOf(port));
  }

  #endLeaseIfUnused(space: number, block: number): void {
    if (this.#held[this.#heldIndex(space, block)] === 0) {
      this.#table.endLease(space, block, this.#reactor);
    }
  }

  #heldIndex(space: number, block: number): number {
    return space * this.#blocks + block - this.#firstBlock;
  }
}

const NONE: ReadonlySet<number> = new Set();

/** The number of the block that a port belongs to. */
export function blockOf(port: number): number {
  return Math.floor(port / BLOCK_PORTS);
}

function portKey(space: number, port: number): number {
  return space * 65536 + port;
}

/** The smallest prime that is not below `from`. */
function primeFrom(from: number): number {
  let candidate = Math.max(2, from);
  while (!isPrime(candidate)) {
    candidate++;
  }
  return candidate;
}

function isPrime(value: number): boolean {
  for (let divisor = 2; divisor * divisor <= value; divisor++) {
    if (value % divisor === 0) {
      return false;
    }
  }
  return true;
}
