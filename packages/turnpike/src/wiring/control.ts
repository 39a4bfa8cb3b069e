import { join } from "node:path";
import type { Relay } from "@turnpike/relay";
import type { ControlSocket } from "@turnpike/relay/control";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";

/** Where a relay and `turnpike ctl` meet if nothing is said. */
export function defaultSocket(world: World): string | undefined {
  const directory = world.environment["XDG_RUNTIME_DIR"];
  return directory === undefined || directory === "" ? undefined : join(directory, "turnpike.sock");
}

/**
 * Opens the control socket. One that nobody asked for may be in use by another relay of this user: then it is done
 * without. @throws CommandError if one that was asked for can't be had
 */
export async function openControl(options: {
  readonly relay: Relay;
  readonly configuration: Configuration;
  readonly world: World;
  readonly logger: Logger;
}): Promise<ControlSocket | undefined> {
  const { relay, configuration, world, logger } = options;
  const asked = configuration.control.socket;
  const path = asked ?? defaultSocket(world);
  if (path === undefined) return undefined;
  // Loaded once the relay serves.
  const { ControlSocketError, startControlSocket } = await import("@turnpike/relay/control");
  try {
    return await startControlSocket({ path, relay, logger });
  } catch (error) {
    if (!(error instanceof ControlSocketError)) throw error;
    if (asked === undefined) {
      logger.warn({ reason: error.message }, "There is no control socket: turnpike ctl can't reach this relay");
      return undefined;
    }
    await relay.stop();
    throw new CommandError(error.message, { exitCode: 1, cause: error });
  }
}
