import type { RelayOptions } from "@turnpike/relay";
import { formatTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";
import type { LinkParts } from "./link.ts";
import type { Observation } from "./observation.ts";
import { askAuthenticator, createAuthenticator } from "./authenticator.ts";

/** What a relay is started with, from a checked configuration. @throws TypeError if parts of it don't fit together. */
export function relayOptionsOf(options: {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
  readonly link?: LinkParts | undefined;
  readonly observation: Observation;
}): RelayOptions {
  const { configuration, credentials, logger, link, observation } = options;
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
    onEvent: eventListener({ logger, link, observation }),
  };
}

/** Events go to the portal and are counted. They have clients' addresses in them, which are logged at `debug` only. */
function eventListener(options: {
  readonly logger: Logger;
  readonly link: LinkParts | undefined;
  readonly observation: Observation;
}): (event: LifecycleEvent) => void {
  const { logger, link, observation } = options;
  const logs = logger.isLevelEnabled("debug");
  return (event) => {
    observation.handleEvent(event);
    link?.reporter.handleEvent(event);
    if (logs) logger.debug({ event: toPlain(event) }, event.type);
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
