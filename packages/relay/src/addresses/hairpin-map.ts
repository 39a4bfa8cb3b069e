import { type AddressRegister, type IpAddress, sameIp, type TransportAddress } from "@turnpike/stun";
import type { Hairpin } from "@turnpike/turn";
import type { RelayAddress } from "./relay-address.ts";

const WORDS = 65_536 / 32;

/** What {@link HairpinMap} is made with. */
export interface HairpinMapOptions {
  readonly relayAddresses: readonly RelayAddress[];
  /** The machine's and the relay's other addresses, which are no peers for anybody. */
  readonly ownAddresses: readonly IpAddress[];
  /** The memory of another reactor's map ({@link HairpinMap.memory}) of the same relay addresses. Default: fresh. */
  readonly memory?: SharedArrayBuffer;
}

/**
 * The relay's own addresses. They are refused as peers, but for live relayed transport addresses, by which two clients
 * of one relay reach each other. Behind a 1:1 NAT such a peer is named by the public half, while its packets run
 * between the private ones, since few NATs would turn them around.
 *
 * Which ports live is one bit for each port of each relay address, in memory that all reactors of a relay share.
 */
export class HairpinMap implements Hairpin {
  /** Give it to the map of another thread. */
  readonly memory: SharedArrayBuffer;
  readonly #relayAddresses: readonly RelayAddress[];
  readonly #own: readonly IpAddress[];
  readonly #bits: Int32Array;

  /** @throws RangeError for memory of another size. */
  constructor(options: HairpinMapOptions) {
    this.#relayAddresses = options.relayAddresses;
    this.#own = [
      ...options.relayAddresses.flatMap(({ local, relayed }) => [local, relayed]),
      ...options.ownAddresses,
    ].filter((ip, index, all) => all.findIndex((other) => sameIp(other, ip)) === index);
    const size = this.#relayAddresses.length * WORDS * 4;
    this.memory = options.memory ?? new SharedArrayBuffer(size);
    if (this.memory.byteLength !== size) {
      throw new RangeError(`Cannot share a hairpin map of ${this.memory.byteLength} bytes: ${size} are needed`);
    }
    this.#bits = new Int32Array(this.memory);
  }

  /** Whether an address is one of the relay's or of its machine's. */
  isOwn(ip: IpAddress): boolean {
    for (const own of this.#own) {
      if (sameIp(own, ip)) {
        return true;
      }
    }
    return false;
  }

  /** Whether a relayed transport address belongs to a living allocation of this relay. */
  isLive(relayed: TransportAddress): boolean {
    for (const [index, address] of this.#relayAddresses.entries()) {
      if (sameIp(address.relayed, relayed)) {
        return (Atomics.load(this.#bits, index * WORDS + (relayed.port >>> 5)) & (1 << (relayed.port & 31))) !== 0;
      }
    }
    return false;
  }

  /** Where packets for `relayed` must be sent: fills `out` and returns true if that is another address. */
  toLocal(relayed: TransportAddress, out: AddressRegister): boolean {
    for (const address of this.#relayAddresses) {
      if (address.local !== address.relayed && sameIp(address.relayed, relayed)) {
        fill(out, address.local, relayed.port);
        return true;
      }
    }
    return false;
  }

  /** The relayed transport address whose packets come from `local`: fills `out` and returns true if it is another. */
  toRelayed(local: TransportAddress, out: AddressRegister): boolean {
    for (const address of this.#relayAddresses) {
      if (address.local !== address.relayed && sameIp(address.local, local)) {
        fill(out, address.relayed, local.port);
        return true;
      }
    }
    return false;
  }

  /** Notes that a port of a relay address (by index) came to life, or ended. */
  setLive(relayAddress: number, port: number, live: boolean): void {
    const word = relayAddress * WORDS + (port >>> 5);
    const bit = 1 << (port & 31);
    if (live) {
      Atomics.or(this.#bits, word, bit);
    } else {
      Atomics.and(this.#bits, word, ~bit);
    }
  }
}

function fill(out: AddressRegister, ip: IpAddress, port: number): void {
  out.family = ip.family;
  out.w0 = ip.w0;
  out.w1 = ip.w1;
  out.w2 = ip.w2;
  out.w3 = ip.w3;
  out.port = port;
}
