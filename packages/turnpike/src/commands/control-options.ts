import { ControlError } from "@turnpike/relay/control";
import { CommandError } from "../errors.ts";
import { defaultSocket } from "../wiring/control.ts";
import type { World } from "../world.ts";

/** Where the relay's control socket is. @throws CommandError if nobody says */
export function socketOf(options: {
  readonly command: string;
  readonly socket: string | undefined;
  readonly world: World;
}): string {
  const { command, socket, world } = options;
  const path = socket ?? defaultSocket(world);
  if (path === undefined) {
    throw new CommandError(
      `${command}: which relay? Give --socket PATH, its --control-socket: XDG_RUNTIME_DIR is not set`,
      { exitCode: 2 },
    );
  }
  return path;
}

/** Asks a relay; what it refuses is the command's failure. @throws CommandError */
export async function guarded<T>(command: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    throw new CommandError(`${command}: ${error.message}`, { exitCode: error.status === 400 ? 2 : 1, cause: error });
  }
}
