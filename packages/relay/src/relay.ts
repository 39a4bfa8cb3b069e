import type { OffloadStatus } from "@turnpike/xdp";
import { randomBytes, randomInt } from "node:crypto";
import { formatTransportAddress, formatIpAddress, type IpAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { createPeerPolicy, type DeletionReason, type Listener, type PeerPolicy, TurnServer } from "@turnpike/turn";
import { type AllocationSelector, selects } from "./allocation-selector.ts";
import { findRelayAddresses } from "./addresses/find-addresses.ts";
import { HairpinMap } from "./addresses/hairpin-map.ts";
import { parseListenSpec } from "./addresses/listen.ts";
import { listLocalAddresses } from "./addresses/local-addresses.ts";
import type { RelayAddress } from "./addresses/relay-address.ts";
import { PenalizedAuthenticator, type TurnPenaltyCounters } from "./defence/turn-penalties.ts";
import { openListeners, tryRelayAddresses } from "./listeners.ts";
import { type Logger, silentLogger } from "./logger.ts";
import type { PlaneCounterName } from "./planes/counters.ts";
import type { ForwardingPlane } from "./planes/plane.ts";
import { PortablePlane } from "./planes/portable/portable-plane.ts";
import { PortLeases } from "./ports/port-leases.ts";
import { DEFAULT_PORT_RANGE } from "./ports/port-range.ts";
import { PortTable } from "./ports/port-table.ts";
import { Admissions } from "./reactor/admissions.ts";
import { createSystemClock } from "./reactor/clock.ts";
import { Reactor } from "./reactor/reactor.ts";
import { RelaySockets } from "./reactor/relay-sockets.ts";
import type { RelayOptions } from "./relay-options.ts";

/** What a relay holds and has done. */
export interface RelayStats {
  /** Living allocations, those that are being made included. */
  readonly allocations: number;
  /** Open relay sockets of allocations. */
  readonly relaySockets: number;
  /** Ports held for RESERVATION-TOKENs. */
  readonly reservedPorts: number;
  /** Ports taken from the range. */
  readonly portsInUse: number;
  /** Ports that other processes use, left alone for a while. */
  readonly portsSetAside: number;
  /** Replies to unauthenticated senders that were held back. */
  readonly suppressedReplies: number;
  /** Inputs that failed by an error of the program. Should be 0. */
  readonly internalErrors: number;
  /** Wrong credentials and what they cost; absent without penalties. */
  readonly penalties?: TurnPenaltyCounters;
  /** Packets, bytes, drops and errors since the start. */
  readonly traffic: Readonly<Record<PlaneCounterName, number>>;
  /** What is relayed in the kernel, beside `traffic`; absent if nothing is. */
  readonly kernel?: OffloadStatus;
}

/** A running relay. */
export interface Relay {
  /** Where clients reach it, with the ports that were found. */
  readonly listening: readonly Listener[];
  /** What relay sockets are bound to, and what peers are told. */
  readonly relayAddresses: readonly RelayAddress[];
  stats(): RelayStats;
  /**
   * Ends the allocations that are meant, with events, and those that are being made; resolves with the number of those
   * that lived.
   */
  endAllocations(selector: AllocationSelector, reason: DeletionReason): Promise<number>;
  /**
   * Refuses new allocations (508) and resolves when the last one has ended; at the latest when the relay is stopped.
   */
  drain(): Promise<void>;
  /**
   * Ends every allocation (reason `shutdown`) and closes every socket. Resolves when none is left. Calling it again
   * gives the same promise.
   */
  stop(): Promise<void>;
}

/**
 * Starts a relay: one reactor on this event loop, with the portable plane.
 *
 * @throws TypeError or RangeError for a wrong configuration, {@link RelayStartError} if the system refuses.
 * @example
 * const relay = await startRelay({ listen: ["udp:127.0.0.1:3478"], authenticate });
 * await relay.stop();
 */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const logger = options.logger ?? silentLogger;
  // Whatever is wrong in the configuration is found before a socket is opened.
  const peerPolicy = createPeerPolicy(options.peers);
  const specs = (options.listen ?? DEFAULT_LISTEN).map(parseListenSpec);
  const machine = listLocalAddresses({ isGlobal: (ip) => createPeerPolicy().decide(ip) === "global" });
  const relayAddresses = await findRelayAddresses({
    relayAddresses: options.relayAddresses ?? [],
    externalAddresses: options.externalAddresses ?? [],
    machine,
    logger,
  });
  const table = new PortTable({ range: options.portRange ?? DEFAULT_PORT_RANGE, spaces: relayAddresses.length });
  const leases = new PortLeases({ table, reactor: 0, randomInteger });
  const plane = new PortablePlane(options.plane);
  try {
    await tryRelayAddresses(plane, relayAddresses);
    const listening = await openListeners({ plane, specs, machine, logger });
    return new RunningRelay({
      options,
      logger,
      peerPolicy,
      listening,
      relayAddresses,
      ownAddresses: machine.map(({ ip }) => ip),
      leases,
      plane,
    });
  } catch (error) {
    await plane.stop();
    throw error;
  }
}

