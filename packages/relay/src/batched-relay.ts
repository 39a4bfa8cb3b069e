import { randomBytes } from "node:crypto";
import {
  AddressRegister,
  formatIpAddress,
  formatTransportAddress,
  type IpAddress,
  type TransportAddress,
} from "@turnpike/stun";
import { ClientSource, createPeerPolicy, type Listener, type NatDiscovery } from "@turnpike/turn";
import type { ChannelOffload } from "@turnpike/xdp";
import { findRelayAddresses } from "./addresses/find-addresses.ts";
import { HairpinMap } from "./addresses/hairpin-map.ts";
import { parseListenSpec } from "./addresses/listen.ts";
import { listLocalAddresses } from "./addresses/local-addresses.ts";
import type { RelayAddress } from "./addresses/relay-address.ts";
import { type AuthenticateModule, createMainAuthenticator, type ThreadAuthenticator } from "./authenticate-module.ts";
import { Administered } from "./control/administered-relay.ts";
import { type Administration, createAdministration } from "./control/administration.ts";
import { EventLoopReactor } from "./event-loop-reactor.ts";
import { KernelChannels } from "./kernel/kernel-channels.ts";
import { type KernelPlaneOptions, openOffload } from "./kernel/open-offload.ts";
import { Arena } from "./libc/arena.ts";
import { describeErrno, type Libc, SystemCallError } from "./libc/libc.ts";
import { SocketFactory } from "./libc/sockets.ts";
import { openListeners, tryRelayAddresses } from "./listeners.ts";
import { type Logger, silentLogger } from "./logger.ts";
import { findNatDiscovery, natDiscoverySpecs } from "./nat-discovery.ts";
import { openFailure } from "./planes/batched/open-failure.ts";
import { sumCounts } from "./planes/counters.ts";
import type { Opened } from "./planes/plane.ts";
import { MAX_REACTOR, PortTable } from "./ports/port-table.ts";
import { DEFAULT_PORT_RANGE } from "./ports/port-range.ts";
import { type Clock, createSystemClock } from "./reactor/clock.ts";
import type { HeldPort } from "./reactor/relay-sockets.ts";
import { type ForeignPacket, Gauge, type ReservationClaim } from "./reactor-worker/protocol.ts";
import { type ForeignMessage, ReactorThread } from "./reactor-worker/reactor-thread.ts";
import { DEFAULT_LISTEN, type RelayOptions } from "./relay-options.ts";
import type { Relay, RelayStats } from "./relay.ts";
import { createEventLoopPlane, type EventLoopParts } from "./streams/create-plane.ts";
import { SharedDatagrams } from "./streams/shared-datagrams.ts";

/** What {@link startBatchedRelay} takes beside what every relay takes. */
export interface BatchedRelayOptions extends Omit<RelayOptions, "authenticate" | "plane" | "forwarding"> {
  /** The system calls, tested (`testLibc`). */
  readonly libc: Libc;
  readonly authenticate: AuthenticateModule;
  /** Reactors, each on a thread of its own: one for each core that the relay may use. 1–64. */
  readonly threads: number;
  /** Use aggregates where traffic comes in runs; false if the self-test says so. Default true. */
  readonly aggregate?: boolean;
  /** Trades up to so many microseconds of latency for CPU at middle loads, 0–200. Default 0. */
  readonly coalesceUs?: number;
  /** Size of each socket's kernel buffers. Default 4 MiB. */
  readonly bufferBytes?: number;
  /** Relays channels in the kernel, by XDP, where these interfaces carry them. Default: through the sockets alone. */
  readonly kernel?: KernelPlaneOptions;
}

const REFRESH_MS = 500;
/** How many threads a relay can have. */
export const MAX_THREADS = 64;
const MAX_COALESCE_US = 200;
/** Tokens name their engine: with several, any of these numbers may be the next reactor's. */
const ENGINES = MAX_REACTOR + 1;
/** The number of the reactor that serves streams and DTLS, on the main thread. */
const STREAM_ENGINE = 0;

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
  createPeerPolicy(options.peers);
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
  const sockets = new ListeningSockets(options, hasStreams);
  const administration = createAdministration({ options, clock, logger });
  let offload: ChannelOffload | undefined;
  try {
    offload = options.kernel && openOffload(options.kernel, logger);
    await tryRelayAddresses(sockets, relayAddresses);
    const hasCertificate = certificate !== undefined;
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

function sourceOf(packet: ForeignPacket): ClientSource {
  const remote = new AddressRegister();
  remote.set(packet.client);
  const source = new ClientSource(remote);
  source.listener = packet.listener;
  source.connection = packet.connection;
  return source;
}

/** @throws RangeError if one of them makes no sense. */
export function checkForwarding(threads: number, coalesceUs: number): void {
  checkRange("threads", threads, 1, MAX_THREADS);
  checkRange("coalesceUs", coalesceUs, 0, MAX_COALESCE_US);
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`Cannot start the relay: ${name} is ${value}, not a whole number from ${min} to ${max}`);
  }
}

