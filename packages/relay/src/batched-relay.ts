import { randomBytes } from "node:crypto";
import { formatIpAddress, formatTransportAddress, type IpAddress } from "@turnpike/stun";
import { createPeerPolicy, type Listener } from "@turnpike/turn";
import type { ChannelOffload } from "@turnpike/xdp";
import { findRelayAddresses } from "./addresses/find-addresses.ts";
import { HairpinMap } from "./addresses/hairpin-map.ts";
import { parseListenSpec } from "./addresses/listen.ts";
import { listLocalAddresses } from "./addresses/local-addresses.ts";
import type { RelayAddress } from "./addresses/relay-address.ts";
import { createMainAuthenticator, type ThreadAuthenticator } from "./authenticate-module.ts";
import { type BatchedRelayOptions, checkForwarding } from "./batched-relay-options.ts";
import { Administered } from "./control/administered-relay.ts";
import { type Administration, createAdministration } from "./control/administration.ts";
import type { EventLoopReactor } from "./event-loop-reactor.ts";
import { KernelChannels } from "./kernel/kernel-channels.ts";
import type { Libc } from "./libc/libc.ts";
import { openListeners, tryRelayAddresses } from "./listeners.ts";
import { type Logger, silentLogger } from "./logger.ts";
import { findNatDiscovery, natDiscoverySpecs } from "./nat-discovery.ts";
import { sumCounts } from "./planes/counters.ts";
import { MAX_REACTOR, PortTable } from "./ports/port-table.ts";
import { createPortRange, DEFAULT_PORT_RANGE } from "./ports/port-range.ts";
import { type Clock, createSystemClock } from "./reactor/clock.ts";
import { ListeningSockets } from "./reactor-worker/listening-sockets.ts";
import { Gauge } from "./reactor-worker/protocol.ts";
import { ReactorExchange, STREAM_ENGINE } from "./reactor-worker/reactor-exchange.ts";
import { ReactorThread } from "./reactor-worker/reactor-thread.ts";
import { DEFAULT_LISTEN } from "./relay-options.ts";
import type { Relay, RelayStats } from "./relay.ts";
import type { CertificatePaths } from "./streams/certificate-files.ts";
import { createEventLoopPlane, type EventLoopParts } from "./streams/create-plane.ts";
import { createStreamReactor } from "./streams/stream-reactor.ts";

const REFRESH_MS = 500;
/**
 * What threads pass to each other is allocated by one and freed by another: glibc keeps such pages, a kilobyte for each
 * allocation that was made. Looking for them takes about a millisecond for each megabyte found, and none from packets.
 */
const TRIM_MS = 30_000;
/** Tokens name their engine: with several, any of these numbers may be the next reactor's. */
const ENGINES = MAX_REACTOR + 1;

/**
 * Starts a relay on the batched plane: this thread opens the listening sockets and administers, each reactor relays on
 * a thread of its own.
 *
 * @throws TypeError or RangeError for a wrong configuration, `RelayStartError` if the system refuses,
 * `PlaneUnavailableError` if `kernel` can't be had.
 */
export async function startBatchedRelay(options: BatchedRelayOptions): Promise<BatchedRelay> {
  checkForwarding(options.threads, options.coalesceUs ?? 0);
  const logger = options.logger ?? silentLogger;
  // Whatever is wrong in the configuration is found before a socket is opened.
  createPeerPolicy(options.peers);
  createPortRange(options.portRange ?? DEFAULT_PORT_RANGE);
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
  const clock = createSystemClock();
  const parts = createEventLoopPlane({
    options: { ...options, plane: {} },
    specs,
    logger,
    monotonicMs: () => clock.now().monotonicMs,
  });
  const { ports, certificate } = parts;
  const hasStreams = specs.some(({ transport }) => transport !== "udp");
  const sockets = new ListeningSockets({ ...options, isShared: hasStreams });
  const administration = createAdministration({ options, clock, logger });
  let offload: ChannelOffload | undefined;
  try {
    if (options.kernel !== undefined) {
      // The kernel's programs are many modules, which only this plane needs.
      const { openOffload } = await import("./kernel/open-offload.ts");
      offload = openOffload(options.kernel, logger);
    }
    await tryRelayAddresses(sockets, relayAddresses);
    const hasCertificate = certificate !== undefined || options.identity !== undefined;
    const listening = await openListeners({ plane: sockets, ports, hasCertificate, specs, machine, logger });
    const authenticator = hasStreams ? await createMainAuthenticator(options.authenticate, logger) : undefined;
    const relay = new BatchedRelay({
      options,
      logger,
      listening,
      relayAddresses,
      sockets,
      offload,
      ownAddresses: machine.map(({ ip }) => ip),
      clock,
      parts,
      authenticator,
      administration,
    });
    await relay.start();
    return relay;
  } catch (error) {
    certificate?.close();
    await parts.plane.stop();
    sockets.close();
    offload?.close();
    await administration.close();
    throw error;
  }
}

