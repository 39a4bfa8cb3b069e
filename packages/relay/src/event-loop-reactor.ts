import { randomBytes, randomInt } from "node:crypto";
import { AddressRegister, type TransportAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import {
  type AllocationDescription,
  type ClientSource,
  type DeletionReason,
  type EngineLimits,
  type LimitChange,
  type Listener,
  type NatDiscovery,
  TurnServer,
} from "@turnpike/turn";
import { type AllocationSelector, selects } from "./allocation-selector.ts";
import type { HairpinMap } from "./addresses/hairpin-map.ts";
import type { RelayAddress } from "./addresses/relay-address.ts";
import type { ThreadAuthenticator } from "./authenticate-module.ts";
import type { Administration, AdministrationStats } from "./control/administration.ts";
import { createMeters } from "./limits/meters.ts";
import type { Logger } from "./logger.ts";
import type { PortTable } from "./ports/port-table.ts";
import { PortLeases } from "./ports/port-leases.ts";
import { Admissions } from "./reactor/admissions.ts";
import type { Clock } from "./reactor/clock.ts";
import { EngineRouter, type OwnerGate } from "./reactor/engine-router.ts";
import type { OtherReactors } from "./reactor/other-reactors.ts";
import { type AdmissionDecision, type AdmissionQuestion, Reactor } from "./reactor/reactor.ts";
import { type HeldPort, RelaySockets } from "./reactor/relay-sockets.ts";
import { ReservationClaims } from "./reactor/reservation-claims.ts";
import type { ReservationClaim } from "./reactor-worker/protocol.ts";
import type { PeerRules, RelayOptions } from "./relay-options.ts";
import type { ReplaceablePeerPolicy } from "./replaceable-peer-policy.ts";
import type { RelayStats } from "./relay.ts";
import type { EventLoopParts } from "./streams/create-plane.ts";

/** Connections are found by their handle. */
const NOWHERE: TransportAddress = new AddressRegister();

/** What {@link EventLoopReactor} is made of. */
export interface EventLoopReactorOptions {
  readonly options: Pick<RelayOptions, "realm" | "engine" | "trafficReportSeconds">;
  readonly administration: Administration;
  readonly authenticator: ThreadAuthenticator;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly parts: EventLoopParts;
  /** All of the relay's. */
  readonly listeners: readonly Listener[];
  readonly natDiscovery: NatDiscovery | undefined;
  readonly peerPolicy: ReplaceablePeerPolicy;
  readonly relayAddresses: readonly RelayAddress[];
  readonly portTable: PortTable;
  readonly hairpin: HairpinMap;
  /** 32 bytes, shared by all engines of the relay. */
  readonly nonceKey: Uint8Array;
  /** Which of the relay's engines this is. */
  readonly engine: number;
  readonly engines: number;
  /** Where the relay has several reactors. */
  readonly others?: OtherReactors & OwnerGate;
  /** Asks another reactor for a port that it holds. `id` names the claim for {@link EventLoopReactor.settleClaim}. */
  readonly claim?: (owner: number, claim: ReservationClaim) => void;
}

/**
 * One engine on this thread's event loop, with every kind of socket: the whole of a relay on the portable plane, and of
 * one on the batched plane the part that serves streams and DTLS.
 */
export class EventLoopReactor {
  readonly #parts: EventLoopParts;
  readonly #options: EventLoopReactorOptions;
  readonly #leases: PortLeases;
  readonly #relaySockets: RelaySockets;
  readonly #admissions = new Admissions();
  readonly #engine: TurnServer;
  readonly #reactor: Reactor;
  readonly #router: EngineRouter | undefined;
  readonly #claims: ReservationClaims;

  constructor(given: EventLoopReactorOptions) {
    const { options, logger, clock, parts, relayAddresses, hairpin } = given;
    this.#options = given;
    this.#parts = parts;
    const { plane } = parts;
    this.#claims = new ReservationClaims({ clock });
    const randomInteger = (bound: number): number => randomInt(bound);
    this.#leases = new PortLeases({ table: given.portTable, reactor: given.engine, randomInteger });
    this.#relaySockets = new RelaySockets({
      plane,
      leases: this.#leases,
      addresses: relayAddresses,
      hairpin,
      logger,
      randomInteger,
      monotonicMs: () => clock.now().monotonicMs,
      ...(given.claim && {
        claim: (owner, reservation, done) =>
          given.claim?.(owner, { id: this.#claims.add(done), reservation, claimant: given.engine }),
      }),
    });
    const { hub, admission, defence, sourceRates, actorRates } = given.administration;
    const { authenticate: unguarded } = given.authenticator;
    const authenticate = defence.guard(unguarded);
    this.#engine = new TurnServer({
      mobility: true,
      ...options.engine,
      crypto: nodeCrypto,
      random: (length) => randomBytes(length),
      engine: given.engine,
      engines: given.engines,
      realm: options.realm ?? "turnpike",
      listeners: given.listeners,
      authenticate: (request) =>
        authenticate(request, (decision) =>
          this.#reactor.handleAnswer({ kind: "authentication", questionId: request.questionId, decision }),
        ),
      peerPolicy: given.peerPolicy,
      hairpin,
      families: ([4, 6] as const).filter((family) => relayAddresses.some(({ local }) => local.family === family)),
      tcpRelay: plane.tcpRelay !== undefined,
      ...(given.natDiscovery && { natDiscovery: given.natDiscovery }),
      nonceKey: given.nonceKey,
      admission: true,
      events: (type) => hub.wants(type),
      gate: defence.gate(sourceRates),
      metersFor: createMeters(actorRates),
      ...(options.trafficReportSeconds !== undefined && { trafficReportSeconds: options.trafficReportSeconds }),
    });
    this.#reactor = new Reactor({
      engine: this.#engine,
      plane,
      relaySockets: this.#relaySockets,
      clock,
      logger,
      admit: (question) => this.#admit(question),
      commit: (questionId) => admission.commit({ reactor: given.engine, questionId }),
      release: (questionId) => {
        admission.release({ reactor: given.engine, questionId });
        this.#admissions.release(questionId);
      },
      onEvent: (event) => hub.publish(event),
      ...(given.others && { others: given.others }),
    });
    this.#router =
      given.others && new EngineRouter({ streams: parts.streams, local: this.#reactor, gate: given.others });
  }

  /** Takes what sockets receive from here on. */
  start(): void {
    const reactor = this.#reactor;
    const router = this.#router;
    if (router === undefined) {
      this.#parts.plane.start(reactor);
      return;
    }
    this.#parts.plane.start({
      handleClientPacket: (source, buffer, offset, length) => router.handleClientPacket(source, buffer, offset, length),
      handleClientClosed: (source, owner) => router.handleClientClosed(source, owner),
      isClientNeeded: (source) => router.isClientNeeded(source),
      handlePeerPacket: (socket, peer, buffer, offset, length) =>
        reactor.handlePeerPacket(socket, peer, buffer, offset, length),
      handlePeerIcmp: (socket, peer, icmp) => reactor.handlePeerIcmp(socket, peer, icmp),
      handleRelaySocketError: (socket, code) => reactor.handleRelaySocketError(socket, code),
      handlePeerConnection: (socket, peer, connection) => reactor.handlePeerConnection(socket, peer, connection),
      handlePeerConnectionClosed: (connection) => reactor.handlePeerConnectionClosed(connection),
    });
  }

  /** Another reactor's engine sends to a client that is connected here. */
  sendForOther(
    engine: number,
    message: { readonly listener: number; readonly connection: number; readonly bytes: Uint8Array },
  ): void {
    const { listener, connection, bytes } = message;
    this.#router?.noteAnswer(connection, engine, bytes);
    this.#parts.plane.sendToClient(listener, connection, NOWHERE, bytes, 0, bytes.length);
  }

  /** Another reactor's engine closes a connection of a client here. */
  closeForOther(listener: number, connection: number): void {
    this.#parts.plane.closeClient(listener, connection);
  }

  /** A request that another reactor's engine handed over. */
  handleHandedOver(source: ClientSource, bytes: Uint8Array): void {
    this.#reactor.handleHandedOver(source, bytes);
  }

  /** What it holds and has done. */
  stats(): Omit<RelayStats, keyof AdministrationStats | "draining"> {
    return {
      allocations: this.#admissions.count,
      relaySockets: this.#relaySockets.liveCount,
      reservedPorts: this.#relaySockets.heldCount,
      portsInUse: this.#leases.inUse,
      portsSetAside: this.#leases.setAsideCount,
      suppressedReplies: this.#engine.suppressedReplies,
      internalErrors: this.#reactor.internalErrors,
      traffic: this.#parts.plane.counters.snapshot(),
      streams: { ...this.#parts.counts },
    };
  }

  /** See {@link AuthenticateModule}. */
  tellAuthenticator(notice: unknown): void {
    this.#options.authenticator.take?.(notice);
  }

  /** What lives here, with its traffic until this moment. */
  allocations(): readonly AllocationDescription[] {
    return [...this.#engine.describeAllocations(this.#options.clock.now())];
  }

  setLimits(limits: EngineLimits): void {
    this.#engine.setLimits(limits);
  }

  /** Ends what they deny. Rules that can't be read are an internal error: to be checked before. */
  setPeers(rules: PeerRules): void {
    this.#reactor.administer((now) => {
      this.#options.peerPolicy.replace(rules);
      this.#engine.enforcePeerPolicy(now);
    });
  }

  /** Holds allocations to other limits. */
  changeAllocationLimits(changes: readonly LimitChange[]): void {
    this.#reactor.administer(() => this.#engine.changeAllocationLimits(changes));
  }

  /** Ends allocations, and those that are being made; the number of those that lived. */
  end(selector: AllocationSelector, reason: DeletionReason): number {
    let ended = 0;
    this.#reactor.administer((now) => {
      ended = this.#engine.endAllocations(selects(selector), reason, now);
    });
    return ended;
  }

  /** Gives up a port that it holds, for another reactor. */
  surrender(claim: ReservationClaim, done: (port: HeldPort | undefined) => void): void {
    this.#relaySockets.surrender(claim.reservation, claim.claimant, done);
  }

  /** What came of its claim of a port. */
  settleClaim(id: number, port: HeldPort | undefined): void {
    if (!this.#claims.settle(id, port) && port !== undefined) this.#relaySockets.decline(port);
  }

  drain(): Promise<void> {
    return this.#admissions.drain();
  }

  /** Ends every allocation and closes every socket. Resolves when none is left. */
  async stop(): Promise<void> {
    this.#reactor.stop();
    this.#parts.certificate?.close();
    await this.#parts.plane.stop();
    // Sockets that were being opened when the reactor stopped are closed with the plane; their ports come back here.
    this.#relaySockets.closeAll();
    this.#admissions.end();
  }

  #admit(question: AdmissionQuestion): AdmissionDecision | Promise<AdmissionDecision> {
    const { administration, engine, listeners } = this.#options;
    const { questionId, actor, username, scheme, client, listener } = question;
    const local = this.#admissions.admit(question);
    const transport = listeners.find(({ id }) => id === listener)?.transport ?? "udp";
    const settle = (decision: AdmissionDecision): AdmissionDecision => {
      if (!decision.admitted) this.#admissions.release(questionId);
      return decision;
    };
    const decision = administration.admission.admit(
      { reactor: engine, questionId },
      { actor, username, scheme, client, transport },
      { draining: !local.admitted },
    );
    return decision instanceof Promise ? decision.then(settle) : settle(decision);
  }
}
