import { isRelayEventType, plainEvent, type RelayLimits, type RelayOptions } from "@turnpike/relay";
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
  const { relay, peers, turn, defence, log } = configuration;
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
    limits: limitsOf(configuration),
    guessDefence: defence.guesses === "on" && {
      automaticBan: defence.ban_failures > 0 && {
        failures: defence.ban_failures,
        windowSeconds: defence.ban_window,
        banSeconds: defence.ban_time,
      },
    },
    ...(log.events.length === 0
      ? {}
      : { eventLog: log.events.includes("all") ? {} : { types: log.events.filter(isRelayEventType) } }),
    logger,
    // Events are built only if someone listens. They have clients' addresses in them, which are for `debug` only.
    ...(logger.isLevelEnabled("debug") ? { onEvent: (event) => logger.debug(plainEvent(event), event.type) } : {}),
  };
}

function limitsOf({ quota }: Configuration): RelayLimits {
  const quotas = {
    ...(quota.user === undefined ? {} : { user: quota.user }),
    ...(quota.total === undefined ? {} : { total: quota.total }),
    ...(quota.address === undefined ? {} : { addressPrefix: quota.address }),
  };
  const perSource = {
    ...(quota.requests_per_second === undefined ? {} : { requestsPerSecond: quota.requests_per_second }),
    ...(quota.challenges_per_second === undefined ? {} : { challengesPerSecond: quota.challenges_per_second }),
    ...(quota.allocations_per_second === undefined ? {} : { allocationsPerSecond: quota.allocations_per_second }),
  };
  return {
    quotas,
    perSource,
    ...(quota.user_bandwidth === undefined ? {} : { userRate: { bytesPerSecond: quota.user_bandwidth } }),
    ...(quota.allocation_bandwidth === undefined
      ? {}
      : { allocationRate: { bytesPerSecond: quota.allocation_bandwidth } }),
    ...(quota.total_bandwidth === undefined ? {} : { totalRate: { bytesPerSecond: quota.total_bandwidth } }),
  };
}
