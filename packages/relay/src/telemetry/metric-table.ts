/** One metric, as it is documented and made. */
export interface MetricDefinition {
  /** As OpenTelemetry names it; Prometheus has `_` for `.`, and `_total` behind counters. */
  readonly name: string;
  readonly kind: "counter" | "gauge";
  /** Of the Unified Code for Units of Measure. */
  readonly unit: string;
  readonly description: string;
  /** Labels with all their values: nothing that a client chooses. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
}

const DIRECTIONS = ["from_client", "to_client", "from_peer", "to_peer"] as const;
const DROPS = ["send_error", "receive_error", "queue_full", "oversized", "closed_socket", "stream_full"] as const;
/** Why connections and associations of clients were closed by the relay, or never opened. */
const STREAM_CLOSES = ["refused", "failed_handshake", "malformed", "idle", "unread"] as const;
const HELD_BACK = ["request", "challenge", "allocation"] as const;
const EVENT_RECEIVERS = ["handler", "stream"] as const;

/** Types of events that are counted; any other is `other`. */
export const EVENT_TYPES: readonly string[] = [
  "authSucceeded",
  "authFailed",
  "allocationCreated",
  "allocationRefreshed",
  "allocationDeleted",
  "allocationRefused",
  "permissionCreated",
  "channelCreated",
  "connectionOpened",
  "other",
];

/** Reasons of events that have one; any other is `other`. */
export const EVENT_REASONS: readonly string[] = [
  "none",
  "unknownActor",
  "badCredentials",
  "badFormat",
  "unavailable",
  "staleNonce",
  "expired",
  "refreshedToZero",
  "clientClosed",
  "administrator",
  "quota",
  "credentialRevoked",
  "credentialExpired",
  "relaySocketError",
  "reactorFailed",
  "shutdown",
  "other",
];

const gauge = (name: string, unit: string, description: string): MetricDefinition => ({
  name: `turnpike.relay.${name}`,
  kind: "gauge",
  unit,
  description,
  labels: {},
});
const counter = (
  name: string,
  unit: string,
  description: string,
  labels: MetricDefinition["labels"] = {},
): MetricDefinition => ({ name: `turnpike.relay.${name}`, kind: "counter", unit, description, labels });

/** What the metrics are called here. */
export type MetricKey =
  | "allocations"
  | "relaySockets"
  | "reservedPorts"
  | "portsInUse"
  | "portsSetAside"
  | "linkUp"
  | "packets"
  | "bytes"
  | "drops"
  | "suppressedReplies"
  | "internalErrors"
  | "events"
  | "eventsDropped"
  | "eventHandlerErrors"
  | "streams"
  | "streamsAccepted"
  | "streamsClosed"
  | "peerConnections"
  | "heldBack"
  | "authenticationFailures"
  | "authenticationDiscarded"
  | "authenticationWaiting"
  | "penaltySources"
  | "bans"
  | "automaticBans";

/** Every metric of a relay. `docs/metrics.md` is made of this. */
export const METRICS: Readonly<Record<MetricKey, MetricDefinition>> = {
  allocations: gauge("allocations", "{allocation}", "Living allocations, those that are being made included"),
  relaySockets: gauge("sockets", "{socket}", "Open relay sockets of allocations"),
  reservedPorts: gauge("ports.reserved", "{port}", "Ports held for RESERVATION-TOKENs"),
  portsInUse: gauge("ports.used", "{port}", "Ports taken from the range"),
  portsSetAside: gauge("ports.set_aside", "{port}", "Ports that other processes use"),
  linkUp: gauge("link.up", "1", "Whether the portal link is up: 1 or 0; absent without a portal"),
  packets: counter("packets", "{packet}", "Packets", { direction: DIRECTIONS }),
  bytes: counter("bytes", "By", "Bytes of UDP payload", { direction: DIRECTIONS }),
  drops: counter("drops", "{packet}", "Packets that were not carried", { reason: DROPS }),
  suppressedReplies: counter("replies.suppressed", "{reply}", "Replies to unauthenticated senders that were held back"),
  internalErrors: counter("errors", "{error}", "Inputs that failed by an error of the program: should be 0"),
  events: counter("events", "{event}", "Lifecycle events", { type: EVENT_TYPES, reason: EVENT_REASONS }),
  eventsDropped: counter("events.dropped", "{event}", "Events that were missed by who was slow to take them", {
    receiver: EVENT_RECEIVERS,
  }),
  eventHandlerErrors: counter("events.handler_errors", "{error}", "Handlers of events that threw or rejected"),
  streams: gauge("streams", "{connection}", "Open connections and associations of clients (TCP, TLS, DTLS, WebSocket)"),
  streamsAccepted: counter("streams.accepted", "{connection}", "Connections and associations that were accepted"),
  streamsClosed: counter("streams.closed", "{connection}", "Connections that the relay refused or closed", {
    reason: STREAM_CLOSES,
  }),
  peerConnections: gauge("peer_connections", "{connection}", "Open TCP connections to peers (RFC 6062)"),
  heldBack: counter("requests.held_back", "{request}", "What was held back by the rates of sources", {
    kind: HELD_BACK,
  }),
  authenticationFailures: counter(
    "authentication.failures",
    "{request}",
    "Requests that failed to prove who sent them",
  ),
  authenticationDiscarded: counter(
    "authentication.discarded",
    "{request}",
    "Requests without an answer: of those who are banned, or have too much under way",
  ),
  authenticationWaiting: gauge("authentication.waiting", "{request}", "Requests whose answer waits for a penalty"),
  penaltySources: gauge("penalties.sources", "{source}", "Sources whose failures are remembered"),
  bans: gauge("bans", "{ban}", "Standing bans"),
  automaticBans: counter("bans.automatic", "{ban}", "Bans of those who guessed too often"),
};

/** Metrics of something else than a relay, for the page of metrics. */
export interface MetricsChapter {
  readonly title: string;
  readonly text: string;
  readonly metrics: readonly (Omit<MetricDefinition, "kind"> & { readonly kind: "counter" | "gauge" | "histogram" })[];
}

/** The page of metrics, in Markdown; the relay's come first. */
export function metricsReference(chapters: readonly MetricsChapter[] = []): string {
  return [
    "# Metrics",
    "",
    "By OTLP (`--otlp-endpoint`) and on the Prometheus listener (`--metrics`). No label has a value that a client chooses: the number",
    "of series is bounded by these tables.",
    "",
    ...chapterLines({
      title: "Relay",
      text: "Figures are read from the reactors at most once a second.",
      metrics: Object.values(METRICS),
    }),
    ...chapters.flatMap(chapterLines),
  ].join("\n");
}

function chapterLines({ title, text, metrics }: MetricsChapter): readonly string[] {
  const rows = metrics.map((metric) => {
    const labels = Object.entries(metric.labels).map(([name, values]) => `${name}: ${values.join(", ")}`);
    return `| \`${metric.name}\` | \`${prometheusName(metric)}\` | ${metric.kind} | ${metric.unit} | ${metric.description} | ${labels.join("<br>")} |`;
  });
  return [
    `## ${title}`,
    "",
    text,
    "",
    "| OpenTelemetry | Prometheus | kind | unit | what | labels |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
  ];
}

/** What the exporter of OpenTelemetry makes of a name. */
function prometheusName({ name, kind }: MetricsChapter["metrics"][number]): string {
  return `${name.replaceAll(".", "_")}${kind === "counter" ? "_total" : ""}`;
}
