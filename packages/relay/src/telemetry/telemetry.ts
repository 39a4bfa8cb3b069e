import type { Meter, Tracer } from "@opentelemetry/api";
import type { DiscoveryOptions } from "./metadata.ts";
import { openScrapeListener, type Scrape } from "./scrape-listener.ts";

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
  // OpenTelemetry is some 400 modules: loaded only by who has somewhere to send to.
  const { startOpenTelemetry } = await import("./open-telemetry.ts");
  return startOpenTelemetry(options);
}

/** What {@link startWhenScraped} takes. */
export interface ScrapedOptions extends Pick<TelemetryOptions, "version" | "serviceName"> {
  readonly prometheus: NonNullable<TelemetryOptions["prometheus"]>;
  /** Called before the first answer. What happened until then must have been counted elsewhere. */
  readonly onStart: (meter: Meter) => void;
}

/**
 * Opens the listener for Prometheus, and loads OpenTelemetry when somebody scrapes for the first time: a start is
 * quicker for it, and whoever isn't scraped spends no memory on it.
 *
 * @throws Error if the listener can't be opened
 */
export async function startWhenScraped(options: ScrapedOptions): Promise<Pick<Telemetry, "stop">> {
  const { prometheus, onStart, ...others } = options;
  let starting: Promise<{ readonly scrape: Scrape; readonly stop: () => Promise<void> }> | undefined;
  const start = async (): Promise<Awaited<NonNullable<typeof starting>>> => {
    try {
      const { startForScrapes } = await import("./open-telemetry.ts");
      const { telemetry, scrape } = startForScrapes(others);
      onStart(telemetry.meter);
      return { scrape, stop: () => telemetry.stop() };
    } catch (error) {
      // The next scrape tries again.
      starting = undefined;
      throw error;
    }
  };
  const listener = await openScrapeListener({
    ...prometheus,
    scrape: async (request, response) => (await (starting ??= start())).scrape(request, response),
  });
  return {
    async stop() {
      await listener.stop();
      // What could not be started has told who scraped, and has nothing to stop.
      const started = await starting?.catch(() => undefined);
      await started?.stop();
    },
  };
}