interface Parts {
  readonly options: BatchedRelayOptions;
  readonly logger: Logger;
  readonly listening: readonly Listener[];
  readonly relayAddresses: readonly RelayAddress[];
  readonly ownAddresses: readonly IpAddress[];
  readonly sockets: ListeningSockets;
  readonly offload: ChannelOffload | undefined;
  readonly clock: Clock;
  readonly parts: EventLoopParts;
  /** Undefined if only UDP is served. */
  readonly authenticator: ThreadAuthenticator | undefined;
  readonly administration: Administration;
}

/** A relay whose reactors run on threads. Made by {@link startBatchedRelay}. */
export class BatchedRelay extends Administered implements Relay {
  readonly listening: readonly Listener[];
  readonly relayAddresses: readonly RelayAddress[];
  /** The reactors, in the order of their threads. */
  readonly reactors: readonly ReactorThread[];
  readonly #logger: Logger;
  readonly #sockets: ListeningSockets;
  readonly #offload: ChannelOffload | undefined;
  readonly #refresh: NodeJS.Timeout | undefined;
  readonly #libc: Libc;
  #trim: NodeJS.Timeout | undefined;
  /** Serves streams and DTLS; undefined if only UDP is served. */
  readonly #streams: EventLoopReactor | undefined;
  readonly #parts: EventLoopParts;
  #draining = false;
  #stopping: Promise<void> | undefined;

  constructor(parts: Parts) {
    super(parts.administration);
    const { options, logger, relayAddresses, ownAddresses, sockets, administration } = parts;
    this.listening = parts.listening;
    this.relayAddresses = relayAddresses;
    this.#logger = logger;
    this.#sockets = sockets;
    const portRange = options.portRange ?? DEFAULT_PORT_RANGE;
    const portTable = new PortTable({ range: portRange, spaces: relayAddresses.length });
    const hairpin = new HairpinMap({ relayAddresses, ownAddresses });
    const { offload } = parts;
    this.#offload = offload;
    this.#refresh = offload && setInterval(() => offload.refresh(), REFRESH_MS).unref();
    this.#libc = options.libc;
    const kernelChannels =
      offload && new KernelChannels({ offload, listeners: parts.listening, hairpin, events: true });
    // Before a program that comes behind the driver, the kernel would join packets that the sockets want as aggregates.
    const joins = offload?.status().interfaces.some(({ mode }) => mode !== "native") === true;
    const nonceKey = randomBytes(32);
    const natDiscovery = findNatDiscovery(options.natDiscovery, parts.listening, relayAddresses);
    const isAlone = parts.authenticator === undefined && options.threads === 1;
    const { authenticator, clock } = parts;
    const exchange = new ReactorExchange(portTable);
    this.#parts = parts.parts;
    this.#streams =
      authenticator &&
      createStreamReactor({
        options,
        logger,
        clock,
        administration,
        authenticator,
        exchange,
        portTable,
        hairpin,
        nonceKey,
        natDiscovery,
        parts: parts.parts,
        listeners: parts.listening,
        relayAddresses,
        engines: ENGINES,
        descriptors: sockets.shares[0] ?? [],
      });
    const start = {
      engines: isAlone ? 1 : ENGINES,
      natDiscovery,
      listeners: parts.listening,
      relayAddresses,
      ownAddresses,
      portRange,
      realm: options.realm ?? "turnpike",
      nonceKey,
      peers: options.peers ?? {},
      engine: options.engine ?? {},
      penalties: options.penalties ?? {},
      trafficReportSeconds: options.trafficReportSeconds,
      channels: offload !== undefined,
      aggregate: (options.aggregate ?? true) && !joins,
      coalesceUs: options.coalesceUs ?? 0,
      bufferBytes: options.bufferBytes ?? 4 << 20,
    };
    this.reactors = sockets.shares.map(
      (descriptors, index) =>
        new ReactorThread({
          libc: options.libc,
          start,
          authenticate: options.authenticate,
          descriptors,
          portTable,
          hairpin,
          logger,
          nextReactor: () => exchange.freeReactor(),
          onForeign: (message) => exchange.take(this.reactors[index]?.reactor ?? -1, message),
          administration,
          ...(kernelChannels && { kernelChannels }),
        }),
    );
    exchange.join(this.reactors, this.#streams);
    administration.serve({
      allocations: async () => {
        const own = this.#streams?.allocations() ?? [];
        return [...own, ...(await Promise.all(this.reactors.map((reactor) => reactor.allocations()))).flat()];
      },
      end: async (selector, reason) => {
        const own = this.#streams?.end(selector, reason) ?? 0;
        const ended = await Promise.all(this.reactors.map((reactor) => reactor.end(selector, reason)));
        return ended.reduce((total, count) => total + count, own);
      },
      setLimits: (limits) => {
        this.#streams?.setLimits(limits);
        for (const reactor of this.reactors) reactor.setLimits(limits);
      },
      setPeers: (rules) => {
        this.#streams?.setPeers(rules);
        for (const reactor of this.reactors) reactor.setPeers(rules);
      },
      changeAllocationLimits: (reactor, changes) => {
        if (reactor === STREAM_ENGINE) this.#streams?.changeAllocationLimits(changes);
        else exchange.find(reactor)?.changeAllocationLimits(changes);
      },
      askWhoLives: () => {
        for (const reactor of this.reactors) reactor.askWhoLives();
      },
      setPenalties: (settings) => {
        for (const reactor of this.reactors) reactor.setPenalties(settings);
      },
      tellBan: (event) => {
        for (const reactor of this.reactors) reactor.tellBan(event);
      },
    });
  }

  /** Starts every reactor. */
  async start(): Promise<void> {
    try {
      await Promise.all(this.reactors.map((reactor) => reactor.start()));
      this.#streams?.start();
    } catch (error) {
      await Promise.all(this.reactors.map((reactor) => reactor.stop()));
      throw error;
    }
    this.#trim = setInterval(() => this.#libc.mallocTrim(0), TRIM_MS).unref();
    this.#logger.info(
      {
        listening: this.listening.map(({ transport, local }) => `${transport}:${formatTransportAddress(local)}`),
        relayAddresses: this.relayAddresses.map(({ relayed }) => formatIpAddress(relayed)),
        reactors: this.reactors.length,
      },
      "The relay is serving",
    );
  }

