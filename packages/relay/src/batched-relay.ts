import { randomBytes } from "node:crypto";
import { formatIpAddress, formatTransportAddress, type IpAddress, type TransportAddress } from "@turnpike/stun";
import { createPeerPolicy, type DeletionReason, type Listener } from "@turnpike/turn";
import { ChannelOffload, type ChannelOffloadOptions, loadSystem } from "@turnpike/xdp";
import type { AllocationSelector } from "./allocation-selector.ts";
import { findRelayAddresses } from "./addresses/find-addresses.ts";
import { HairpinMap } from "./addresses/hairpin-map.ts";
import { parseListenSpec } from "./addresses/listen.ts";
import { listLocalAddresses } from "./addresses/local-addresses.ts";
import type { RelayAddress } from "./addresses/relay-address.ts";
import { KernelChannels } from "./kernel/kernel-channels.ts";
import { Arena } from "./libc/arena.ts";
import { describeErrno, type Libc, SystemCallError } from "./libc/libc.ts";
import { SocketFactory } from "./libc/sockets.ts";
import { openListeners, tryRelayAddresses } from "./listeners.ts";
import { type Logger, silentLogger } from "./logger.ts";
import { openFailure } from "./planes/batched/open-failure.ts";
import { sumCounts } from "./planes/counters.ts";
import type { Opened } from "./planes/plane.ts";
import { MAX_REACTOR, PortTable } from "./ports/port-table.ts";
import { DEFAULT_PORT_RANGE } from "./ports/port-range.ts";
import { type AuthenticateModule, Gauge } from "./reactor-worker/protocol.ts";
import { ReactorThread } from "./reactor-worker/reactor-thread.ts";
import type { RelayOptions } from "./relay-options.ts";
import type { Relay, RelayStats } from "./relay.ts";

/** What {@link startBatchedRelay} takes beside what every relay takes. */
export interface BatchedRelayOptions extends Omit<RelayOptions, "authenticate" | "plane"> {
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
  /** Answers what the reactors' authenticators ask. */
  readonly answer?: (question: unknown) => Promise<unknown>;
}

/** The kernel plane's settings. */
export type KernelPlaneOptions = Pick<ChannelOffloadOptions, "interfaces" | "modes" | "maxChannels">;

const REFRESH_MS = 500;
const MAX_THREADS = 64;
const MAX_COALESCE_US = 200;
const DEFAULT_LISTEN: readonly string[] = ["udp:0.0.0.0:3478", "udp:[::]:3478"];

/**
 * Starts a relay on the batched plane: this thread opens the listening sockets and administers, each reactor relays on
 * a thread of its own.
 *
 * @throws TypeError or RangeError for a wrong configuration, `RelayStartError` if the system refuses; with `kernel`,
 * `XdpUnavailableError` if this process may not use it, `XdpError` if an interface can't.
 */
export async function startBatchedRelay(options: BatchedRelayOptions): Promise<BatchedRelay> {
  checkRange("threads", options.threads, 1, MAX_THREADS);
  checkRange("coalesceUs", options.coalesceUs ?? 0, 0, MAX_COALESCE_US);
  if (options.kernel !== undefined && options.engine?.mobility === true) {
    throw new TypeError(
      "Cannot start the relay: the kernel plane can't follow clients that move; set mobility to false",
    );
  }
  const logger = options.logger ?? silentLogger;
  createPeerPolicy(options.peers);
  const specs = (options.listen ?? DEFAULT_LISTEN).map(parseListenSpec);
  const machine = listLocalAddresses({ isGlobal: (ip) => createPeerPolicy().decide(ip) === "global" });
  const relayAddresses = await findRelayAddresses({
    relayAddresses: options.relayAddresses ?? [],
    externalAddresses: options.externalAddresses ?? [],
    machine,
    logger,
  });
  const offload = options.kernel && openOffload(options.kernel, logger);
  const sockets = new ListeningSockets(options);
  try {
    await tryRelayAddresses(sockets, relayAddresses);
    const listening = await openListeners({ plane: sockets, specs, machine, logger });
    const relay = new BatchedRelay({
      options,
      logger,
      listening,
      relayAddresses,
      sockets,
      offload,
      ownAddresses: machine.map(({ ip }) => ip),
    });
    await relay.start();
    return relay;
  } catch (error) {
    sockets.close();
    offload?.close();
    throw error;
  }
}

function openOffload(options: KernelPlaneOptions, logger: Logger): ChannelOffload {
  const warn = (fields: Readonly<Record<string, unknown>>, message: string): void => logger.warn(fields, message);
  return new ChannelOffload({ ...options, system: loadSystem(), warn });
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

  constructor(options: BatchedRelayOptions) {
    this.#libc = options.libc;
    this.#factory = new SocketFactory(options.libc, new Arena(options.libc, SocketFactory.SCRATCH));
    this.#bufferBytes = options.bufferBytes;
    this.shares = Array.from({ length: options.threads }, () => []);
  }

  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void {
    const fds: number[] = [];
    const opened = this.#tryOpen(() => {
      let bound = local;
      for (const _share of this.shares) {
        const bufferBytes = this.#bufferBytes;
        const socket = this.#factory.open({
          local: bound,
          // Alone, nobody shall be able to take a part of the clients.
          reusePort: this.shares.length > 1,
          ...(bufferBytes !== undefined && { bufferBytes }),
        });
        fds.push(socket.fd);
        bound = socket.local;
      }
      return { kind: "opened", socket: listener, local: bound };
    });
    for (const [index, fd] of fds.entries()) {
      if (opened.kind === "opened") this.shares[index]?.push(fd);
      else this.#libc.close(fd);
    }
    done(opened);
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
}

