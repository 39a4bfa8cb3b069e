import { withPort } from "@turnpike/stun";
import type { Answer, OpenRelaySocket, RelaySocket } from "@turnpike/turn";
import type { HairpinMap } from "../addresses/hairpin-map.ts";
import type { RelayAddress } from "../addresses/relay-address.ts";
import type { Logger } from "../logger.ts";
import type { ForwardingPlane } from "../planes/plane.ts";
import type { PortLeases, PortWish } from "../ports/port-leases.ts";
import { SampledLog } from "../sampled-log.ts";
import { type Entry, Opening, type Outcome } from "./opening.ts";

/** What {@link RelaySockets} is made with. */
export interface RelaySocketsOptions {
  readonly plane: ForwardingPlane;
  /** Ports of this reactor; the space of a port is the index of its relay address. */
  readonly leases: PortLeases;
  readonly addresses: readonly RelayAddress[];
  readonly hairpin: HairpinMap;
  readonly logger: Logger;
  /** A uniformly distributed integer from 0 to `bound - 1`. */
  readonly randomInteger: (bound: number) => number;
  readonly monotonicMs: () => number;
  /**
   * Asks another reactor for a port that it holds ({@link RelaySockets.surrender}). Called back once, with undefined if
   * there is none or the other does not answer. Default: there is no other reactor.
   */
  readonly claim?: (owner: number, reservation: number, done: (port: HeldPort | undefined) => void) => void;
}

/** A port that passes from one reactor to another. */
export interface HeldPort {
  /** Index of the relay address. */
  readonly space: number;
  readonly port: number;
}

/**
 * Opens, holds and closes relay sockets: leases a port, binds it, and gives it back when the socket is closed. A
 * reserved port (RFC 8656 §7.2, EVEN-PORT with R=1) is held by a bound socket, so that nobody else can take it.
 */
export class RelaySockets {
  readonly #options: RelaySocketsOptions;
  readonly #log: SampledLog;
  readonly #live = new Map<number, Entry>();
  /** Sockets that hold a reserved port, by reservation. */
  readonly #held = new Map<number, Entry>();
  /** Handles of the sockets in `#held`. */
  readonly #silent = new Set<number>();
  #opening = 0;
  /** The latest reservation, without its owner. A number comes back after 2^24 others only: a token lasts 30 seconds. */
  #reservation: number;

  constructor(options: RelaySocketsOptions) {
    this.#options = options;
    this.#log = new SampledLog(options);
    this.#reservation = options.randomInteger(RESERVATIONS);
  }

  /** Relay sockets of allocations. */
  get liveCount(): number {
    return this.#live.size;
  }

  /** Sockets that hold a reserved port. */
  get heldCount(): number {
    return this.#held.size;
  }

  /** Whether packets of a socket concern an allocation: a socket that only holds a port has none. */
  isLive(socket: number): boolean {
    return this.#silent.size === 0 || !this.#silent.has(socket);
  }

