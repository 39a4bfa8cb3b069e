import { CONSTANT_DELAY, GROWING_DELAY, type PenaltyDelay } from "@turnpike/authn/penalties";
import type { TurnAuthenticator } from "@turnpike/authn/turn";
import type { RelayOptions } from "@turnpike/relay";
import { formatTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";
import { askAuthenticator } from "./authenticator.ts";

/** What a relay is started with, from a checked configuration. */
export function relayOptionsOf(options: {
  readonly configuration: Configuration;
  readonly authenticator: TurnAuthenticator;
  readonly logger: Logger;
}): RelayOptions {
  const { configuration, authenticator, logger } = options;
  const { relay, peers, turn } = configuration;
  const [min, max] = relay.port_range;
  const { thirdPartyAuthorization } = authenticator;
  return {
    authenticate: askAuthenticator(authenticator),
    ...(relay.listen === undefined ? {} : { listen: relay.listen }),
    realm: relay.realm,
    ...(relay.relay_addresses === undefined ? {} : { relayAddresses: relay.relay_addresses }),
    externalAddresses: relay.external_addresses,
    portRange: { min, max },
    peers,
    penalties: penaltiesOf(configuration.penalties),
    engine: {
      maxLifetimeSeconds: relay.max_lifetime,
      channelLifetimeSeconds: relay.channel_lifetime,
      onCredentialExpiry: turn.on_credential_expiry,
      passwordAlgorithms: authenticator.passwordAlgorithms,
      usernameAnonymity: authenticator.usernameAnonymity,
      ...(thirdPartyAuthorization === undefined ? {} : { thirdPartyAuthorization }),
    },
    logger,
    // Events are built only if someone listens. They have clients' addresses in them, which are for `debug` only.
    ...(logger.isLevelEnabled("debug")
      ? { onEvent: (event) => logger.debug({ event: toPlain(event) }, event.type) }
      : {}),
  };
}

function penaltiesOf(penalties: Configuration["penalties"]): Exclude<RelayOptions["penalties"], undefined> {
  const { delay, ban_failures: failures, ban_window: windowSeconds, ban_time: banSeconds } = penalties;
  if (delay === "none" && failures === 0) return false;
  return { delay: DELAYS[delay], automaticBan: failures === 0 ? false : { failures, windowSeconds, banSeconds } };
}

const DELAYS: Readonly<Record<Configuration["penalties"]["delay"], PenaltyDelay>> = {
  constant: CONSTANT_DELAY,
  growing: GROWING_DELAY,
  none: { kind: "constant", minSeconds: 0, maxSeconds: 0 },
};

/** An event with its addresses as text. */
function toPlain(event: LifecycleEvent): unknown {
  return JSON.parse(
    JSON.stringify(event, (_, value: unknown) => (isAddress(value) ? formatTransportAddress(value) : value)),
  );
}

function isAddress(value: unknown): value is TransportAddress {
  return typeof value === "object" && value !== null && "family" in value && "w3" in value && "port" in value;
}
