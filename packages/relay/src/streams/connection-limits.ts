import type { IpAddress } from "@turnpike/stun";

/** How many connections there may be. */
export interface ConnectionLimitsOptions {
  readonly maxConnections: number;
  readonly maxConnectionsPerPrefix: number;
}

/** Counts connections in all and per address prefix: /24 of IPv4, /56 of IPv6, which is what one customer gets. */
export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions;
  readonly #byPrefix = new Map<string, number>();
  #count = 0;

  constructor(options: ConnectionLimitsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#count;
  }

  /** Prefixes that have a connection. */
  get prefixes(): number {
    return this.#byPrefix.size;
  }

  /** Takes a place among all. False if there is none. */
  enter(): boolean {
    if (this.#count >= this.#options.maxConnections) return false;
    this.#count++;
    return true;
  }

  leave(): void {
    this.#count--;
  }

  /** Takes a place of an address's prefix. False if there is none. */
  enterPrefix(ip: IpAddress): boolean {
    const prefix = prefixOf(ip);
    const count = this.#byPrefix.get(prefix) ?? 0;
    if (count >= this.#options.maxConnectionsPerPrefix) return false;
    this.#byPrefix.set(prefix, count + 1);
    return true;
  }

  leavePrefix(ip: IpAddress): void {
    const prefix = prefixOf(ip);
    const count = (this.#byPrefix.get(prefix) ?? 0) - 1;
    if (count > 0) this.#byPrefix.set(prefix, count);
    else this.#byPrefix.delete(prefix);
  }
}

function prefixOf(ip: IpAddress): string {
  return ip.family === 4 ? `4:${ip.w3 >>> 8}` : `6:${ip.w0}:${ip.w1 >>> 8}`;
}
