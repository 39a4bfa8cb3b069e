import type { PenaltySettings } from "@turnpike/authn/penalties";
import type { LifecycleEvent, ServerOptions } from "@turnpike/turn";
import type { AdmissionStore } from "./admission/admission-store.ts";
import type { Authenticate, AuthenticateModule } from "./authenticate-module.ts";
import type { RelayLimits } from "./control/administration.ts";
import type { EventHandlers } from "./events/event-hub.ts";
import type { EventLogSettings } from "./events/event-log.ts";
import type { Logger } from "./logger.ts";
import type { PortablePlaneOptions } from "./planes/portable/portable-plane.ts";
import type { PortRange } from "./ports/port-range.ts";
import type { CertificatePaths, TlsIdentity } from "./streams/certificate-files.ts";
import type { StreamLimits } from "./streams/stream-options.ts";

/** Which peers clients may reach: addresses, CIDR prefixes or `A-B` ranges. In both lists: allow wins. */
export interface PeerRules {
  /** Beside what is globally routable. Default: nothing. */
  readonly allow?: readonly string[];
  /** Of what is globally routable. Default: nothing. */
  readonly deny?: readonly string[];
}

/** What {@link startRelay} takes. Everything but `authenticate` has a default. */
export interface RelayOptions {
  /** A function serves the portable plane alone: the threads of the batched plane need a module. */
  readonly authenticate: Authenticate | AuthenticateModule;
  /** How packets are forwarded. */
  readonly forwarding?: ForwardingOptions;
  /**
   * Where clients reach the relay: `TRANSPORT:ADDRESS:PORT`, transport udp, tcp, tls, dtls, ws or wss. A wildcard stands
   * for each address that the machine has at the start. Port 0 finds a free one. A `tcp:` port tells TURN, WebSocket and
   * (with a certificate) TLS apart by the first bytes. Default: udp and tcp on port 3478 of `0.0.0.0` and `[::]`.
   */
  readonly listen?: readonly string[];
  /** PEM files of the certificate for TLS and DTLS; read again when they change. Default: none. */
  readonly tls?: CertificatePaths;
  /**
   * A second certificate, with the key that this relay is known by: for TLS 1.3 clients over TCP that ask for its server
   * name, and without `tls` for all of them. Default: none.
   */
  readonly identity?: TlsIdentity;
  /** Limits of clients with connections. */
  readonly streams?: StreamLimits;
  /**
   * Addresses, CIDR prefixes or `A-B` ranges of proxies whose TCP connections begin with a PROXY protocol header,
   * version 1 or 2. Those of others must not. Default: nobody.
   */
  readonly trustedProxies?: readonly string[];
  /**
   * TCP relay sockets (RFC 6062). Default: if the machine can have them (Linux x64 with the optional package koffi);
   * `true` refuses to start where it can't.
   */
  readonly tcpRelay?: boolean;
  /** NAT behaviour discovery (RFC 5780) on UDP: opens the four listeners that are not there yet. Default: off. */
  readonly natDiscovery?: NatDiscoveryOptions;
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
   * and 100 failures in 10 minutes shut an address prefix out for 10 minutes. False: none; administrators can ban.
   */
  readonly penalties?: PenaltySettings | false;
}

/** How packets are forwarded. */
export interface ForwardingOptions {
  /**
   * `batched`: UDP by many packets a system call, on threads (Linux x64 with glibc and the optional package koffi).
   * `portable`: by the runtime's own sockets, anywhere. `auto`, the default: `batched` if the machine passes its
   * self-test and `authenticate` is a module. `kernel`: batched, and channels in the kernel by XDP or TCX, on
   * `interface` (needs CAP_BPF and CAP_NET_ADMIN).
   */
  readonly plane?: "auto" | "portable" | "batched" | "kernel";
  /** The Ethernet interface that carries clients and peers, for the kernel plane alone. */
  readonly interface?: string;
  /**
   * How packets reach the kernel plane's program: `native` (in the driver, by XDP), `tcx` (behind it; Linux 6.6 or
   * later), `generic` (as `tcx`, but by XDP). `auto`, the default: the first of them that the interface can do; on veth
   * not `native`.
   */
  readonly kernelMode?: "auto" | "native" | "tcx" | "generic";
  /** Threads of the batched plane, 1 to 64. Default: as many as the process may use cores. */
  readonly threads?: number;
  /** On the batched plane: up to so many microseconds of latency for less CPU at middle loads, 0–200. Default 0. */
  readonly coalesceUs?: number;
}

/**
 * Two addresses of one family and two ports, each combination of which is a listener (RFC 5780 §6). Of addresses that
 * have an external address, clients are told that one.
 */
export interface NatDiscoveryOptions {
  readonly addresses: readonly [string, string];
  readonly ports: readonly [number, number];
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
  | "maxConnectionsPerAllocation"
  | "maxPendingAuthentications"
  | "maxPendingAuthenticationsPerPrefix"
  | "unauthenticatedBytesPerSecond"
>;

/** Where clients reach a relay that nobody told otherwise. */
export const DEFAULT_LISTEN: readonly string[] = [
  "udp:0.0.0.0:3478",
  "udp:[::]:3478",
  "tcp:0.0.0.0:3478",
  "tcp:[::]:3478",
];
