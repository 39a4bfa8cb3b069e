import type { Attributes, BatchObservableResult, Meter, Observable } from "@opentelemetry/api";
import type { LifecycleEvent } from "@turnpike/turn";
import type { RelayStats } from "../relay.ts";
import { EVENT_REASONS, EVENT_TYPES, type MetricDefinition, type MetricKey, METRICS } from "./metric-table.ts";

/** What {@link RelayMetrics} needs. */
export interface RelayMetricsOptions {
  /** Default: {@link RelayMetrics.register} tells later. */
  readonly meter?: Meter | undefined;
  /** Figures since the start. Read when somebody asks, at most once a second. */
  readonly stats: () => RelayStats;
  readonly monotonicMs: () => number;
  /** Whether the portal link is up. Default: there is no portal. */
  readonly isLinkUp?: () => boolean;
}

const MAX_AGE_MS = 1_000;

/** The metrics of a relay: nothing is counted on the data path beyond what its plane counts anyway. */
export class RelayMetrics {
  readonly #options: RelayMetricsOptions;
  readonly #events = new Map<string, { readonly attributes: Attributes; count: number }>();
  #stats: { readonly value: RelayStats; readonly atMs: number } | undefined;

  constructor(options: RelayMetricsOptions) {
    this.#options = options;
    if (options.meter !== undefined) this.register(options.meter);
  }

  /** Makes the instruments. What happened before is counted as well. */
  register(meter: Meter): void {
    const make = ({ name, kind, unit, description }: MetricDefinition): Observable =>
      kind === "counter"
        ? meter.createObservableCounter(name, { unit, description })
        : meter.createObservableGauge(name, { unit, description });
    const instruments = Object.fromEntries(Object.entries(METRICS).map(([key, metric]) => [key, make(metric)]));
    const of = (key: MetricKey): Observable => {
      const instrument = instruments[key];
      if (instrument === undefined) throw new TypeError(`There is no metric ${key}`);
      return instrument;
    };
    meter.addBatchObservableCallback((result) => this.#observe(result, of), Object.values(instruments));
  }

  /** To be called with each lifecycle event. */
  handleEvent(event: LifecycleEvent): void {
    const type = EVENT_TYPES.includes(event.type) ? event.type : "other";
    const given = "reason" in event && event.type !== "allocationRefused" ? event.reason : "none";
    const reason = EVENT_REASONS.includes(given) ? given : "other";
    const key = `${type} ${reason}`;
    const counted = this.#events.get(key) ?? { attributes: { type, reason }, count: 0 };
    counted.count++;
    this.#events.set(key, counted);
  }

  #observe(result: BatchObservableResult, of: (key: MetricKey) => Observable): void {
    const stats = this.#read();
    const traffic = wholeTraffic(stats);
    const { isLinkUp } = this.#options;
    for (const key of ["allocations", "relaySockets", "reservedPorts", "portsInUse", "portsSetAside"] as const) {
      result.observe(of(key), stats[key]);
    }
    for (const key of ["suppressedReplies", "internalErrors"] as const) result.observe(of(key), stats[key]);
    if (isLinkUp !== undefined) result.observe(of("linkUp"), Number(isLinkUp()));
    const directions = {
      from_client: "FromClients",
      to_client: "ToClients",
      from_peer: "FromPeers",
      to_peer: "ToPeers",
    } as const;
    for (const [direction, suffix] of Object.entries(directions)) {
      result.observe(of("packets"), traffic[`packets${suffix}`], { direction });
      result.observe(of("bytes"), traffic[`bytes${suffix}`], { direction });
    }
    const drops = {
      send_error: traffic.sendErrors,
      receive_error: traffic.receiveErrors,
      queue_full: traffic.sendQueueFull,
      oversized: traffic.oversized,
      closed_socket: traffic.closedSocket,
      stream_full: stats.streams.droppedDatagrams,
    };
    for (const [reason, count] of Object.entries(drops)) result.observe(of("drops"), count, { reason });
    for (const { attributes, count } of this.#events.values()) result.observe(of("events"), count, attributes);
    result.observe(of("eventsDropped"), stats.events.handlerDrops, { receiver: "handler" });
    result.observe(of("eventsDropped"), stats.events.streamDrops, { receiver: "stream" });
    result.observe(of("eventHandlerErrors"), stats.events.handlerErrors);
    this.#observeClients(stats, result, of);
  }

  /** Connections of clients, and what clients were denied. */
  #observeClients(stats: RelayStats, result: BatchObservableResult, of: (key: MetricKey) => Observable): void {
    const { streams, heldBack, penalties } = stats;
    result.observe(of("streams"), streams.connections);
    result.observe(of("streamsAccepted"), streams.accepted);
    result.observe(of("peerConnections"), streams.peerConnections);
    const closes = {
      refused: streams.refused,
      failed_handshake: streams.failedHandshakes,
      malformed: streams.malformed,
      idle: streams.idle,
      unread: streams.unread,
    };
    for (const [reason, count] of Object.entries(closes)) result.observe(of("streamsClosed"), count, { reason });
    result.observe(of("heldBack"), heldBack.requests, { kind: "request" });
    result.observe(of("heldBack"), heldBack.challenges, { kind: "challenge" });
    result.observe(of("heldBack"), heldBack.allocations, { kind: "allocation" });
    result.observe(of("authenticationFailures"), penalties.failures);
    result.observe(of("authenticationDiscarded"), penalties.discarded);
    result.observe(of("authenticationWaiting"), penalties.waiting);
    result.observe(of("penaltySources"), penalties.sources);
    result.observe(of("bans"), penalties.bans);
    result.observe(of("automaticBans"), penalties.automaticBans);
  }

  #read(): RelayStats {
    const nowMs = this.#options.monotonicMs();
    if (this.#stats === undefined || nowMs - this.#stats.atMs >= MAX_AGE_MS) {
      this.#stats = { value: this.#options.stats(), atMs: nowMs };
    }
    return this.#stats.value;
  }
}

const CHANNEL_DATA_HEADER = 4;

/** What sockets and kernel have relayed. */
function wholeTraffic({ traffic, kernel }: RelayStats): RelayStats["traffic"] {
  if (kernel === undefined) return traffic;
  const { packetsToPeer, bytesToPeer, packetsToClient, bytesToClient } = kernel.traffic;
  return {
    ...traffic,
    packetsFromClients: traffic.packetsFromClients + packetsToPeer,
    bytesFromClients: traffic.bytesFromClients + bytesToPeer + packetsToPeer * CHANNEL_DATA_HEADER,
    packetsToPeers: traffic.packetsToPeers + packetsToPeer,
    bytesToPeers: traffic.bytesToPeers + bytesToPeer,
    packetsFromPeers: traffic.packetsFromPeers + packetsToClient,
    bytesFromPeers: traffic.bytesFromPeers + bytesToClient,
    packetsToClients: traffic.packetsToClients + packetsToClient,
    bytesToClients: traffic.bytesToClients + bytesToClient + packetsToClient * CHANNEL_DATA_HEADER,
  };
}
