import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { detectResources, envDetector, type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  type IMetricReader,
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from "@opentelemetry/sdk-trace-base";
import { discoverMachine } from "./metadata.ts";
import type { Scrape } from "./scrape-listener.ts";
import type { Telemetry, TelemetryOptions } from "./telemetry.ts";

const EXPORT_TIMEOUT_MS = 5_000;

/** What `startTelemetry` does. */
export async function startOpenTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { otlp, prometheus, version, exportMs = 10_000 } = options;
  const machine = options.discovery === undefined ? {} : await discoverMachine(options.discovery);
  const readers: IMetricReader[] = [];
  if (prometheus !== undefined) readers.push(await openPrometheus(prometheus));
  const exporters = otlp === undefined ? undefined : await openOtlp(otlp);
  if (exporters !== undefined) {
    const exportTimeoutMillis = Math.min(EXPORT_TIMEOUT_MS, exportMs);
    const exporter = exporters.metrics;
    readers.push(new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: exportMs, exportTimeoutMillis }));
  }
  const traces = exporters?.traces;
  return provide({ version, resource: resourceOf(options, machine.instanceId), readers, traces });
}

/** Metrics that are answered where somebody else listens. */
export function startForScrapes(options: Pick<TelemetryOptions, "version" | "serviceName">): {
  readonly telemetry: Telemetry;
  readonly scrape: Scrape;
} {
  const exporter = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true });
  const resource = resourceOf(options, undefined);
  return {
    telemetry: provide({ version: options.version, resource, readers: [exporter], traces: undefined }),
    scrape: (request, response) => exporter.getMetricsRequestHandler(request, response),
  };
}

function resourceOf(
  { version, serviceName = "relay" }: Pick<TelemetryOptions, "version" | "serviceName">,
  instanceId: string | undefined,
): Resource {
  return resourceFromAttributes({
    "service.name": serviceName,
    "service.namespace": "turnpike",
    "service.version": version,
    ...(instanceId === undefined ? {} : { "service.instance.id": instanceId }),
  }).merge(detectResources({ detectors: [envDetector] }));
}

function provide(parts: {
  readonly version: string;
  readonly resource: Resource;
  readonly readers: IMetricReader[];
  readonly traces: SpanExporter | undefined;
}): Telemetry {
  const { version, resource, readers, traces } = parts;
  const meters = new MeterProvider({ resource, readers });
  const spanProcessors = traces === undefined ? [] : [new BatchSpanProcessor(traces)];
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