/** One socket for each listener and reactor, on one port: the kernel spreads clients over them (SO_REUSEPORT). */
class ListeningSockets {
  /** Of each reactor: its sockets in the order of the listeners. */
  readonly shares: readonly number[][];
  readonly #libc: Libc;
  readonly #factory: SocketFactory;
  readonly #bufferBytes: number | undefined;

  readonly #isShared: boolean;

  /** `isShared`: another reactor may adopt some of the clients, even if there is but one share. */
  constructor(options: BatchedRelayOptions, isShared: boolean) {
    this.#isShared = isShared || options.threads > 1;
    this.#libc = options.libc;
    this.#factory = new SocketFactory(options.libc, new Arena(options.libc, SocketFactory.SCRATCH));
    this.#bufferBytes = options.bufferBytes;
    this.shares = Array.from({ length: options.threads }, () => []);
  }

  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void {
    const fds: number[] = [];
    const opened = this.#tryOpen(() => {
      // Sockets that share a port would let another program of this user's have it too: alone, one would not.
      let bound = this.#isShared ? this.#probe(local) : local;
      for (const _share of this.shares) {
        const bufferBytes = this.#bufferBytes;
        const socket = this.#factory.open({
          local: bound,
          // Alone, nobody shall be able to take a part of the clients.
          reusePort: this.#isShared,
          ...(bufferBytes !== undefined && { bufferBytes }),
        });
        fds.push(socket.fd);
        bound = socket.local;
      }
      return { kind: "opened", socket: listener, local: bound };
    });
    for (const [index, fd] of fds.entries()) {
      const share = this.shares[index];
      if (opened.kind === "opened" && share !== undefined) share[listener] = fd;
      else this.#libc.close(fd);
    }
    done(opened);
  }

  /** Binds an address as nobody else may have it, and lets it go. Returns it with the port that was found. */
  #probe(address: TransportAddress): TransportAddress {
    const { fd, local } = this.#factory.open({ local: address });
    this.#libc.close(fd);
    return local;
  }

  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void {
    done(
      this.#tryOpen(() => {
        const { fd, local: bound } = this.#factory.open({ local });
        return { kind: "opened", socket: fd, local: bound };
      }),
    );
  }

  closeRelaySocket(fd: number, done: () => void): void {
    this.#libc.close(fd);
    done();
  }

  #tryOpen(open: () => Opened): Opened {
    try {
      return open();
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      const code = describeErrno(error.errno).split(" ")[0] ?? "";
      return { kind: "failed", failure: openFailure(error.errno), code };
    }
  }

  close(): void {
    for (const fd of this.shares.flat()) this.#libc.close(fd);
    for (const share of this.shares) share.length = 0;
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
  /** Serves streams and DTLS; undefined if only UDP is served. */
  readonly #streams: EventLoopReactor | undefined;
  readonly #parts: EventLoopParts;
  readonly #portTable: PortTable;
  #nextReactor = STREAM_ENGINE + 1;
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
    this.#portTable = portTable;
    const hairpin = new HairpinMap({ relayAddresses, ownAddresses });
    const { offload } = parts;
    this.#offload = offload;
    this.#refresh = offload && setInterval(() => offload.refresh(), REFRESH_MS).unref();
    const kernelChannels =
      offload && new KernelChannels({ offload, listeners: parts.listening, hairpin, events: true });
    // Before a generic XDP program, the kernel would join packets that the sockets want as aggregates.
    const joins = offload?.status().interfaces.some(({ mode }) => mode === "generic") === true;
    const nonceKey = randomBytes(32);
    const natDiscovery = findNatDiscovery(options.natDiscovery, parts.listening);
    const isAlone = parts.authenticator === undefined && options.threads === 1;
    this.#parts = parts.parts;
    this.#streams =
      parts.authenticator &&
      this.#createStreams(parts, { portTable, hairpin, nonceKey, natDiscovery, authenticator: parts.authenticator });
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
      penalties: options.penalties === false ? undefined : (options.penalties ?? {}),
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
          nextReactor: () => this.#freeReactor(),
          onForeign: (message) => this.#handleForeign(this.reactors[index]?.reactor ?? -1, message),
          administration,
          ...(kernelChannels && { kernelChannels }),
        }),
    );
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

  reloadCertificate(): boolean {
    return this.#parts.certificate?.reload() ?? false;
  }

  tellAuthenticators(notice: unknown): void {
    this.#streams?.tellAuthenticator(notice);
    for (const thread of this.reactors) thread.give({ kind: "notice", notice });
  }

  async drain(): Promise<void> {
    this.#logger.info({ allocations: this.stats().allocations }, "Draining: new allocations are refused");
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
    this.#offload?.close();
    this.#sockets.close();
    await this.administration.close();
    this.#logger.info({ allocations }, "The relay has stopped");
  }

  #createStreams(
    { options, logger, listening, relayAddresses, sockets, clock, parts, administration }: Parts,
    shared: {
      readonly portTable: PortTable;
      readonly hairpin: HairpinMap;
      readonly nonceKey: Uint8Array;
      readonly natDiscovery: NatDiscovery | undefined;
      readonly authenticator: ThreadAuthenticator;
    },
  ): EventLoopReactor {
    const datagrams = new SharedDatagrams({
      libc: options.libc,
      descriptors: sockets.shares[0] ?? [],
      listeners: listening,
      counters: parts.plane.counters,
    });
    parts.plane.share(datagrams);
    for (const { id, transport } of listening) {
      if (transport === "udp") parts.plane.setKind(id, "shared");
    }
    return new EventLoopReactor({
      ...shared,
      options,
      administration,
      logger,
      clock,
      parts,
      listeners: listening,
      peerPolicy: createPeerPolicy(options.peers),
      relayAddresses,
      engine: STREAM_ENGINE,
      engines: ENGINES,
      claim: (owner, claim) => this.#claim(owner, claim),
      others: {
        isForeign: () => false,
        sendToClient: () => {},
        closeClient: () => {},
        handlePacket: (owner, frame) => this.#find(owner)?.give({ kind: "clientPacket", ...frame }),
        handleClosed: (owner, client) => this.#find(owner)?.give({ kind: "clientClosed", ...client }),
        carryOut: (output) => {
          if (output.kind === "adoptClient") {
            datagrams.adopt(output.listener, output.client);
          } else if (output.kind === "releaseClient") {
            datagrams.release(output.listener, output.client);
          } else {
            const { engine, listener, connection, client, bytes } = output;
            this.#find(engine)?.give({ kind: "handedOver", listener, connection, client, bytes });
          }
        },
      },
    });
  }

  #find(engine: number): ReactorThread | undefined {
    return this.reactors.find(({ reactor }) => reactor === engine);
  }

  /** What the reactor `from` wants of another. */
  #handleForeign(from: number, message: ForeignMessage): void {
    switch (message.kind) {
      case "handOver": {
        const { engine, packet } = message;
        if (engine === STREAM_ENGINE) this.#streams?.handleHandedOver(sourceOf(packet), packet.bytes);
        else this.#find(engine)?.give({ kind: "handedOver", ...packet });
        return;
      }
      case "sendToClient":
        this.#streams?.sendForOther(from, message);
        return;
      case "closeClient":
        this.#streams?.closeForOther(message.listener, message.connection);
        return;
      case "claim":
        this.#claim(message.owner, message.claim);
        return;
      case "surrendered":
        this.#settleClaim(message.claim, message.port);
        return;
    }
  }

  /** A reactor wants a port that another holds. */
  #claim(owner: number, claim: ReservationClaim): void {
    if (owner === STREAM_ENGINE && this.#streams !== undefined) {
      this.#streams.surrender(claim, (port) => this.#settleClaim(claim, port));
      return;
    }
    const thread = this.#find(owner);
    if (thread === undefined) this.#settleClaim(claim, undefined);
    else thread.give({ kind: "surrender", ...claim });
  }

  #settleClaim({ id, claimant }: ReservationClaim, port: HeldPort | undefined): void {
    if (claimant === STREAM_ENGINE) {
      this.#streams?.settleClaim(id, port);
      return;
    }
    const thread = this.#find(claimant);
    if (thread !== undefined) thread.give({ kind: "claimed", id, port });
    // It died meanwhile, and what it held was freed before the port was passed on to it.
    else if (port !== undefined) this.#portTable.giveBack(port.space, port.port, claimant);
  }

  /** The next number that no living reactor has: tokens and ids of a dead one shall not be taken for another's. */
  #freeReactor(): number {
    for (;;) {
      const reactor = this.#nextReactor;
      this.#nextReactor = reactor === MAX_REACTOR ? STREAM_ENGINE + 1 : reactor + 1;
      if (this.reactors === undefined || this.reactors.every((living) => living.reactor !== reactor)) {
        return reactor;
      }
    }
  }
}
