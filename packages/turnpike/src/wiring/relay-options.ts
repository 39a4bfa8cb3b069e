import { CONSTANT_DELAY, GROWING_DELAY, type PenaltyDelay } from "@turnpike/authn/penalties";
import type { TurnAuthenticator } from "@turnpike/authn/turn";
import {
  type AuthenticateModule,
  isRelayEventType,
  type LimitsFor,
  plainEvent,
  type RedirectPolicy,
  type RelayLimits,
  type RelayOptions,
} from "@turnpike/relay";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";

/** What a relay is started with, from a checked configuration. */
export function relayOptionsOf(options: {
  readonly configuration: Configuration;
  /** Tells what challenges offer. */
  readonly authenticator: TurnAuthenticator;
  readonly authenticate: AuthenticateModule;
  /** What a portal says of its users. */
  readonly limitsFor?: LimitsFor | undefined;
  /** Who is sent to another relay. Default: nobody. */
  readonly redirect?: RedirectPolicy | undefined;
  readonly logger: Logger;
  /** Who else hears of events. */
  readonly onEvent?: ((event: LifecycleEvent) => void) | undefined;
}): RelayOptions {
  const { configuration, authenticator, authenticate, logger } = options;
  const { relay, peers, turn, log } = configuration;
  const certificate = certificateOf(configuration);
  if ((relay.plane === "kernel") !== (relay.interface !== undefined)) {
    throw new TypeError("Cannot use one of --plane kernel and --interface without the other");
  }
  if (relay.plane !== "kernel" && relay.kernel_mode !== "auto") {
    throw new TypeError("Cannot use --kernel-mode without --plane kernel");
  }
  const [min, max] = relay.port_range;
  const { thirdPartyAuthorization } = authenticator;
  return {
    authenticate,
    forwarding: {
      plane: relay.plane,
      ...(relay.threads === undefined ? {} : { threads: relay.threads }),
      coalesceUs: relay.coalesce_us,
      ...(relay.interface === undefined ? {} : { interface: relay.interface, kernelMode: relay.kernel_mode }),
    },
    ...(relay.listen === undefined ? {} : { listen: relay.listen }),
    ...(certificate === undefined ? {} : { tls: certificate }),
    realm: relay.realm,
    ...(relay.relay_addresses === undefined ? {} : { relayAddresses: relay.relay_addresses }),
    externalAddresses: relay.external_addresses,
    portRange: { min, max },
    peers,
    streams: streamLimitsOf(configuration),
    trustedProxies: relay.trusted_proxies,
    ...(relay.tcp_relay === undefined ? {} : { tcpRelay: relay.tcp_relay }),
    ...natDiscoveryOf(configuration),
    engine: {
      maxLifetimeSeconds: relay.max_lifetime,
      channelLifetimeSeconds: relay.channel_lifetime,
      nonceLifetimeSeconds: relay.nonce_lifetime,
      mobility: relay.mobility,
      strictChannels: relay.strict_channels,
      onCredentialExpiry: turn.on_credential_expiry,
      passwordAlgorithms: authenticator.passwordAlgorithms,
      usernameAnonymity: authenticator.usernameAnonymity,
      ...(thirdPartyAuthorization === undefined ? {} : { thirdPartyAuthorization }),
    },
    limits: relayLimitsOf(configuration, options),
    ...(log.events.length === 0
      ? {}
      : { eventLog: log.events.includes("all") ? {} : { types: log.events.filter(isRelayEventType) } }),
    logger,
    ...eventListener(logger, options.onEvent),
  };
}

/** Events are built only if someone listens. They have clients' addresses in them, which are logged at `debug` only. */
function eventListener(
  logger: Logger,
  onEvent: ((event: LifecycleEvent) => void) | undefined,
): Pick<RelayOptions, "onEvent"> {
  if (onEvent === undefined && !logger.isLevelEnabled("debug")) return {};
  return {
    onEvent: (event) => {
      onEvent?.(event);
      // The level may change while the relay runs.
      if (logger.isLevelEnabled("debug")) logger.debug(plainEvent(event), event.type);
    },
  };
}

function streamLimitsOf({ streams }: Configuration): Exclude<RelayOptions["streams"], undefined> {
  return {
    maxOutputQueueBytes: streams.max_queue_bytes,
    maxConnections: streams.max_connections,
    maxConnectionsPerPrefix: streams.max_connections_per_prefix,
    handshakeTimeoutMs: streams.handshake_timeout * 1000,
    idleTimeoutMs: streams.idle_timeout * 1000,
    connectTimeoutMs: streams.connect_timeout * 1000,
    halfClosedTimeoutMs: streams.half_closed_timeout * 1000,
  };
}

/** Where the certificate is. @throws TypeError if only its key is named, or only itself */
export function certificateOf({ tls: { cert, key } }: Configuration): RelayOptions["tls"] {
  if ((cert === undefined) !== (key === undefined)) {
    throw new TypeError("Cannot use one of --cert and --key without the other");
  }
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

function natDiscoveryOf({ relay: { nat_discovery: discovery } }: Configuration): Pick<RelayOptions, "natDiscovery"> {
  const [first, second] = discovery.addresses ?? [];
  if (first === undefined || second === undefined) return {};
  return { natDiscovery: { addresses: [first, second], ports: discovery.ports } };
}

/** What wrong credentials cost, at a relay and at a portal. */
export function penaltiesOf(penalties: Configuration["penalties"]): Exclude<RelayOptions["penalties"], undefined> {
  const { delay, ban_failures: failures, ban_window: windowSeconds, ban_time: banSeconds } = penalties;
  if (delay === "none" && failures === 0) return false;
  return { delay: DELAYS[delay], automaticBan: failures === 0 ? false : { failures, windowSeconds, banSeconds } };
}

const DELAYS: Readonly<Record<Configuration["penalties"]["delay"], PenaltyDelay>> = {
  constant: CONSTANT_DELAY,
  growing: GROWING_DELAY,
  none: { kind: "constant", minSeconds: 0, maxSeconds: 0 },
};

/** What of a configuration `relay.configure` takes: all that can change while the relay runs. */
export function relayLimitsOf(
  { quota, penalties, relay }: Configuration,
  {
    limitsFor,
    redirect,
  }: { readonly limitsFor?: LimitsFor | undefined; readonly redirect?: RedirectPolicy | undefined },
): RelayLimits {
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
    penalties: penaltiesOf(penalties),
    maxLifetimeSeconds: relay.max_lifetime,
    ...(redirect === undefined ? {} : { redirect }),
    ...(limitsFor === undefined ? {} : { limitsFor }),
    ...(quota.user_bandwidth === undefined ? {} : { userRate: { bytesPerSecond: quota.user_bandwidth } }),
    ...(quota.allocation_bandwidth === undefined
      ? {}
      : { allocationRate: { bytesPerSecond: quota.allocation_bandwidth } }),
    ...(quota.total_bandwidth === undefined ? {} : { totalRate: { bytesPerSecond: quota.total_bandwidth } }),
  };
}
