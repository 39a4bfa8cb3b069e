import type { Meter, Tracer } from "@opentelemetry/api";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { detectResources, envDetector, type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  type IMetricReader,
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from "@opentelemetry/sdk-trace-base";
import { discoverMachine, type DiscoveryOptions } from "./metadata.ts";

/** What {@link startTelemetry} takes. */
export interface TelemetryOptions {
  /** Where OTLP goes: `http://collector:4317`. Default: nowhere. */
  readonly otlp?: { readonly url: string; readonly protocol: "grpc" | "http" };
  /** Where Prometheus comes: a listener of its own, `/metrics`. Default: none. */
  readonly prometheus?: { readonly host: string; readonly port: number };
  /** Between two exports. Default 10,000. */
  readonly exportMs?: number;
  /** Asks the cloud's metadata server for `service.instance.id`. Default: nobody is asked. */
  readonly discovery?: DiscoveryOptions;
  readonly version: string;
  /** `service.name`. Default `relay`. */
  readonly serviceName?: string;
}

/** Metrics and traces that are on their way. */
export interface Telemetry {
  readonly meter: Meter;
  /** For control operations; nothing of the data path is traced. */
  readonly tracer: Tracer;
  /** The attributes of the resource. */
  readonly resource: Readonly<Record<string, unknown>>;
  /** Sends what waits, and stops. */
  stop(): Promise<void>;
}

const EXPORT_TIMEOUT_MS = 5_000;

/**
 * Where OTLP goes by the environment: `OTLP_GRPC_ENDPOINT` of the original relay, then OpenTelemetry's
 * `OTEL_EXPORTER_OTLP_ENDPOINT` with `OTEL_EXPORTER_OTLP_PROTOCOL`.
 *
 * @throws TypeError if the protocol is none that is spoken here
 */
export function otlpFromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): TelemetryOptions["otlp"] | undefined {
  const grpc = environment["OTLP_GRPC_ENDPOINT"];
  if (grpc) return { url: grpc.includes("://") ? grpc : `http://${grpc}`, protocol: "grpc" };
  const url = environment["OTEL_EXPORTER_OTLP_ENDPOINT"];
  if (!url) return undefined;
  const protocol = environment["OTEL_EXPORTER_OTLP_PROTOCOL"] ?? "http/protobuf";
  if (protocol === "grpc") return { url, protocol: "grpc" };
  if (protocol === "http/protobuf") return { url, protocol: "http" };
  throw new TypeError(`Cannot use OTEL_EXPORTER_OTLP_PROTOCOL "${protocol}": use grpc or http/protobuf`);
}

/**
 * Starts metrics and traces. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over what is found here.
 *
 * @throws Error if the Prometheus listener can't be opened, or discovery was asked for and nobody answers
 */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { otlp, prometheus, version, exportMs = 10_000 } = options;
  const machine = options.discovery === undefined ? {} : await discoverMachine(options.discovery);
  const resource: Resource = resourceFromAttributes({
    "service.name": options.serviceName ?? "relay",
    "service.namespace": "turnpike",
    "service.version": version,
    ...(machine.instanceId === undefined ? {} : { "service.instance.id": machine.instanceId }),
  }).merge(detectResources({ detectors: [envDetector] }));
  const readers: IMetricReader[] = [];
  if (prometheus !== undefined) readers.push(await openPrometheus(prometheus));
  const exporters = otlp === undefined ? undefined : await openOtlp(otlp);
  if (exporters !== undefined) {
    const exportTimeoutMillis = Math.min(EXPORT_TIMEOUT_MS, exportMs);
    const exporter = exporters.metrics;
    readers.push(new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: exportMs, exportTimeoutMillis }));
  }
  const meters = new MeterProvider({ resource, readers });
  const spanProcessors = exporters === undefined ? [] : [new BatchSpanProcessor(exporters.traces)];
  const tracers = new BasicTracerProvider({ resource, spanProcessors });
  return {
    meter: meters.getMeter("turnpike", version),
    tracer: tracers.getTracer("turnpike", version),
    resource: resource.attributes,
    async stop() {
      // A collector that is away must not hold up the end.
      await Promise.allSettled([meters.shutdown({ timeoutMillis: EXPORT_TIMEOUT_MS }), tracers.shutdown()]);
    },
  };
}

/** Loaded only where it is used: a start is quicker without. */
async function openOtlp({ url, protocol }: NonNullable<TelemetryOptions["otlp"]>): Promise<{
  readonly metrics: PushMetricExporter;
  readonly traces: SpanExporter;
}> {
  if (protocol === "grpc") {
    const [metrics, traces] = await Promise.all([
      import("@opentelemetry/exporter-metrics-otlp-grpc"),
      import("@opentelemetry/exporter-trace-otlp-grpc"),
    ]);
    return { metrics: new metrics.OTLPMetricExporter({ url }), traces: new traces.OTLPTraceExporter({ url }) };
  }
  const [metrics, traces] = await Promise.all([
    import("@opentelemetry/exporter-metrics-otlp-proto"),
    import("@opentelemetry/exporter-trace-otlp-proto"),
  ]);
  return {
    metrics: new metrics.OTLPMetricExporter({ url: pathOf(url, "metrics") }),
    traces: new traces.OTLPTraceExporter({ url: pathOf(url, "traces") }),
  };
}

async function openPrometheus({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<PrometheusExporter> {
  const exporter = new PrometheusExporter({
    host,
    port,
    endpoint: "/metrics",
    preventServerStart: true,
    withoutScopeInfo: true,
  });
  await exporter.startServer();
  return exporter;
}

/** What OpenTelemetry puts behind an endpoint for OTLP over HTTP. */
function pathOf(url: string, signal: "metrics" | "traces"): string {
  return `${url.replace(/\/+$/, "")}/v1/${signal}`;
}
