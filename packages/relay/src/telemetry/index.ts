export { type Health, type HealthOptions, startHealth } from "./health.ts";
export {
  discoverMachine,
  type DiscoveryOptions,
  type MachineMetadata,
  type MetadataMethod,
  parseMetadataMethod,
} from "./metadata.ts";
export { type MetricDefinition, type MetricsChapter, metricsReference } from "./metric-table.ts";
export { RelayMetrics, type RelayMetricsOptions } from "./relay-metrics.ts";
export { traceOrders } from "./trace-orders.ts";
export {
  otlpFromEnvironment,
  type ScrapedOptions,
  startTelemetry,
  startWhenScraped,
  type Telemetry,
  type TelemetryOptions,
} from "./telemetry.ts";
