import type { PenaltySettings } from "@turnpike/authn";
import type { AuthenticationDecision, AuthenticationRequest, LifecycleEvent, ServerOptions } from "@turnpike/turn";
import type { AdmissionStore } from "./admission/admission-store.ts";
import type { RelayLimits } from "./control/administration.ts";
import type { EventHandlers } from "./events/event-hub.ts";
import type { EventLogSettings } from "./events/event-log.ts";
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
  /** Lifetimes, limits and deviations of the engine, each with its default. */
  readonly engine?: EngineSettings;
  /** Buffers and queues of sockets. */
  readonly plane?: Pick<PortablePlaneOptions, "socketBufferBytes" | "maxSendQueueBytes">;
  /** Default: nothing is logged. */
  readonly logger?: Logger;
  /** Takes events, each by a handler of its name, after what caused them is finished. Without any none is built. */
  readonly events?: EventHandlers;
  /** Takes every event of the engine (bans are none). What it throws is logged. */
  readonly onEvent?: (event: LifecycleEvent) => unknown;
  /** Events that stand in the log, one line each at `info`. They have clients' addresses in them. Default: none. */
  readonly eventLog?: EventLogSettings;
  /** How often a `trafficReport` tells of each living allocation. Default: never. */
  readonly trafficReportSeconds?: number;
  /** Quotas, rates, redirection: what `relay.configure` can change. Default: none. */
  readonly limits?: RelayLimits;
  /** Where quotas are counted. Default: in memory, for this relay alone. The relay closes it when it stops. */
  readonly admissionStore?: AdmissionStore;
  /** Whether users with a quota are let in while the store can't be reached. Default `refuse` (508). */
  readonly whenStoreAway?: "refuse" | "admit";
  /**
   * Delays and bans for those who guess credentials. Default: those of `PenaltySettings`: an answer 4 to 5 seconds later,
   * and 100 failures in 10 minutes shut an address prefix out for 10 minutes. False: none, and nobody can be banned.
   */
  readonly penalties?: PenaltySettings | false;
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
