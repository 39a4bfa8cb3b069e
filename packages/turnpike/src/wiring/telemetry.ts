import {
  otlpFromEnvironment,
  parseMetadataMethod,
  startTelemetry,
  startWhenScraped,
  type Telemetry,
  type TelemetryOptions,
} from "@turnpike/relay/telemetry";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";

const DEFAULT_METRICS = "127.0.0.1:9641";

/** What {@link openTelemetry} takes. */
export interface OpenTelemetryOptions {
  readonly configuration: Configuration;
  readonly world: World;
  readonly logger: Logger;
  /** `service.name`, unless the environment says another. */
  readonly serviceName: string;
}

/** Metrics and traces as configured; undefined: nowhere. @throws CommandError if the listener can't be opened */
export async function openTelemetry(options: OpenTelemetryOptions): Promise<Telemetry | undefined> {
  const base = telemetryOptions(options);
  return (
    (await openListener(metricsListener(options), (prometheus) => startTelemetry({ ...base, prometheus }))) ??
    (base.otlp === undefined ? undefined : await startTelemetry(base))
  );
}

/**
 * The same for who counts by himself and gives the figures to a meter once there is one: at once if they are sent
 * somewhere, else when somebody asks for them.
 *
 * @throws CommandError if the listener can't be opened
 */
export async function openTelemetryWhenScraped(
  options: OpenTelemetryOptions & { readonly onStart: (meter: Telemetry["meter"]) => void },
): Promise<(Pick<Telemetry, "stop"> & Partial<Pick<Telemetry, "tracer">>) | undefined> {
  const { otlp, discovery, ...base } = telemetryOptions(options);
  const { onStart } = options;
  if (otlp === undefined && discovery === undefined) {
    return openListener(metricsListener(options), (prometheus) => startWhenScraped({ ...base, prometheus, onStart }));
  }
  const telemetry = await openTelemetry(options);
  if (telemetry !== undefined) onStart(telemetry.meter);
  return telemetry;
}

function metricsListener({ configuration, logger }: OpenTelemetryOptions): Parameters<typeof openListener>[0] {
  return { text: configuration.telemetry.metrics, fallback: DEFAULT_METRICS, flag: "--metrics", logger };
}

/** Does something with metrics and traces at hand, and sends what waits of them at the end. */
export async function withTelemetry<Result>(
  options: OpenTelemetryOptions,
  work: (telemetry: Telemetry | undefined) => Promise<Result>,
): Promise<Result> {
  const telemetry = await openTelemetry(options);
  try {
    return await work(telemetry);
  } finally {
    await telemetry?.stop();
  }
}

function telemetryOptions({
  configuration,
  world,
  serviceName,
}: OpenTelemetryOptions): Omit<TelemetryOptions, "prometheus"> {
  const { otlp_endpoint: url } = configuration.telemetry;
  const method = world.environment["OTEL_METADATA_DISCOVERY_METHOD"];
  try {
    const otlp = url === undefined ? otlpFromEnvironment(world.environment) : ({ url, protocol: "grpc" } as const);
    return {
      version: world.version,
      serviceName,
      ...(otlp === undefined ? {} : { otlp }),
      ...(method ? { discovery: { method: parseMetadataMethod(method) } } : {}),
    };
  } catch (error) {
    throw new CommandError(error instanceof Error ? error.message : String(error), { exitCode: 2, cause: error });
  }
}

/** A listener that was asked for must be there; the default one gives way to another process. */
export async function openListener<Listener extends { stop(): Promise<void> }>(
  options: {
    readonly text: string | undefined;
    readonly fallback: string;
    readonly flag: string;
    readonly logger: Logger;
  },
  open: (at: { readonly host: string; readonly port: number }) => Promise<Listener>,
): Promise<Listener | undefined> {
  const { text, fallback, flag, logger } = options;
  if (text === "off") return undefined;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text ?? fallback);
  const port = Number(match?.[3] ?? "x");
  if (match === null || !(port <= 65_535)) {
    throw new CommandError(`${flag}: expected ADDRESS:PORT, such as ${fallback}, or off`, { exitCode: 2 });
  }
  try {
    return await open({ host: match[1] ?? match[2] ?? "", port });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (text !== undefined) throw new CommandError(`${flag}: ${reason}`, { exitCode: 1, cause: error });
    logger.warn({ reason }, `Nothing is served at ${fallback}: name another address by ${flag}, or off`);
    return undefined;
  }
}
