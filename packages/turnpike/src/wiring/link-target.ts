import type { LinkConnector, LinkTimes } from "@turnpike/relay/link";
import { readToken } from "@turnpike/relay/settings";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { World } from "../world.ts";

/** Which portal, and what with. */
export interface LinkTarget {
  readonly url: string;
  readonly token: string;
  /** Whether the token may travel in clear: to the portal of this very process, or inside of TLS or Tor. */
  readonly allowCleartext?: boolean;
  /** What opens the connection. Default: the system's sockets. */
  readonly connector?: LinkConnector | undefined;
  readonly times?: LinkTimes | undefined;
}

/** Which portal a relay links to, if any. @throws CommandError if there is a portal but no token, or a token can't be read */
export function linkTargetOf(configuration: Configuration, world: World): LinkTarget | undefined {
  const { portal } = configuration;
  if (portal.url === undefined) return undefined;
  let token: string | undefined;
  try {
    token = readToken({
      token: portal.token,
      tokenFile: portal.token_file,
      environment: world.environment,
      readFile: world.readFile,
    });
  } catch (error) {
    throw new CommandError(`the portal's token can't be read: ${reasonOf(error)}`, { exitCode: 2, cause: error });
  }
  if (token === undefined) {
    throw new CommandError(
      "--portal needs a token: make one by POST /v1/relays of the portal, and give it by --token-file or TURNPIKE_TOKEN",
      { exitCode: 2 },
    );
  }
  return { url: portal.url, token };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
