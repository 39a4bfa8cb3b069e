import { formatTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { Listener } from "@turnpike/turn";
import { Arena } from "../libc/arena.ts";
import { type Libc, SystemCallError } from "../libc/libc.ts";
import { SocketFactory } from "../libc/sockets.ts";
import type { Logger } from "../logger.ts";
import type { BatchedPlane } from "../planes/batched/batched-plane.ts";
import { SampledLog } from "../sampled-log.ts";

/** What {@link AdoptedClients} is made with. */
export interface AdoptedClientsOptions {
  readonly libc: Libc;
  readonly plane: Pick<BatchedPlane, "adoptClient" | "closeRelaySocket">;
  readonly listeners: readonly Listener[];
  readonly bufferBytes: number;
  readonly logger: Logger;
}

/**
 * Clients whose packets the kernel would deliver to another reactor: each has a socket on the listening address that is
 * connected to it, which wins the kernel's look-up (RFC 8016: a client moved, and its allocation did not).
 */
export class AdoptedClients {
  readonly #options: AdoptedClientsOptions;
  readonly #factory: SocketFactory;
  readonly #log: SampledLog;
  readonly #sockets = new Map<string, number>();

  constructor(options: AdoptedClientsOptions) {
    this.#options = options;
    this.#factory = new SocketFactory(options.libc, new Arena(options.libc, SocketFactory.SCRATCH));
    this.#log = new SampledLog({ logger: options.logger, monotonicMs: () => performance.now() });
  }

  /** How many there are. */
  get count(): number {
    return this.#sockets.size;
  }

  adopt(listener: number, client: TransportAddress): void {
    const { plane, listeners, bufferBytes } = this.#options;
    const local = listeners.find(({ id }) => id === listener)?.local;
    const name = nameOf(listener, client);
    if (local === undefined || this.#sockets.has(name)) return;
    try {
      const { fd } = this.#factory.open({ local, remote: client, reusePort: true, bufferBytes });
      this.#sockets.set(name, plane.adoptClient(listener, fd));
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      // Its packets go on to the reactor that they reach, which doesn't know it: the client allocates anew.
      this.#log.warn({ err: error }, "A client that moved can't be adopted");
    }
  }

  release(listener: number, client: TransportAddress): void {
    const name = nameOf(listener, client);
    const socket = this.#sockets.get(name);
    if (socket === undefined) return;
    this.#sockets.delete(name);
    this.#options.plane.closeRelaySocket(socket, () => {});
  }
}

function nameOf(listener: number, client: TransportAddress): string {
  return `${listener} ${formatTransportAddress(client)}`;
}
