import type { OffloadStatus } from "@turnpike/xdp";
import { randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { formatIpAddress, formatTransportAddress } from "@turnpike/stun";
import { createPeerPolicy, type Listener } from "@turnpike/turn";
import { findRelayAddresses } from "./addresses/find-addresses.ts";
import { HairpinMap } from "./addresses/hairpin-map.ts";
import { parseListenSpec } from "./addresses/listen.ts";
import { listLocalAddresses } from "./addresses/local-addresses.ts";
import type { RelayAddress } from "./addresses/relay-address.ts";
import { createMainAuthenticator } from "./authenticate-module.ts";
import { checkForwarding, MAX_THREADS } from "./batched-relay-options.ts";
import { startBatchedRelay } from "./batched-relay.ts";
import { Administered, type AdministeredRelay } from "./control/administered-relay.ts";
import { type Administration, type AdministrationStats, createAdministration } from "./control/administration.ts";
import { EventLoopReactor } from "./event-loop-reactor.ts";
import { openListeners, tryRelayAddresses } from "./listeners.ts";
import type { KernelPlaneOptions } from "./kernel/open-offload.ts";
import { type Logger, silentLogger } from "./logger.ts";
import { findNatDiscovery, natDiscoverySpecs } from "./nat-discovery.ts";
import { choosePlane, type PlaneChoice } from "./planes/choose-plane.ts";
import type { PlaneCounterName } from "./planes/counters.ts";
import { keepYoungGenerationSmall } from "./planes/portable/young-generation.ts";
import { DEFAULT_PORT_RANGE } from "./ports/port-range.ts";
import { PortTable } from "./ports/port-table.ts";
import { createSystemClock } from "./reactor/clock.ts";
import { DEFAULT_LISTEN, type ForwardingOptions, type RelayOptions } from "./relay-options.ts";
import { ReplaceablePeerPolicy } from "./replaceable-peer-policy.ts";
import type { CertificateFiles, CertificatePaths } from "./streams/certificate-files.ts";
import { createEventLoopPlane } from "./streams/create-plane.ts";
import type { StreamCounts } from "./streams/stream-options.ts";

/** What a relay holds and has done. */
export interface RelayStats extends AdministrationStats {
  /** Living allocations, those that are being made included. */
  readonly allocations: number;
  /** Whether no new ones are taken. */
  readonly draining: boolean;
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
  /** Packets, bytes, drops and errors since the start. */
  readonly traffic: Readonly<Record<PlaneCounterName, number>>;
  /** Connections of clients over streams and DTLS, and of peers (RFC 6062). */
  readonly streams: Readonly<StreamCounts>;
  /** What is relayed in the kernel, beside `traffic`; absent if nothing is. */
  readonly kernel?: OffloadStatus;
}

/** A running relay. */
export interface Relay extends AdministeredRelay {
  /** Where clients reach it, with the ports that were found. */
  readonly listening: readonly Listener[];
  /** What relay sockets are bound to, and what peers are told. */
  readonly relayAddresses: readonly RelayAddress[];
  stats(): RelayStats;
  /** Tells the authenticators of all threads something, such as a revocation: see `ThreadAuthenticator.take`. */
  tellAuthenticators(notice: unknown): void;
  /**
   * Reads the certificate's files again, at once, or from here on those that `paths` names. False if the one before stays
   * in use, or there is none: a relay that started without one has no listeners for it.
   *
   * @throws TypeError if other files than before can't be read or don't fit together; then nothing has changed.
   */
  reloadCertificate(paths?: CertificatePaths): boolean;
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
 * Starts a relay: on the batched plane if it can be had, else on the portable one.
 *
 * @throws TypeError or RangeError for a wrong configuration, {@link RelayStartError} if the system refuses,
 *   PlaneUnavailableError if `forwarding.plane` can't be had.
 * @example
 * const relay = await startRelay({ listen: ["udp:127.0.0.1:3478"], authenticate });
 * await relay.stop();
 */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const { authenticate, forwarding = {}, plane, ...forAll } = options;
  const threads = forwarding.threads ?? Math.min(MAX_THREADS, availableParallelism());
  checkForwarding(threads, forwarding.coalesceUs ?? 0);
  checkInterface(forwarding);
  const choice = chooseForwarding(options);
  if (choice.plane === "portable" || typeof authenticate === "function") return startPortableRelay(options);
  return startBatchedRelay({
    ...forAll,
    authenticate,
    threads,
    libc: choice.libc,
    aggregate: choice.aggregate,
    ...(forwarding.coalesceUs !== undefined && { coalesceUs: forwarding.coalesceUs }),
    ...(forwarding.interface !== undefined && { kernel: kernelPlane(forwarding.interface, forwarding.kernelMode) }),
    ...(plane?.socketBufferBytes !== undefined && { bufferBytes: plane.socketBufferBytes }),
  });
}

function kernelPlane(name: string, mode: ForwardingOptions["kernelMode"] = "auto"): KernelPlaneOptions {
  return { interfaces: [name], ...(mode !== "auto" && { modes: [mode] }) };
}

/** @throws TypeError */
function checkInterface({ plane, interface: name, kernelMode = "auto" }: ForwardingOptions): void {
  if (plane === "kernel" && name === undefined) {
    throw new TypeError(
      "Cannot use the kernel plane without an interface: name the one that clients and peers come by",
    );
  }
  if (plane !== "kernel" && name !== undefined) {
    throw new TypeError(`Cannot use the interface ${name}: only the kernel plane goes by one`);
  }
  if (plane !== "kernel" && kernelMode !== "auto") {
    throw new TypeError(`Cannot use the mode ${kernelMode}: only the kernel plane has modes`);
  }
}

function chooseForwarding({ authenticate, forwarding, logger = silentLogger }: RelayOptions): PlaneChoice {
  const wanted = forwarding?.plane ?? "auto";
  if (typeof authenticate !== "function") return choosePlane({ wanted, logger });
  if (wanted === "batched" || wanted === "kernel") {
    throw new TypeError(
      `Cannot use the ${wanted} plane: its threads need \`authenticate\` as a module, not as a function`,
    );
  }
  return { plane: "portable" };
}

/** One reactor on this event loop. */
async function startPortableRelay(options: RelayOptions): Promise<Relay> {
  const logger = options.logger ?? silentLogger;
  keepYoungGenerationSmall();
  // Whatever is wrong in the configuration is found before a socket is opened.
  const peerPolicy = new ReplaceablePeerPolicy(options.peers);
  const specs = [...natDiscoverySpecs(options.natDiscovery), ...(options.listen ?? DEFAULT_LISTEN)].map(
    parseListenSpec,
  );
  const machine = listLocalAddresses({ isGlobal: (ip) => createPeerPolicy().decide(ip) === "global" });
  const relayAddresses = await findRelayAddresses({
    relayAddresses: options.relayAddresses ?? [],
    externalAddresses: options.externalAddresses ?? [],
    machine,
    logger,
  });
  const portTable = new PortTable({ range: options.portRange ?? DEFAULT_PORT_RANGE, spaces: relayAddresses.length });
  const clock = createSystemClock();
  const parts = createEventLoopPlane({ options, specs, logger, monotonicMs: () => clock.now().monotonicMs });
  const { plane, ports, certificate } = parts;
  const administration = createAdministration({ options, clock, logger });
  try {
    await tryRelayAddresses(plane, relayAddresses);
    const hasCertificate = certificate !== undefined || options.identity !== undefined;
    const listening = await openListeners({ plane, ports, hasCertificate, specs, machine, logger });
    const reactor = new EventLoopReactor({
      options,
      administration,
      authenticator: await createMainAuthenticator(options.authenticate, logger),
      logger,
      clock,
      parts,
      listeners: listening,
      natDiscovery: findNatDiscovery(options.natDiscovery, listening, relayAddresses),
      peerPolicy,
      relayAddresses,
      portTable,
      hairpin: new HairpinMap({ relayAddresses, ownAddresses: machine.map(({ ip }) => ip) }),
      nonceKey: randomBytes(32),
      engine: 0,
      engines: 1,
    });
    return new RunningRelay({ logger, listening, relayAddresses, reactor, certificate, administration });
  } catch (error) {
    certificate?.close();
    await plane.stop();
    await administration.close();
    throw error;
  }
}

/** What a {@link RunningRelay} is made of. */
interface Parts {
  readonly logger: Logger;
  readonly listening: readonly Listener[];
  readonly relayAddresses: readonly RelayAddress[];
  readonly reactor: EventLoopReactor;
  readonly certificate: CertificateFiles | undefined;
  readonly administration: Administration;
}

class RunningRelay extends Administered implements Relay {
  readonly listening: readonly Listener[];
  readonly relayAddresses: readonly RelayAddress[];
  readonly #logger: Logger;
  readonly #reactor: EventLoopReactor;
  readonly #certificate: CertificateFiles | undefined;
  #draining = false;
  #stopping: Promise<void> | undefined;

  constructor(parts: Parts) {
    super(parts.administration);
    const { reactor } = parts;
    this.listening = parts.listening;
    this.relayAddresses = parts.relayAddresses;
    this.#logger = parts.logger;
    this.#reactor = reactor;
    this.#certificate = parts.certificate;
    this.administration.serve({
      allocations: () => reactor.allocations(),
      end: (selector, reason) => reactor.end(selector, reason),
      setLimits: (limits) => reactor.setLimits(limits),
      setPeers: (rules) => reactor.setPeers(rules),
      changeAllocationLimits: (_, changes) => reactor.changeAllocationLimits(changes),
    });
    reactor.start();
    this.#logger.info(
      {
        listening: this.listening.map(({ transport, local }) => `${transport}:${formatTransportAddress(local)}`),
        relayAddresses: this.relayAddresses.map(({ relayed }) => formatIpAddress(relayed)),
      },
      "The relay is serving",
    );
  }

  stats(): RelayStats {
    return { ...this.#reactor.stats(), ...this.administration.stats(), draining: this.#draining };
  }

  reloadCertificate(paths?: CertificatePaths): boolean {
    const certificate = this.#certificate;
    return (paths === undefined ? certificate?.reload() : certificate?.moveTo(paths)) ?? false;
  }

  tellAuthenticators(notice: unknown): void {
    this.#reactor.tellAuthenticator(notice);
  }

  drain(): Promise<void> {
    this.#logger.info({ allocations: this.stats().allocations }, "Draining: new allocations are refused");
    this.#draining = true;
    return this.#reactor.drain();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { allocations } = this.stats();
    await this.#reactor.stop();
    await this.administration.close();
    this.#logger.info({ allocations }, "The relay has stopped");
  }
}