const DEFAULT_LISTEN: readonly string[] = ["udp:0.0.0.0:3478", "udp:[::]:3478"];

function randomInteger(bound: number): number {
  return randomInt(bound);
}

/** What has been opened for a {@link RunningRelay}. */
interface Parts {
  readonly options: RelayOptions;
  readonly logger: Logger;
  readonly peerPolicy: PeerPolicy;
  readonly listening: readonly Listener[];
  readonly relayAddresses: readonly RelayAddress[];
  readonly ownAddresses: readonly IpAddress[];
  readonly leases: PortLeases;
  readonly plane: ForwardingPlane;
}

class RunningRelay implements Relay {
  readonly listening: readonly Listener[];
  readonly relayAddresses: readonly RelayAddress[];
  readonly #logger: Logger;
  readonly #plane: ForwardingPlane;
  readonly #leases: PortLeases;
  readonly #relaySockets: RelaySockets;
  readonly #admissions = new Admissions();
  readonly #engine: TurnServer;
  readonly #reactor: Reactor;
  readonly #penalized: PenalizedAuthenticator | undefined;
  #stopping: Promise<void> | undefined;

  constructor(parts: Parts) {
    const { options, logger, plane, leases, relayAddresses } = parts;
    this.listening = parts.listening;
    this.relayAddresses = relayAddresses;
    this.#logger = logger;
    this.#plane = plane;
    this.#leases = leases;
    const hairpin = new HairpinMap({ relayAddresses, ownAddresses: parts.ownAddresses });
    const clock = createSystemClock();
    this.#relaySockets = new RelaySockets({
      plane,
      leases,
      addresses: relayAddresses,
      hairpin,
      logger,
      randomInteger,
      monotonicMs: () => clock.now().monotonicMs,
    });
    if (options.penalties !== false) {
      const { maxPendingAuthentications: maxPending } = options.engine ?? {};
      this.#penalized = new PenalizedAuthenticator({
        authenticate: options.authenticate,
        clock,
        logger,
        ...(options.penalties === undefined ? {} : { settings: options.penalties }),
        ...(maxPending === undefined ? {} : { maxPending }),
      });
    }
    const authenticate = this.#penalized?.authenticate ?? options.authenticate;
    this.#engine = new TurnServer({
      ...options.engine,
      crypto: nodeCrypto,
      random: (length) => randomBytes(length),
      realm: options.realm ?? "turnpike",
      listeners: parts.listening,
      authenticate: (request) =>
        authenticate(request, (decision) =>
          this.#reactor.handleAnswer({ kind: "authentication", questionId: request.questionId, decision }),
        ),
      peerPolicy: parts.peerPolicy,
      hairpin,
      families: ([4, 6] as const).filter((family) => relayAddresses.some(({ local }) => local.family === family)),
      nonceKey: randomBytes(32),
      admission: true,
      events: options.onEvent !== undefined,
    });
    this.#reactor = new Reactor({
      engine: this.#engine,
      plane,
      relaySockets: this.#relaySockets,
      clock,
      logger,
      admit: (question) => this.#admissions.admit(question),
      release: (questionId) => this.#admissions.release(questionId),
      ...(options.onEvent && { onEvent: options.onEvent }),
    });
    plane.start(this.#reactor);
    logger.info(
      {
        listening: this.listening.map(({ transport, local }) => `${transport}:${formatTransportAddress(local)}`),
        relayAddresses: relayAddresses.map(({ relayed }) => formatIpAddress(relayed)),
      },
      "The relay is serving",
    );
  }

  stats(): RelayStats {
    return {
      allocations: this.#admissions.count,
      relaySockets: this.#relaySockets.liveCount,
      reservedPorts: this.#relaySockets.heldCount,
      portsInUse: this.#leases.inUse,
      portsSetAside: this.#leases.setAsideCount,
      suppressedReplies: this.#engine.suppressedReplies,
      internalErrors: this.#reactor.internalErrors,
      ...(this.#penalized === undefined ? {} : { penalties: this.#penalized.counters }),
      traffic: this.#plane.counters.snapshot(),
    };
  }

  endAllocations(selector: AllocationSelector, reason: DeletionReason): Promise<number> {
    let ended = 0;
    this.#reactor.administer((now) => {
      ended = this.#engine.endAllocations(selects(selector), reason, now);
    });
    return Promise.resolve(ended);
  }

  drain(): Promise<void> {
    this.#logger.info({ allocations: this.#admissions.count }, "Draining: new allocations are refused");
    return this.#admissions.drain();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const ended = this.#admissions.count;
    this.#penalized?.close();
    this.#reactor.stop();
    await this.#plane.stop();
    // Sockets that were being opened when the reactor stopped are closed with the plane; their ports come back here.
    this.#relaySockets.closeAll();
    this.#admissions.end();
    this.#logger.info({ allocations: ended }, "The relay has stopped");
  }
}
