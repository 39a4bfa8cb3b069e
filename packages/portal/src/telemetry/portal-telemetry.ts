import {
  type Attributes,
  type Counter,
  createNoopMeter,
  type Histogram,
  type Meter,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { METHODS, PORTAL_METRICS, type PortalMetricDefinition } from "./metric-table.ts";

/** Where measurements and traces go. */
export interface PortalTelemetryOptions {
  /** Default: nowhere. */
  readonly meter?: Meter | undefined;
  /** Default: nowhere. */
  readonly tracer?: Tracer | undefined;
}

/** What is read when somebody asks. */
export interface ObservedPortal {
  readonly linkedRelays: () => number;
  readonly eventStreams: () => number;
  readonly isFleetWhole: () => boolean;
}

/** A request that was answered. */
export interface AnsweredRequest {
  readonly method: string;
  /** Absent: there is no such route. */
  readonly route: string | undefined;
  readonly status: number;
  readonly seconds: number;
}

/** The metrics and traces of a portal. No name of a user, credential or address is among them. */
export class PortalTelemetry {
  readonly #tracer: Tracer;
  readonly #meter: Meter;
  readonly #requestDuration: Histogram;
  readonly #authentications: Counter;
  readonly #minted: Counter;
  readonly #orders: Counter;

  constructor({ meter = createNoopMeter(), tracer = trace.getTracer("turnpike") }: PortalTelemetryOptions = {}) {
    this.#tracer = tracer;
    this.#meter = meter;
    const { requestDuration } = PORTAL_METRICS;
    this.#requestDuration = meter.createHistogram(requestDuration.name, {
      unit: requestDuration.unit,
      description: requestDuration.description,
      // The buckets that OpenTelemetry's conventions advise for HTTP.
      advice: {
        explicitBucketBoundaries: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
      },
    });
    this.#authentications = this.#counter(PORTAL_METRICS.authentications);
    this.#minted = this.#counter(PORTAL_METRICS.minted);
    this.#orders = this.#counter(PORTAL_METRICS.orders);
  }

  /** From here on the gauges have values. */
  observe({ linkedRelays, eventStreams, isFleetWhole }: ObservedPortal): void {
    const gauge = ({ name, unit, description }: PortalMetricDefinition, read: () => number): void => {
      this.#meter.createObservableGauge(name, { unit, description }).addCallback((result) => result.observe(read()));
    };
    gauge(PORTAL_METRICS.linkedRelays, linkedRelays);
    gauge(PORTAL_METRICS.eventStreams, eventStreams);
    gauge(PORTAL_METRICS.fleetWhole, () => Number(isFleetWhole()));
  }

  /** Somebody came. */
  countAuthentication(outcome: string, scheme: string | undefined): void {
    this.#authentications.add(1, { outcome, scheme: scheme ?? "none" });
  }

  countMinted(count: number): void {
    this.#minted.add(count);
  }

  /** A message for relays. */
  countOrder(event: string): void {
    this.#orders.add(1, { event });
  }

  /** A request is here: its span, to be given to {@link endRequest}. */
  startRequest({ method, route }: Pick<AnsweredRequest, "method" | "route">): Span {
    const known = methodOf(method);
    const attributes = { "http.request.method": known, ...(route === undefined ? {} : { "http.route": route }) };
    return this.#tracer.startSpan(route === undefined ? known : `${known} ${route}`, {
      kind: SpanKind.SERVER,
      attributes,
    });
  }

  endRequest(span: Span | undefined, { method, route, status, seconds }: AnsweredRequest): void {
    this.#requestDuration.record(seconds, {
      "http.request.method": methodOf(method),
      "http.response.status_code": status,
      ...(route === undefined ? {} : { "http.route": route }),
    });
    if (span === undefined) return;
    span.setAttribute("http.response.status_code", status);
    if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  }

  /** Traces an operation that no request asked for by itself, such as a relay that links. */
  async trace<Result>(name: string, attributes: Attributes, work: () => Promise<Result>): Promise<Result> {
    const span = this.#tracer.startSpan(name, { attributes });
    try {
      return await work();
    } catch (error) {
      // What it says may hold what no trace should.
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.name : "unknown error" });
      throw error;
    } finally {
      span.end();
    }
  }

  #counter({ name, unit, description }: PortalMetricDefinition): Counter {
    return this.#meter.createCounter(name, { unit, description });
  }
}

function methodOf(method: string): string {
  return METHODS.includes(method) ? method : "_OTHER";
}
