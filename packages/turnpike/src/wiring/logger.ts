import type { Configuration } from "../config/schema.ts";
import { createLogger, type Logger } from "../log.ts";
import { usesColors, type World } from "../world.ts";

/** The log of a process, as its configuration wants it. */
export function loggerOf(configuration: Configuration, world: World): Logger {
  return createLogger({
    level: configuration.log.level,
    format: configuration.log.format ?? (world.isErrTerminal ? "pretty" : "json"),
    colors: usesColors(world, world.isErrTerminal),
    write: world.err,
  });
}