  /** Answers the engine's question, before or after the call returns. */
  open(question: OpenRelaySocket, answer: (answer: Answer) => void): void {
    const { questionId } = question;
    if (question.transport === "tcp" && this.#options.plane.tcpRelay === undefined) {
      answer(refusal(questionId, "TCP relay sockets are not available"));
      return;
    }
    if (question.port === "reserved") {
      this.#takeReserved(question, answer);
      return;
    }
    if (this.#opening >= MAX_OPENING) {
      answer(refusal(questionId, `${MAX_OPENING} relay sockets are being opened already`));
      return;
    }
    this.#opening++;
    this.#openFamilies(question, question.port, (opened) => {
      this.#opening--;
      answer(opened);
    });
  }

  /** Closes a relay socket; its port comes back when that is done. */
  close(socket: number): void {
    const entry = this.#live.get(socket);
    if (entry !== undefined) {
      this.#live.delete(socket);
      this.#options.hairpin.setLive(entry.space, entry.socket.local.port, false);
      this.#closeEntry(entry);
    }
  }

  /** Lets a held port go. */
  releaseReservation(reservation: number): void {
    const entry = this.#held.get(reservation);
    if (entry !== undefined) {
      this.#held.delete(reservation);
      this.#silent.delete(entry.socket.socket);
      this.#closeEntry(entry);
    }
  }

  /** Closes all that is open or held. */
  closeAll(): void {
    for (const socket of this.#live.keys()) {
      this.close(socket);
    }
    for (const reservation of this.#held.keys()) {
      this.releaseReservation(reservation);
    }
  }

  /**
   * Gives up a held port for another reactor, which must open it. The port is nobody else's in between. `done` gets
   * undefined if it is not held.
   */
  surrender(reservation: number, to: number, done: (port: HeldPort | undefined) => void): void {
    const entry = this.#held.get(reservation);
    if (entry === undefined) {
      done(undefined);
      return;
    }
    this.#held.delete(reservation);
    this.#silent.delete(entry.socket.socket);
    const { plane, leases } = this.#options;
    const { space } = entry;
    const { port } = entry.socket.local;
    plane.closeRelaySocket(entry.socket.socket, () => {
      done(leases.passTo(space, port, to) ? { space, port } : undefined);
    });
  }

  /** Gives back a port that came too late. */
  decline({ space, port }: HeldPort): void {
    const { leases } = this.#options;
    if (leases.accept(space, port)) leases.giveBack(space, port);
  }

  #takeReserved(question: OpenRelaySocket, answer: (answer: Answer) => void): void {
    const { questionId, reservation = -1 } = question;
    const { claim, leases } = this.#options;
    const entry = this.#held.get(reservation);
    if (entry !== undefined) {
      this.#held.delete(reservation);
      this.#silent.delete(entry.socket.socket);
      this.#adopt(entry);
      answer({ kind: "relaySocketOpened", questionId, sockets: [entry.socket] });
      return;
    }
    const owner = Math.floor(reservation / RESERVATIONS);
    if (claim === undefined || owner === leases.reactor) {
      answer(refusal(questionId, "The reserved port is not held"));
      return;
    }
    claim(owner, reservation, (port) => {
      if (port === undefined) answer(refusal(questionId, "The reserved port is not held"));
      else this.#openPassed(questionId, port, answer);
    });
  }

  /** Opens a port that another reactor has passed on. */
  #openPassed(questionId: number, { space, port }: HeldPort, answer: (answer: Answer) => void): void {
    const { leases, plane, addresses } = this.#options;
    const address = addresses[space];
    if (address === undefined || !leases.accept(space, port)) {
      answer(refusal(questionId, "The reserved port was not passed on"));
      return;
    }
    plane.openRelaySocket(withPort(address.local, port), (opened) => {
      if (opened.kind === "failed") {
        leases.giveBack(space, port);
        answer(refusal(questionId, `The reserved port can't be opened (${opened.code})`));
        return;
      }
      const { socket, local } = opened;
      const entry = { space, socket: { socket, local, relayed: withPort(address.relayed, port) } };
      this.#adopt(entry);
      answer({ kind: "relaySocketOpened", questionId, sockets: [entry.socket] });
    });
  }

  #openFamilies(question: OpenRelaySocket, wish: PortWish, answer: (answer: Answer) => void): void {
    const { questionId, families, transport } = question;
    const outcomes: (Outcome | undefined)[] = families.map(() => undefined);
    let missing = families.length;
    let reservation: number | undefined;
    families.forEach((family, index) => {
      new Opening({ ...this.#options, log: this.#log, transport, family, wish }, (outcome) => {
        outcomes[index] = outcome;
        if (outcome.kind === "opened") {
          this.#adopt(outcome.entry);
          if (outcome.neighbour !== undefined) {
            reservation = this.#hold(outcome.neighbour);
          }
        }
        missing--;
        if (missing === 0) {
          answer(summary(questionId, families, outcomes, reservation));
        }
      }).tryNext();
    });
  }

  #adopt(entry: Entry): void {
    this.#live.set(entry.socket.socket, entry);
    this.#options.hairpin.setLive(entry.space, entry.socket.local.port, true);
  }

  #hold(entry: Entry): number {
    do {
      this.#reservation = (this.#reservation + 1) % RESERVATIONS;
    } while (this.#held.has(this.#nameOf(this.#reservation)));
    const name = this.#nameOf(this.#reservation);
    this.#held.set(name, entry);
    this.#silent.add(entry.socket.socket);
    return name;
  }

  /** The name of a reservation, for all reactors: its owner, then its number. */
  #nameOf(reservation: number): number {
    return this.#options.leases.reactor * RESERVATIONS + reservation;
  }

  #closeEntry(entry: Entry): void {
    const { plane, leases } = this.#options;
    plane.closeRelaySocket(entry.socket.socket, () => leases.giveBack(entry.space, entry.socket.local.port));
  }
}

/** RESERVATION-TOKENs carry 32 bits: 8 of the owner, 24 of the reservation's number. */
const RESERVATIONS = 2 ** 24;

/** Questions that may wait for the system at once: each holds a socket. */
const MAX_OPENING = 1024;

function refusal(questionId: number, reason: string): Answer {
  return { kind: "relaySocketFailed", questionId, code: 508, reason };
}

function summary(
  questionId: number,
  families: readonly (4 | 6)[],
  outcomes: readonly (Outcome | undefined)[],
  reservation: number | undefined,
): Answer {
  const sockets: RelaySocket[] = [];
  const failures: { family: 4 | 6; code: 440 | 508 }[] = [];
  let reason = "No relay socket was asked for";
  outcomes.forEach((outcome, index) => {
    if (outcome?.kind === "opened") {
      sockets.push(outcome.entry.socket);
    } else if (outcome !== undefined) {
      failures.push({ family: families[index] ?? 4, code: outcome.code });
      ({ reason } = outcome);
    }
  });
  if (sockets.length === 0) {
    return { kind: "relaySocketFailed", questionId, code: failures[0]?.code ?? 508, reason };
  }
  return {
    kind: "relaySocketOpened",
    questionId,
    sockets,
    ...(reservation !== undefined && { reservation }),
    ...(failures.length > 0 && { failures }),
  };
}