/** A relay whose reactors run on threads. Made by {@link startBatchedRelay}. */
export class BatchedRelay implements Relay {
  readonly listening: readonly Listener[];
  readonly relayAddresses: readonly RelayAddress[];
  /** The reactors, in the order of their threads. */
  readonly reactors: readonly ReactorThread[];
  readonly #logger: Logger;
  readonly #sockets: ListeningSockets;
  readonly #offload: ChannelOffload | undefined;
  readonly #refresh: NodeJS.Timeout | undefined;
  readonly #hasPenalties: boolean;
  #nextReactor = 0;
  #stopping: Promise<void> | undefined;

  constructor(parts: Parts) {
    const { options, logger, relayAddresses, ownAddresses, sockets } = parts;
    this.listening = parts.listening;
    this.relayAddresses = relayAddresses;
    this.#logger = logger;
    this.#sockets = sockets;
    this.#hasPenalties = options.penalties !== false;
    const portRange = options.portRange ?? DEFAULT_PORT_RANGE;
    const portTable = new PortTable({ range: portRange, spaces: relayAddresses.length });
    const hairpin = new HairpinMap({ relayAddresses, ownAddresses });
    const { offload } = parts;
    this.#offload = offload;
    this.#refresh = offload && setInterval(() => offload.refresh(), REFRESH_MS).unref();
    const events = options.onEvent !== undefined;
    const kernelChannels = offload && new KernelChannels({ offload, listeners: parts.listening, hairpin, events });
    // Before a generic XDP program, the kernel would join packets that the sockets want as aggregates.
    const joins = offload?.status().interfaces.some(({ mode }) => mode === "generic") === true;
    const start = {
      listeners: parts.listening,
      relayAddresses,
      ownAddresses,
      portRange,
      realm: options.realm ?? "turnpike",
      nonceKey: randomBytes(32),
      peers: options.peers ?? {},
      engine: options.engine ?? {},
      authenticate: options.authenticate,
      penalties: options.penalties ?? {},
      events,
      channels: offload !== undefined,
      aggregate: (options.aggregate ?? true) && !joins,
      coalesceUs: options.coalesceUs ?? 0,
      bufferBytes: options.bufferBytes ?? 4 << 20,
    };
    this.reactors = sockets.shares.map(
      (descriptors) =>
        new ReactorThread({
          libc: options.libc,
          start,
          descriptors,
          portTable,
          hairpin,
          logger,
          nextReactor: () => this.#freeReactor(),
          ...(options.onEvent && { onEvent: options.onEvent }),
          ...(kernelChannels && { kernelChannels }),
          ...(options.answer && { answer: options.answer }),
        }),
    );
  }

  /** Starts every reactor. */
  async start(): Promise<void> {
    try {
      await Promise.all(this.reactors.map((reactor) => reactor.start()));
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
    const sum = (place: number): number => this.reactors.reduce((total, reactor) => total + reactor.gauge(place), 0);
    return {
      allocations: sum(Gauge.allocations),
      relaySockets: sum(Gauge.relaySockets),
      reservedPorts: sum(Gauge.reservedPorts),
      portsInUse: sum(Gauge.portsInUse),
      portsSetAside: sum(Gauge.portsSetAside),
      suppressedReplies: sum(Gauge.suppressedReplies),
      internalErrors: sum(Gauge.internalErrors),
      ...(this.#hasPenalties && {
        penalties: {
          failures: sum(Gauge.penaltyFailures),
          discarded: sum(Gauge.penaltyDiscarded),
          automaticBans: sum(Gauge.penaltyBans),
          waiting: sum(Gauge.penaltyWaiting),
          sources: sum(Gauge.penaltySources),
        },
      }),
      traffic: sumCounts(this.reactors.map((reactor) => reactor.counters.snapshot())),
      ...(this.#offload && { kernel: this.#offload.status() }),
    };
  }

  async endAllocations(selector: AllocationSelector, reason: DeletionReason): Promise<number> {
    const counts = await Promise.all(this.reactors.map((reactor) => reactor.endAllocations(selector, reason)));
    return counts.reduce((total, count) => total + count, 0);
  }

  async drain(): Promise<void> {
    this.#logger.info({ allocations: this.stats().allocations }, "Draining: new allocations are refused");
    await Promise.all(this.reactors.map((reactor) => reactor.drain()));
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { allocations } = this.stats();
    await Promise.all(this.reactors.map((reactor) => reactor.stop()));
    clearInterval(this.#refresh);
    this.#offload?.close();
    this.#sockets.close();
    this.#logger.info({ allocations }, "The relay has stopped");
  }

  /** The next number that no living reactor has: tokens and ids of a dead one shall not be taken for another's. */
  #freeReactor(): number {
    for (;;) {
      const reactor = this.#nextReactor;
      this.#nextReactor = (reactor + 1) % (MAX_REACTOR + 1);
      if (this.reactors === undefined || this.reactors.every((living) => living.reactor !== reactor)) return reactor;
    }
  }
}
