import {
  type ControlSocket,
  PlaneUnavailableError,
  PortalLinkError,
  type Relay,
  RelayStartError,
} from "@turnpike/relay";
import type { Telemetry } from "@turnpike/relay/telemetry";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import { createLogger, type Logger } from "../log.ts";
import { usesColors, type World } from "../world.ts";
import { openControl } from "./control.ts";
import { createLink, type LinkParts, type LinkTarget } from "./link.ts";
import { type Observation, openObservation } from "./observation.ts";
import { startConfiguredRelay } from "./start-relay.ts";

/** What {@link runRelay} goes by. */
export interface RunRelayOptions {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly world: World;
  /** Where to link to. Default: nowhere. */
  readonly portal?: LinkTarget | undefined;
  /** Default: made from the configuration. */
  readonly logger?: Logger;
  /** Of the whole process. Default: the relay's own. */
  readonly telemetry?: Telemetry | undefined;
  /** Called once the relay serves. */
  readonly onReady?: (relay: Relay) => void | Promise<void>;
}

/** The log of a process, as its configuration wants it. */
export function loggerOf(configuration: Configuration, world: World): Logger {
  return createLogger({
    level: configuration.log.level,
    format: configuration.log.format ?? (world.isErrTerminal ? "pretty" : "json"),
    colors: usesColors(world, world.isErrTerminal),
    write: world.err,
  });
}

/** Runs a relay until a signal stops it. @throws CommandError if it can't be started. */
export async function runRelay(options: RunRelayOptions): Promise<void> {
  const { configuration, credentials, world } = options;
  const logger = options.logger ?? loggerOf(configuration, world);
  const link = linkOf(options, logger);
  const observation = await openObservation({ configuration, world, logger, link, telemetry: options.telemetry });
  // Signals are listened to before anything can be asked of the relay.
  const starting = start({ configuration, credentials, logger, link, observation });
  let control: ControlSocket | undefined;
  const announce = async (): Promise<void> => {
    const relay = await starting;
    control = await openControl({ relay, configuration, world, logger });
    await options.onReady?.(relay);
  };
  try {
    await Promise.all([untilStopped({ starting, world, logger, link, observation }), announce()]);
  } finally {
    link?.stop();
    await control?.close();
    await observation.stop();
  }
}

function linkOf({ portal, configuration, world }: RunRelayOptions, logger: Logger): LinkParts | undefined {
  try {
    return portal && createLink({ configuration, target: portal, world, logger });
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new CommandError(error.message, { exitCode: 2, cause: error });
  }
}

async function start(options: {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
  readonly link: LinkParts | undefined;
  readonly observation: Observation;
}): Promise<Relay> {
  const { link, observation } = options;
  const onEvent = (event: LifecycleEvent): void => {
    observation.handleEvent(event);
    link?.reporter.handleEvent(event);
  };
  try {
    const { relay } = await startConfiguredRelay({ ...options, onEvent });
    observation.setRelay(relay);
    return relay;
  } catch (error) {
    const isRefusal =
      error instanceof RelayStartError || error instanceof PlaneUnavailableError || error instanceof PortalLinkError;
    if (isRefusal) throw new CommandError(error.message, { exitCode: 1, cause: error });
    // The rooms below throw these for what can't be told from a single value of the configuration.
    if (error instanceof TypeError || error instanceof RangeError) {
      throw new CommandError(error.message, { exitCode: 2, cause: error });
    }
    throw error;
  }
}

/** The first signal drains, the second stops at once, a third ends the process whatever it is doing. */
async function untilStopped(options: {
  readonly starting: Promise<Relay>;
  readonly world: World;
  readonly logger: Logger;
  readonly link: LinkParts | undefined;
  readonly observation: Observation;
}): Promise<void> {
  const { starting, world, logger, link, observation } = options;
  const { promise: second, resolve: stopAtOnce } = Promise.withResolvers<void>();
  const { promise: first, resolve: drain } = Promise.withResolvers<void>();
  let signals = 0;
  const unlisten = world.onStopSignal((signal) => {
    signals++;
    if (signals === 1) {
      logger.info({ signal }, "Waiting until the last allocation has ended; a second signal stops at once");
      drain();
      link?.stopWaiting();
      observation.setDraining();
    } else if (signals === 2) {
      logger.info({ signal }, "Stopping at once");
      stopAtOnce();
    } else {
      world.exitNow(1);
    }
  });
  try {
    const relay = await starting;
    await first;
    const drained = relay.drain();
    link?.announceDrain();
    await Promise.race([drained, second]);
    await relay.stop();
    logger.debug({ stats: relay.stats() }, "What the relay has done");
  } finally {
    unlisten();
  }
}
