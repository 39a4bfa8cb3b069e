import { createRevocationList, normalizeUser, type RevocationList, type Secrets } from "@turnpike/authn/turn";
import { type Relay, startRelay } from "@turnpike/relay";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";
import { createAuthenticator } from "./authenticator.ts";
import { relayOptionsOf } from "./relay-options.ts";

/** What {@link startConfiguredRelay} goes by. */
export interface StartConfiguredRelayOptions {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
  /** What the relay told its portal to stamp credentials with. Default: there is no portal. */
  readonly stampSecrets?: Secrets;
}

/** A relay and what is refused at it. */
export interface ConfiguredRelay {
  readonly relay: Relay;
  /** What is revoked here is refused from that moment on, and the allocations that live by it end. */
  readonly revocations: RevocationList;
}

/**
 * Starts a relay as configured.
 *
 * @throws TypeError or RangeError if parts of the configuration don't fit together, RelayStartError if the system
 *   refuses.
 */
export async function startConfiguredRelay(options: StartConfiguredRelayOptions): Promise<ConfiguredRelay> {
  const { configuration, credentials, logger, stampSecrets } = options;
  const revocations = createRevocationList({
    onRevoked: ({ by, value }) => {
      const selector = { by, value: by === "actor" ? normalizeUser(value) : value };
      void relay.endAllocations(selector, "credentialRevoked").then((ended) => {
        logger.info({ by, ended }, "Credentials were revoked");
      });
    },
    onOverflow: ({ by }) => logger.warn({ by }, "The list of revocations is full: one of them is in force no more"),
  });
  const authenticator = createAuthenticator({ configuration, credentials, logger, revocations, stampSecrets });
  const relay = await startRelay(relayOptionsOf({ configuration, authenticator, logger }));
  if (authenticator.schemes.length === 0) {
    logger.warn({}, "Neither users nor secrets, OAuth keys or a webhook are configured: nobody can allocate");
  }
  return { relay, revocations };
}
