import { plainEvent, type RelayOptions } from "@turnpike/relay";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";
import { askAuthenticator, createAuthenticator } from "./authenticator.ts";

/** What a relay is started with, from a checked configuration. @throws TypeError if parts of it don't fit together. */
export function relayOptionsOf(options: {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
}): RelayOptions {
  const { configuration, credentials, logger } = options;
  const { relay, peers, turn } = configuration;
  const [min, max] = relay.port_range;
  const authenticator = createAuthenticator({ realm: relay.realm, credentials, logger });
  return {
    authenticate: askAuthenticator(authenticator),
    ...(relay.listen === undefined ? {} : { listen: relay.listen }),
    realm: relay.realm,
    ...(relay.relay_addresses === undefined ? {} : { relayAddresses: relay.relay_addresses }),
    externalAddresses: relay.external_addresses,
    portRange: { min, max },
    peers,
    engine: {
      maxLifetimeSeconds: relay.max_lifetime,
      channelLifetimeSeconds: relay.channel_lifetime,
      onCredentialExpiry: turn.on_credential_expiry,
      passwordAlgorithms: authenticator.passwordAlgorithms,
      usernameAnonymity: authenticator.usernameAnonymity,
    },
    logger,
    // Events are built only if someone listens. They have clients' addresses in them, which are for `debug` only.
    ...(logger.isLevelEnabled("debug") ? { onEvent: (event) => logger.debug(plainEvent(event), event.type) } : {}),
  };
}
