import type { RelayOptions } from "@turnpike/relay";
import { formatTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";
import type { LinkParts } from "./link.ts";
import { askAuthenticator, createAuthenticator } from "./authenticator.ts";

/** What a relay is started with, from a checked configuration. @throws TypeError if parts of it don't fit together. */
export function relayOptionsOf(options: {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
  readonly link?: LinkParts | undefined;
}): RelayOptions {
  const { configuration, credentials, logger, link } = options;
  const { relay, peers, turn } = configuration;
  const [min, max] = relay.port_range;
  const authenticator = createAuthenticator({ realm: relay.realm, credentials, logger, link });
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
    ...eventListener(logger, link),
  };
}

/** Events are built only if someone listens. They have clients' addresses in them, which are for `debug` only. */
function eventListener(logger: Logger, link: LinkParts | undefined): Pick<RelayOptions, "onEvent"> {
  const logs = logger.isLevelEnabled("debug");
  if (!logs && link === undefined) return {};
  return {
    onEvent: (event) => {
      link?.reporter.handleEvent(event);
      if (logs) logger.debug({ event: toPlain(event) }, event.type);
    },
  };
}

/** An event with its addresses as text. */
function toPlain(event: LifecycleEvent): unknown {
  return JSON.parse(
    JSON.stringify(event, (_, value: unknown) => (isAddress(value) ? formatTransportAddress(value) : value)),
  );
}

function isAddress(value: unknown): value is TransportAddress {
  return typeof value === "object" && value !== null && "family" in value && "w3" in value && "port" in value;
}
