import type { Relay, RelayStats } from "@turnpike/relay";
import {
  type Health,
  otlpFromEnvironment,
  parseMetadataMethod,
  RelayMetrics,
  startHealth,
  startTelemetry,
  type Telemetry,
  type TelemetryOptions,
} from "@turnpike/relay/telemetry";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";
import type { LinkParts } from "./link.ts";

/** What operators see of a relay: metrics, traces, health. */
export interface Observation {
  handleEvent(event: LifecycleEvent): void;
  setRelay(relay: Relay): void;
  setDraining(): void;
  stop(): Promise<void>;
}

const DEFAULT_METRICS = "127.0.0.1:9641";
const DEFAULT_HEALTH = "127.0.0.1:8081";

/** Opens what the configuration asks for. @throws CommandError if a listener that it names can't be opened */
export async function openObservation(options: {
  readonly configuration: Configuration;
  readonly world: World;
  readonly logger: Logger;
  readonly link: LinkParts | undefined;
}): Promise<Observation> {
  const { configuration, world, logger, link } = options;
  const state: { relay?: Relay; metrics?: RelayMetrics; isDraining: boolean } = { isDraining: false };
  const notReadyBecause = (): string | undefined => {
    if (state.isDraining) return "the relay is draining";
    if (link !== undefined && !link.isUp()) return "the portal link is away";
    return state.relay === undefined ? "the relay is starting" : undefined;
  };
  const { metrics, health } = configuration.telemetry;
  const healthListener = await openListener(
    { text: health, fallback: DEFAULT_HEALTH, flag: "--health", logger },
    (at) => startHealth({ ...at, notReadyBecause }),
  );
  const base = telemetryOptions(configuration, world);
  const telemetry =
    (await openListener({ text: metrics, fallback: DEFAULT_METRICS, flag: "--metrics", logger }, (prometheus) =>
      startTelemetry({ ...base, prometheus }),
    )) ?? (base.otlp === undefined ? undefined : await startTelemetry(base));
  return {
    handleEvent: (event) => state.metrics?.handleEvent(event),
    setRelay(relay) {
      state.relay = relay;
      if (telemetry === undefined) return;
      state.metrics = new RelayMetrics({
        meter: telemetry.meter,
        stats: (): RelayStats => relay.stats(),
        monotonicMs: () => performance.now(),
        ...(link === undefined ? {} : { isLinkUp: link.isUp }),
      });
    },
    setDraining() {
      state.isDraining = true;
    },
    async stop() {
      await Promise.all([healthListener?.stop(), telemetry?.stop()]);
    },
  };
}

function telemetryOptions(configuration: Configuration, world: World): Omit<TelemetryOptions, "prometheus"> {
  const { otlp_endpoint: url } = configuration.telemetry;
  const method = world.environment["OTEL_METADATA_DISCOVERY_METHOD"];
  try {
    const otlp = url === undefined ? otlpFromEnvironment(world.environment) : ({ url, protocol: "grpc" } as const);
    return {
      version: world.version,
      ...(otlp === undefined ? {} : { otlp }),
      ...(method ? { discovery: { method: parseMetadataMethod(method) } } : {}),
    };
  } catch (error) {
    throw new CommandError(error instanceof Error ? error.message : String(error), { exitCode: 2, cause: error });
  }
}

/** A listener that was asked for must be there; the default one gives way to another process. */
async function openListener<Listener extends Health | Telemetry>(
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