  stats(): RelayStats {
    const own = this.#streams?.stats();
    const sum = (place: number): number => this.reactors.reduce((total, reactor) => total + reactor.gauge(place), 0);
    return {
      draining: this.#draining,
      allocations: sum(Gauge.allocations) + (own?.allocations ?? 0),
      relaySockets: sum(Gauge.relaySockets) + (own?.relaySockets ?? 0),
      reservedPorts: sum(Gauge.reservedPorts) + (own?.reservedPorts ?? 0),
      portsInUse: sum(Gauge.portsInUse) + (own?.portsInUse ?? 0),
      portsSetAside: sum(Gauge.portsSetAside) + (own?.portsSetAside ?? 0),
      suppressedReplies: sum(Gauge.suppressedReplies) + (own?.suppressedReplies ?? 0),
      internalErrors: sum(Gauge.internalErrors) + (own?.internalErrors ?? 0),
      traffic: sumCounts([
        ...this.reactors.map((reactor) => reactor.counters.snapshot()),
        ...(own === undefined ? [] : [own.traffic]),
      ]),
      ...this.administration.stats({
        discarded: sum(Gauge.penaltyDiscarded),
        waiting: sum(Gauge.penaltyWaiting),
        sources: sum(Gauge.penaltySources),
      }),
      streams: { ...this.#parts.counts },
      ...(this.#offload && { kernel: this.#offload.status() }),
    };
  }

  reloadCertificate(paths?: CertificatePaths): boolean {
    const certificate = this.#parts.certificate;
    return (paths === undefined ? certificate?.reload() : certificate?.moveTo(paths)) ?? false;
  }

  tellAuthenticators(notice: unknown): void {
    this.#streams?.tellAuthenticator(notice);
    for (const thread of this.reactors) thread.give({ kind: "notice", notice });
  }

  async drain(): Promise<void> {
    this.#logger.info({ allocations: this.stats().allocations }, "Draining: new allocations are refused");
    this.#draining = true;
    await Promise.all([...this.reactors.map((reactor) => reactor.drain()), this.#streams?.drain()]);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { allocations } = this.stats();
    await Promise.all([...this.reactors.map((reactor) => reactor.stop()), this.#streams?.stop()]);
    this.#parts.certificate?.close();
    await this.#parts.plane.stop();
    clearInterval(this.#refresh);
    clearInterval(this.#trim);
    this.#offload?.close();
    this.#sockets.close();
    await this.administration.close();
    this.#logger.info({ allocations }, "The relay has stopped");
  }
}
