import { type TransportAddress, withPort } from "@turnpike/stun";
import type { RelaySocket } from "@turnpike/turn";
import type { Opened } from "../planes/plane.ts";
import { blockOf, type PortWish } from "../ports/port-leases.ts";
import type { SampledLog } from "../sampled-log.ts";
import type { RelaySocketsOptions } from "./relay-sockets.ts";

/** A relay socket, or the held neighbour of one, by its handle. */
export interface Entry {
  readonly socket: RelaySocket;
  /** Index of the relay address: the port's space. */
  readonly space: number;
}

/**
 * Other processes may hold some of the range. Of each block a port is tried before a second one of any; beyond that,
 * so many more before it is given up.
 */
const MAX_MORE_TRIES = 64;

/** What came of it: `code` is what the client is told. */
export type Outcome =
  | { readonly kind: "opened"; readonly entry: Entry; readonly neighbour?: Entry }
  | { readonly kind: "failed"; readonly code: 440 | 508; readonly reason: string };

/** What an {@link Opening} is made with. */
export interface OpeningOptions extends RelaySocketsOptions {
  readonly log: SampledLog;
  readonly transport: "udp" | "tcp";
  readonly family: 4 | 6;
  readonly wish: PortWish;
}

/** Finds and opens one relay socket of a family, and for `evenPair` the one that holds the next port. */
export class Opening {
  readonly #options: OpeningOptions;
  readonly #done: (outcome: Outcome) => void;
  /** Indexes of the relay addresses that are left to try, from a random one on. */
  readonly #spaces: number[];
  /** Blocks of the present space of which a port could not be bound. */
  readonly #failed = new Set<number>();
  /** Ports tried in such blocks. */
  #moreTries = 0;
  #isTrying = false;
  #isNextWanted = false;

  constructor(options: OpeningOptions, done: (outcome: Outcome) => void) {
    this.#options = options;
    this.#done = done;
    const { addresses, family, randomInteger } = options;
    const indexes = addresses.flatMap((address, index) => (address.local.family === family ? [index] : []));
    const first = indexes.length === 0 ? 0 : randomInteger(indexes.length);
    this.#spaces = [...indexes.slice(first), ...indexes.slice(0, first)];
  }

  /** Tries the next port, and so on until one is open. */
  tryNext(): void {
    this.#isNextWanted = true;
    // A plane may answer before its call returns: hundreds of tries are a loop then, no recursion.
    if (this.#isTrying) return;
    this.#isTrying = true;
    while (this.#isNextWanted) {
      this.#isNextWanted = false;
      this.#try();
    }
    this.#isTrying = false;
  }

  #try(): void {
    const { leases, addresses, monotonicMs, wish } = this.#options;
    for (;;) {
      const space = this.#spaces[0];
      const address = space === undefined ? undefined : addresses[space];
      if (space === undefined || address === undefined) {
        this.#fail();
        return;
      }
      const port = leases.take(space, wish, monotonicMs(), this.#failed);
      if (port !== undefined) {
        this.#open(withPort(address.local, port), (opened) => this.#handleFirst(space, port, opened));
        return;
      }
      this.#leaveSpace();
    }
  }

  #leaveSpace(): void {
    this.#spaces.shift();
    this.#failed.clear();
  }

  #open(local: TransportAddress, done: (opened: Opened) => void): void {
    const { plane, transport } = this.#options;
    const opener = transport === "tcp" ? (plane.tcpRelay ?? plane) : plane;
    opener.openRelaySocket(local, done);
  }

  #handleFirst(space: number, port: number, opened: Opened): void {
    const { plane, leases } = this.#options;
    if (opened.kind === "failed") {
      if (this.#options.wish === "evenPair") {
        leases.giveBack(space, port + 1);
      }
      this.#handleFailure(space, port, opened);
      return;
    }
    const entry = this.#entry(space, opened);
    if (this.#options.wish !== "evenPair") {
      this.#done({ kind: "opened", entry });
      return;
    }
    this.#open(withPort(opened.local, port + 1), (next) => {
      if (next.kind === "opened") {
        this.#done({ kind: "opened", entry, neighbour: this.#entry(space, next) });
        return;
      }
      plane.closeRelaySocket(opened.socket, () => {
        leases.giveBack(space, port);
        this.#handleFailure(space, port + 1, next);
      });
    });
  }

  #handleFailure(space: number, port: number, failed: Extract<Opened, { kind: "failed" }>): void {
    const { leases, logger, log, monotonicMs } = this.#options;
    switch (failed.failure) {
      case "inUse":
      case "notPermitted":
        leases.setAside(space, port, monotonicMs());
        if (this.#failed.has(blockOf(port))) this.#moreTries++;
        else this.#failed.add(blockOf(port));
        logger.debug({ port, code: failed.code }, "A relay port is in use by another process: set aside");
        break;
      case "addressUnavailable":
        leases.giveBack(space, port);
        this.#leaveSpace();
        log.warn({ code: failed.code }, "A relay address is not available on this machine (any more)");
        break;
      case "noResources":
      case "failed":
        leases.giveBack(space, port);
        log.error({ code: failed.code }, "Cannot open a relay socket: raise the limit of open files (ulimit -n)");
        this.#done({ kind: "failed", code: 508, reason: `Cannot open a relay socket (${failed.code})` });
        return;
    }
    if (this.#moreTries >= MAX_MORE_TRIES) {
      this.#done({ kind: "failed", code: 508, reason: "Too many relay ports could not be bound" });
      return;
    }
    this.tryNext();
  }

  #fail(): void {
    const { addresses } = this.#options;
    if (addresses.some((address) => address.local.family === this.#options.family)) {
      this.#done({ kind: "failed", code: 508, reason: "No relay port is left" });
    } else {
      this.#done({ kind: "failed", code: 440, reason: `There is no IPv${this.#options.family} relay address` });
    }
  }

  #entry(space: number, opened: Extract<Opened, { kind: "opened" }>): Entry {
    const { socket, local } = opened;
    const relayed = withPort(this.#options.addresses[space]?.relayed ?? local, local.port);
    return { space, socket: { socket, local, relayed } };
  }
}
