import type { Relay, RelayStats } from "@turnpike/relay";
import { RelayMetrics, startHealth, type Telemetry } from "@turnpike/relay/telemetry";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";
import type { LinkParts } from "./link.ts";
import { openListener, openTelemetry } from "./telemetry.ts";

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
  const state: { relay?: Relay; metrics?: RelayMetrics; isDraining: boolean } = { isDraining: false };
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
  const telemetry = options.telemetry ?? (await openTelemetry({ configuration, world, logger, serviceName: "relay" }));
  if (telemetry !== undefined) link?.setTracer(telemetry.tracer);
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
      await Promise.all([healthListener?.stop(), options.telemetry === undefined ? telemetry?.stop() : undefined]);
    },
  };
}
