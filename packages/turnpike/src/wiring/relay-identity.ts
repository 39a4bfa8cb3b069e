import { homedir } from "node:os";
import { join } from "node:path";
import { loadIdentity, SecretFileError } from "@turnpike/hints/identity";
import { formatReference, maximumHintCount, referenceServerName } from "@turnpike/hints/text";
import type { Relay, TlsIdentity } from "@turnpike/relay";
import { formatTransportAddress } from "@turnpike/stun";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";
import { publicListeners } from "./listening-urls.ts";

/** The key that a relay is known by. */
export interface RelayIdentity {
  readonly tls: TlsIdentity;
  /** What names the relay; undefined if it has no TCP port that could be advertised. */
  referenceOf(relay: Relay): string | undefined;
}

/**
 * The identity of this machine's relay, made at the first start and kept in the data directory with mode 0600. Without a
 * place to keep it there is none: a relay that only lives by its configuration still serves.
 *
 * @throws CommandError if others may read the file, or if it holds something else.
 */
export async function loadRelayIdentity(options: {
  readonly configuration: Configuration;
  readonly world: World;
  readonly logger: Logger;
}): Promise<RelayIdentity | undefined> {
  const { configuration, world, logger } = options;
  const { hints, portal, relay: settings } = configuration;
  const file = join(portal.data_dir ?? defaultDirectory(world), "relay-identity.pem");
  try {
    const identity = await loadIdentity({ file });
    return {
      tls: { serverName: referenceServerName, ...identity.tlsOptions() },
      referenceOf(relay) {
        const found = hints.advertise === "AUTO" ? hintsOf(relay) : hints.advertise;
        if (found.length === 0) return undefined;
        const { keyDigest } = identity;
        return formatReference({ keyDigest, hints: found.slice(0, maximumHintCount), realm: settings.realm });
      },
    };
  } catch (error) {
    const isWrong = error instanceof SecretFileError || error instanceof TypeError;
    if (isWrong) throw new CommandError(error.message, { exitCode: 2, cause: error });
    const reason = error instanceof Error ? error.message : String(error);
    logger.warn({ file, reason }, "The relay's identity can't be kept: no reference leads to it. Name a --data-dir");
    return undefined;
  }
}

function hintsOf(relay: Relay): readonly string[] {
  const streams = publicListeners(relay).filter(({ transport }) => transport === "tls");
  return [...new Set(streams.map(({ address }) => `tcp:${formatTransportAddress(address)}`))];
}

/** The directory of the XDG specification for a user's data. */
export function defaultDirectory({ environment }: World): string {
  const base = environment["XDG_DATA_HOME"] ?? "";
  return join(base === "" ? join(homedir(), ".local", "share") : base, "turnpike");
}
