import type { EventLoopReactor } from "../event-loop-reactor.ts";
import { MAX_REACTOR, type PortTable } from "../ports/port-table.ts";
import type { HeldPort } from "../reactor/relay-sockets.ts";
import { type ForeignMessage, type ReservationClaim, sourceOf } from "./protocol.ts";
import type { ReactorThread } from "./reactor-thread.ts";

/** The number of the reactor that serves streams and DTLS, on the main thread. */
export const STREAM_ENGINE = 0;

/** What passes between the reactors of a relay: packets, clients and ports that another one owns. */
export class ReactorExchange {
  readonly #portTable: PortTable;
  #threads: readonly ReactorThread[] = [];
  #streams: EventLoopReactor | undefined;
  #nextReactor = STREAM_ENGINE + 1;

  constructor(portTable: PortTable) {
    this.#portTable = portTable;
  }

  /** Names the reactors, before the first of them starts. `streams`: the one of {@link STREAM_ENGINE}, if there is one. */
  join(threads: readonly ReactorThread[], streams: EventLoopReactor | undefined): void {
    this.#threads = threads;
    this.#streams = streams;
  }

  /** The thread of a reactor, if it lives. */
  find(engine: number): ReactorThread | undefined {
    return this.#threads.find(({ reactor }) => reactor === engine);
  }

  /** What the reactor `from` wants of another. */
  take(from: number, message: ForeignMessage): void {
    switch (message.kind) {
      case "handOver": {
        const { engine, packet } = message;
        if (engine === STREAM_ENGINE) this.#streams?.handleHandedOver(sourceOf(packet), packet.bytes);
        else this.find(engine)?.give({ kind: "handedOver", ...packet });
        return;
      }
      case "sendToClient":
        this.#streams?.sendForOther(from, message);
        return;
      case "closeClient":
        this.#streams?.closeForOther(message.listener, message.connection);
        return;
      case "claim":
        this.claim(message.owner, message.claim);
        return;
      case "surrendered":
        this.#settleClaim(message.claim, message.port);
        return;
    }
  }

  /** A reactor wants a port that another holds. */
  claim(owner: number, claim: ReservationClaim): void {
    if (owner === STREAM_ENGINE && this.#streams !== undefined) {
      this.#streams.surrender(claim, (port) => this.#settleClaim(claim, port));
      return;
    }
    const thread = this.find(owner);
    if (thread === undefined) this.#settleClaim(claim, undefined);
    else thread.give({ kind: "surrender", ...claim });
  }

  /** The next number that no living reactor has: tokens and ids of a dead one shall not be taken for another's. */
  freeReactor(): number {
    for (;;) {
      const reactor = this.#nextReactor;
      this.#nextReactor = reactor === MAX_REACTOR ? STREAM_ENGINE + 1 : reactor + 1;
      if (this.#threads.every((living) => living.reactor !== reactor)) return reactor;
    }
  }

  #settleClaim({ id, claimant }: ReservationClaim, port: HeldPort | undefined): void {
    if (claimant === STREAM_ENGINE) {
      this.#streams?.settleClaim(id, port);
      return;
    }
    const thread = this.find(claimant);
    if (thread !== undefined) thread.give({ kind: "claimed", id, port });
    // It died meanwhile, and what it held was freed before the port was passed on to it.
    else if (port !== undefined) this.#portTable.giveBack(port.space, port.port, claimant);
  }
}
