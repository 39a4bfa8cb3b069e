import type { Relay, RelayStats } from "@turnpike/relay";
import { RelayMetrics, startHealth, type Telemetry } from "@turnpike/relay/telemetry";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";
import type { LinkParts } from "./link.ts";
import { openListener, openTelemetryWhenScraped } from "./telemetry.ts";

/** What operators see of a relay: metrics, traces, health. */
export interface Observation {
  handleEvent(event: LifecycleEvent): void;
  setRelay(relay: Relay): void;
  setDraining(): void;
  stop(): Promise<void>;
}

const DEFAULT_HEALTH = "127.0.0.1:8081";

/** Opens what the configuration asks for. @throws CommandError if a listener that it names can't be opened */
export async function openObservation(options: {
  readonly configuration: Configuration;
  readonly world: World;
  readonly logger: Logger;
  readonly link: LinkParts | undefined;
  /** Of the whole process, which whoever opened it stops. Default: one of the relay's own. */
  readonly telemetry?: Telemetry | undefined;
}): Promise<Observation> {
  const { configuration, world, logger, link } = options;
  const state: { relay?: Relay; metrics?: RelayMetrics; meter?: Telemetry["meter"]; isDraining: boolean } = {
    isDraining: false,
  };
  const notReadyBecause = (): string | undefined => {
    if (state.isDraining) return "the relay is draining";
    if (link !== undefined && !link.isUp()) return "the portal link is away";
    return state.relay === undefined ? "the relay is starting" : undefined;
  };
  const { health } = configuration.telemetry;
  const healthListener = await openListener(
    { text: health, fallback: DEFAULT_HEALTH, flag: "--health", logger },
    (at) => startHealth({ ...at, notReadyBecause }),
  );
  const onStart = (meter: Telemetry["meter"]): void => {
    state.meter = meter;
    state.metrics?.register(meter);
  };
  const own =
    options.telemetry === undefined
      ? await openTelemetryWhenScraped({ configuration, world, logger, serviceName: "relay", onStart })
      : undefined;
  if (options.telemetry !== undefined) onStart(options.telemetry.meter);
  const tracer = (options.telemetry ?? own)?.tracer;
  if (tracer !== undefined) link?.setTracer(tracer);
  const isObserved = own !== undefined || options.telemetry !== undefined;
  return {
    handleEvent: (event) => state.metrics?.handleEvent(event),
    setRelay(relay) {
      state.relay = relay;
      if (!isObserved) return;
      state.metrics = new RelayMetrics({
        meter: state.meter,
        stats: (): RelayStats => relay.stats(),
        monotonicMs: () => performance.now(),
        ...(link === undefined ? {} : { isLinkUp: link.isUp }),
      });
    },
    setDraining() {
      state.isDraining = true;
    },
    async stop() {
      await Promise.all([healthListener?.stop(), own?.stop()]);
    },
  };
}
