import { type Relay, RelayStartError } from "@turnpike/relay";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import { createLogger, type Logger } from "../log.ts";
import { usesColors, type World } from "../world.ts";
import { startConfiguredRelay } from "./start-relay.ts";

/** What {@link runRelay} goes by. */
export interface RunRelayOptions {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly world: World;
  /** Called once the relay serves. */
  readonly onReady?: (relay: Relay) => void;
}

/** Runs a relay until a signal stops it. @throws CommandError if it can't be started. */
export async function runRelay(options: RunRelayOptions): Promise<void> {
  const { configuration, credentials, world } = options;
  const logger = createLogger({
    level: configuration.log.level,
    format: configuration.log.format ?? (world.isErrTerminal ? "pretty" : "json"),
    colors: usesColors(world, world.isErrTerminal),
    write: world.err,
  });
  // Signals are listened to before anything can be asked of the relay.
  const starting = start({ configuration, credentials, logger });
  const announce = async (): Promise<void> => {
    const relay = await starting;
    options.onReady?.(relay);
  };
  await Promise.all([untilStopped({ starting, world, logger }), announce()]);
}

async function start(options: {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
}): Promise<Relay> {
  try {
    return (await startConfiguredRelay(options)).relay;
  } catch (error) {
    if (error instanceof RelayStartError) throw new CommandError(error.message, { exitCode: 1, cause: error });
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
}): Promise<void> {
  const { starting, world, logger } = options;
  const { promise: second, resolve: stopAtOnce } = Promise.withResolvers<void>();
  const { promise: first, resolve: drain } = Promise.withResolvers<void>();
  let signals = 0;
  const unlisten = world.onStopSignal((signal) => {
    signals++;
    if (signals === 1) {
      logger.info({ signal }, "Waiting until the last allocation has ended; a second signal stops at once");
      drain();
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
    await Promise.race([relay.drain(), second]);
    await relay.stop();
    logger.debug({ stats: relay.stats() }, "What the relay has done");
  } finally {
    unlisten();
  }
}
