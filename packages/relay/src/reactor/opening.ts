import { type TransportAddress, withPort } from "@turnpike/stun";
import type { RelaySocket } from "@turnpike/turn";
import type { Opened } from "../planes/plane.ts";
import type { PortWish } from "../ports/port-leases.ts";
import type { SampledLog } from "../sampled-log.ts";
import type { RelaySocketsOptions } from "./relay-sockets.ts";

/** A relay socket, or the held neighbour of one, by its handle. */
export interface Entry {
  readonly socket: RelaySocket;
  /** Index of the relay address: the port's space. */
  readonly space: number;
}

/** Ports that are tried for one socket before it is given up: other processes may hold some of the range. */
const MAX_TRIES = 64;

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
  #tries = 0;

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
    const { leases, addresses, monotonicMs } = this.#options;
    for (;;) {
      const space = this.#spaces[0];
      const address = space === undefined ? undefined : addresses[space];
      if (space === undefined || address === undefined) {
        this.#fail();
        return;
      }
      const port = leases.take(space, this.#options.wish, monotonicMs());
      if (port === undefined) {
        this.#spaces.shift();
        continue;
      }
      this.#tries++;
      this.#open(withPort(address.local, port), (opened) => this.#handleFirst(space, port, opened));
      return;
    }
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
        logger.debug({ port, code: failed.code }, "A relay port is in use by another process: set aside");
        break;
      case "addressUnavailable":
        leases.giveBack(space, port);
        this.#spaces.shift();
        log.warn({ code: failed.code }, "A relay address is not available on this machine (any more)");
        break;
      case "noResources":
      case "failed":
        leases.giveBack(space, port);
        log.error({ code: failed.code }, "Cannot open a relay socket: raise the limit of open files (ulimit -n)");
        this.#done({ kind: "failed", code: 508, reason: `Cannot open a relay socket (${failed.code})` });
        return;
    }
    if (this.#tries >= MAX_TRIES) {
      this.#done({ kind: "failed", code: 508, reason: `${MAX_TRIES} relay ports could not be bound` });
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
