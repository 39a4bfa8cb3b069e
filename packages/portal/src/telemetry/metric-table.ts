/** One metric of a portal, as it is documented and made. */
export interface PortalMetricDefinition {
  /** As OpenTelemetry names it; Prometheus has `_` for `.`, and `_total` behind counters. */
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  /** Of the Unified Code for Units of Measure. */
  readonly unit: string;
  readonly description: string;
  /** Labels with all their values, or what they are taken from: nothing that a client chooses. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
}

/** Methods that are told apart; any other is `_OTHER`, as OpenTelemetry's conventions have it. */
export const METHODS: readonly string[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** What became of who came. */
export const OUTCOMES: readonly string[] = ["authenticated", "failed", "unauthenticated", "unavailable"];

/** Every metric of a portal. `docs/metrics.md` is made of this. */
export const PORTAL_METRICS = {
  requestDuration: {
    name: "http.server.request.duration",
    kind: "histogram",
    unit: "s",
    description: "How long requests of the API take; streams of events are not among them",
    labels: {
      "http.request.method": [...METHODS, "_OTHER"],
      "http.route": ["the routes of docs/openapi.json; absent for others"],
      "http.response.status_code": ["statuses"],
    },
  },
  authentications: {
    name: "turnpike.portal.authentications",
    kind: "counter",
    unit: "{request}",
    description: "Who came to the API, and to the door of relays if they were refused",
    labels: { outcome: OUTCOMES, scheme: ["configured schemes; none"] },
  },
  minted: {
    name: "turnpike.portal.credentials.minted",
    kind: "counter",
    unit: "{credential}",
    description: "Credentials that were minted",
    labels: {},
  },
  orders: {
    name: "turnpike.portal.orders",
    kind: "counter",
    unit: "{message}",
    description: "Messages for relays that were read from the store: revocations, quotas, drains",
    labels: { event: ["revoke", "disconnect_user", "end_allocation", "drain", "quota", "fleet_secrets"] },
  },
  linkedRelays: {
    name: "turnpike.portal.relays.linked",
    kind: "gauge",
    unit: "{relay}",
    description: "Relays that are linked to this portal",
    labels: {},
  },
  eventStreams: {
    name: "turnpike.portal.event_streams",
    kind: "gauge",
    unit: "{stream}",
    description: "Open streams of events",
    labels: {},
  },
  fleetWhole: {
    name: "turnpike.portal.fleet.whole",
    kind: "gauge",
    unit: "1",
    description: "Whether the rest of the fleet can be asked: 1 or 0",
    labels: {},
  },
} as const satisfies Readonly<Record<string, PortalMetricDefinition>>;
