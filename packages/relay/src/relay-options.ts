import type { AuthenticationDecision, AuthenticationRequest, LifecycleEvent, ServerOptions } from "@turnpike/turn";
import type { PenaltySettings } from "@turnpike/authn/penalties";
import type { Logger } from "./logger.ts";
import type { PortablePlaneOptions } from "./planes/portable/portable-plane.ts";
import type { PortRange } from "./ports/port-range.ts";

/**
 * Who is asking? Answers at once, or `pending`; then `settle` is called once with the decision, at any later time.
 */
export type Authenticate = (
  request: AuthenticationRequest,
  settle: (decision: AuthenticationDecision) => void,
) => AuthenticationDecision;

/** Which peers clients may reach: addresses, CIDR prefixes or `A-B` ranges. In both lists: allow wins. */
export interface PeerRules {
  /** Beside what is globally routable. Default: nothing. */
  readonly allow?: readonly string[];
  /** Of what is globally routable. Default: nothing. */
  readonly deny?: readonly string[];
}

/** What {@link startRelay} takes. Everything but `authenticate` has a default. */
export interface RelayOptions {
  readonly authenticate: Authenticate;
  /**
   * Where clients reach the relay: `udp:ADDRESS:PORT`. A wildcard stands for each address that the machine has at the
   * start. Port 0 finds a free one. Default `udp:0.0.0.0:3478` and `udp:[::]:3478`.
   */
  readonly listen?: readonly string[];
  /** REALM of challenges. Default `turnpike`. */
  readonly realm?: string;
  /** Addresses of this machine that relay sockets are bound to. Default: found by autodetection. */
  readonly relayAddresses?: readonly string[];
  /**
   * `PUBLIC` or `PUBLIC/PRIVATE`: what a 1:1 NAT shows for a relay address. Without `relayAddresses`, the private
   * halves are the relay addresses. Default: none.
   */
  readonly externalAddresses?: readonly string[];
  /** Ports of relayed transport addresses. Default 49152–65535. */
  readonly portRange?: PortRange;
  readonly peers?: PeerRules;
  /**
   * What wrong credentials cost: delays, and bans of who goes on. Default: each failure delays by 4 to 5 seconds what is
   * answered next to the same address about the same user, and 100 failures in ten minutes shut an address out for as
   * long. `false`: nothing.
   */
  readonly penalties?: PenaltySettings | false;
  /** Lifetimes, limits and deviations of the engine, each with its default. */
  readonly engine?: EngineSettings;
  /** Buffers and queues of sockets. */
  readonly plane?: Pick<PortablePlaneOptions, "socketBufferBytes" | "maxSendQueueBytes">;
  /** Default: nothing is logged. */
  readonly logger?: Logger;
  /**
   * Takes each lifecycle event, after what caused it is finished. What it throws is logged. Without it no event is
   * built.
   */
  readonly onEvent?: (event: LifecycleEvent) => void;
}

/** What of the engine's options is the operator's to set. */
export type EngineSettings = Pick<
  ServerOptions,
  | "software"
  | "nonceLifetimeSeconds"
  | "maxLifetimeSeconds"
  | "channelLifetimeSeconds"
  | "strictChannels"
  | "onCredentialExpiry"
  | "passwordAlgorithms"
  | "usernameAnonymity"
  | "minimumIntegrityBytes"
  | "mobility"
  | "thirdPartyAuthorization"
  | "maxPermissionsPerAllocation"
  | "maxChannelsPerAllocation"
  | "maxPendingAuthentications"
  | "maxPendingAuthenticationsPerPrefix"
  | "unauthenticatedBytesPerSecond"
>;
