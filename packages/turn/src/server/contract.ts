import type { AddressRegister, IpAddress, StunCrypto, TransportAddress } from "@turnpike/stun";
import type { AuthenticationDecision, AuthenticationRequest } from "./authentication.ts";
import type { LifecycleEvent } from "./events.ts";
import type { AllocationLimits, SourceGate } from "./limits.ts";
import type { Meter } from "./meter.ts";
import type { PeerPolicy } from "./peer-policy.ts";

/**
 * The moment of an input. The engine has no clock of its own: every input carries one. The caller may keep a single
 * object and change it; the engine never holds on to it.
 */
export interface Now {
  /** Monotonic milliseconds, from any origin. Timers and lifetimes run on it. */
  readonly monotonicMs: number;
  /** Wall-clock milliseconds since 1970 (UTC). Nonces, credentials and events run on it. */
  readonly unixMs: number;
}

/** How a client reaches the relay. */
export type ClientTransport = "udp" | "tcp" | "tls" | "dtls" | "ws" | "wss";

/** One listening address of the relay. Ids are small integers, chosen by the caller, the same in every engine. */
export interface Listener {
  readonly id: number;
  readonly transport: ClientTransport;
  readonly local: TransportAddress;
}

/** Where a client's packet came from: its transport address, the listener that took it, and, for streams, which connection. */
export class ClientSource {
  /** The client's transport address as the relay sees it. */
  readonly remote: AddressRegister;
  /** {@link Listener.id}. Listener, transport and remote address make the five-tuple. */
  listener = 0;
  /** The caller's handle of a stream connection; 0 for datagrams. Comes back in {@link Forward} and outputs. */
  connection = 0;

  constructor(remote: AddressRegister) {
    this.remote = remote;
  }
}

/**
 * Room that the caller leaves free before and behind every packet that it hands in, so that the engine can put a
 * ChannelData header or a Data indication around the payload where it lies. In bytes.
 */
export const PACKET_HEADROOM = 48;
export const PACKET_TAILROOM = 4;

/** What to do with the packet just handed in. */
export const Verdict = {
  /** Nothing to forward. (Outputs may wait: drain them.) */
  consumed: 0,
  /** Send `forward.offset … +length` of the same buffer from relay socket `forward.socket` to `forward.destination`. */
  toPeer: 1,
  /** Send `forward.offset … +length` of the same buffer to the client at `forward.destination` / `forward.connection`. */
  toClient: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** Where the bytes of the packet just handed in go. One object for an engine's life: valid until the next input. */
export interface Forward {
  /** The caller's handle of the relay socket (from its `relaySocketOpened` answer). */
  readonly socket: number;
  /** {@link Listener.id} of the client, for {@link Verdict.toClient}. */
  readonly listener: number;
  /** The client's stream connection, 0 for datagrams; for {@link Verdict.toClient}. */
  readonly connection: number;
  /** The peer's (toPeer) or the client's (toClient) transport address. */
  readonly destination: TransportAddress;
  readonly offset: number;
  readonly length: number;
  /** True if a Send indication carried DONT-FRAGMENT (RFC 8656 §14). */
  readonly dontFragment: boolean;
}

/** What opening a relay socket asks for. The caller leases ports; the engine never knows the range. */
export interface OpenRelaySocket {
  readonly kind: "openRelaySocket";
  readonly questionId: number;
  readonly transport: "udp" | "tcp";
  readonly families: readonly (4 | 6)[];
  /**
   * `even`: an even port (RFC 8656 §7.2, EVEN-PORT with R=0); `evenPair`: an even port, and the next one held
   * (R=1); `reserved`: the held port named by `reservation`.
   */
  readonly port: "any" | "even" | "evenPair" | "reserved";
  /** The caller's handle of a held port, for `port: "reserved"`. */
  readonly reservation?: number;
}

/** One opened relay socket. */
export interface RelaySocket {
  /** The caller's handle: a small non-negative integer, unique while the socket lives. */
  readonly socket: number;
  /** What the socket is bound to. */
  readonly local: TransportAddress;
  /** What peers and clients are told: the external address if there is one, else `local`. */
  readonly relayed: TransportAddress;
}

/** Replies to the engine's questions. `questionId` names the question. */
export type Answer =
  | {
      readonly kind: "relaySocketOpened";
      readonly questionId: number;
      /** One for each family that could be opened, in the order asked. */
      readonly sockets: readonly RelaySocket[];
      /** For `evenPair`: the caller's handle of the held next port. */
      readonly reservation?: number;
      /** Families that could not be served, with the code to tell the client (RFC 8656 §7.2: 440 or 508). */
      readonly failures?: readonly { readonly family: 4 | 6; readonly code: 440 | 508 }[];
    }
  | {
      readonly kind: "relaySocketFailed";
      readonly questionId: number;
      readonly code: 440 | 508;
      readonly reason: string;
    }
  /** A peer was reached from a TCP relay socket (RFC 6062 §5.2); nothing is read from it until it is bound. */
  | { readonly kind: "peerConnected"; readonly questionId: number; readonly peerConnection: number }
  | { readonly kind: "peerConnectFailed"; readonly questionId: number }
  | { readonly kind: "authentication"; readonly questionId: number; readonly decision: AuthenticationDecision }
  | {
      readonly kind: "admission";
      readonly questionId: number;
      readonly admitted: boolean;
      /** For a refusal: 486 (quota), 508 (capacity) or 300 with `alternateServer`. */
      readonly code?: 300 | 403 | 486 | 508;
      readonly reason?: string;
      readonly alternateServer?: TransportAddress;
      readonly alternateDomain?: string;
      /** Caps the lifetime of the allocation, in seconds. */
      readonly maxLifetimeSeconds?: number;
      /** For `ServerOptions.metersFor`. */
      readonly limits?: AllocationLimits;
    };

/** Everything that an engine wants of the world. Drain with `pollOutput()` after every input until it is undefined. */
export type Output =
  | {
      readonly kind: "sendToClient";
      readonly listener: number;
      readonly connection: number;
      readonly destination: TransportAddress;
      readonly bytes: Uint8Array;
    }
  | OpenRelaySocket
  | { readonly kind: "closeRelaySocket"; readonly socket: number }
  | { readonly kind: "releaseReservation"; readonly reservation: number }
  /** Connect a TCP relay socket's address to a peer; give up after 30 seconds or more (RFC 6062 §5.2). */
  | {
      readonly kind: "connectPeer";
      readonly questionId: number;
      readonly socket: number;
      readonly peer: TransportAddress;
    }
  /** From here on the client's connection carries raw bytes to and from the peer's (RFC 6062 §5.4). */
  | {
      readonly kind: "bindDataConnection";
      readonly listener: number;
      readonly connection: number;
      readonly peerConnection: number;
    }
  /**
   * Close the peer's connection. Its data connection, if it is bound, goes with it.
   * `finish`: the client gave its allocation back, or closed its control connection. What it had sent on the data
   * connection before that still goes to the peer, for a short time; the other direction ends at once.
   */
  | { readonly kind: "closePeerConnection"; readonly peerConnection: number; readonly finish?: true }
  /** A request that belongs to another engine's allocation: hand it in there by `handleHandedOver`. */
  | {
      readonly kind: "handOver";
      readonly engine: number;
      readonly listener: number;
      readonly connection: number;
      readonly client: TransportAddress;
      readonly bytes: Uint8Array;
    }
  /** Packets of this five-tuple arrive at another engine: have them delivered here, until `releaseClient`. */
  | { readonly kind: "adoptClient"; readonly listener: number; readonly client: TransportAddress }
  | { readonly kind: "releaseClient"; readonly listener: number; readonly client: TransportAddress }
  /** May this user allocate? Asked only if `ServerOptions.admission` is true. */
  | {
      readonly kind: "admit";
      readonly questionId: number;
      readonly username: string;
      readonly actor: string;
      readonly scheme: string;
      readonly listener: number;
      readonly client: TransportAddress;
    }
  /** The allocation that was admitted lives from here on. */
  | { readonly kind: "commitAdmission"; readonly questionId: number }
  /** The allocation that was admitted is gone, or never came to be: give its share back. */
  | { readonly kind: "releaseAdmission"; readonly questionId: number }
  /**
   * A channel may be taken over by a faster path from now on, until `channelUnbound`. Neither is said of allocations with
   * meters or a MOBILITY-TICKET: the engine must see each of their packets.
   */
  | {
      readonly kind: "channelBound";
      readonly allocation: number;
      readonly channel: number;
      readonly listener: number;
      readonly client: TransportAddress;
      readonly socket: number;
      readonly relayed: TransportAddress;
      readonly peer: TransportAddress;
      /** When channel and permission end, on the monotonic clock; a refresh is another `channelBound`. */
      readonly expiresAtMs: number;
    }
  | { readonly kind: "channelUnbound"; readonly allocation: number; readonly channel: number }
  /** Close the stream connection of a client, e.g. after its allocation was ended by an administrator. */
  | { readonly kind: "closeClient"; readonly listener: number; readonly connection: number }
  | { readonly kind: "event"; readonly event: LifecycleEvent };

/**
 * The relay's own addresses. They are refused as peers, but for live relayed transport addresses, by which two
 * clients of one relay reach each other. Where the relay stands behind a 1:1 NAT, peers are named by the public
 * (relayed) address while packets run between local ones: this translates.
 */
export interface Hairpin {
  /** Whether an address is one of the relay's own: listening, relay or external. */
  isOwn(ip: IpAddress): boolean;
  /** Whether a relayed transport address belongs to a living allocation of this relay, in any engine. */
  isLive(relayed: TransportAddress): boolean;
  /** Where packets for `relayed` must be sent: fills `out` and returns true if that is another address. */
  toLocal(relayed: TransportAddress, out: AddressRegister): boolean;
  /** The relayed transport address whose packets come from `local`: fills `out` and returns true if it is another. */
  toRelayed(local: TransportAddress, out: AddressRegister): boolean;
}

/**
 * The four listeners of RFC 5780 §6: two addresses, each with two ports, in the order
 * (first address, first port), (first, second), (second, first), (second, second).
 */
export interface NatDiscovery {
  readonly listeners: readonly [number, number, number, number];
  /** What clients are told of them, in the same order: behind a 1:1 NAT, its side of each. Default: what they are bound to. */
  readonly addresses?: readonly [TransportAddress, TransportAddress, TransportAddress, TransportAddress];
}

/** What an ICMP message said: type and code as on the wire, and the next-hop MTU or 0 (RFC 8656 §18.13). */
export interface IcmpReport {
  readonly type: number;
  readonly code: number;
  readonly data: number;
}

/** What an engine is made with. */
export interface ServerOptions {
  readonly crypto: StunCrypto;
  /** Cryptographically strong random bytes. */
  readonly random: (length: number) => Uint8Array;
  /** Which of the relay's engines this is (0–254). Tokens name their owner by it. Default 0. */
  readonly engine?: number;
  /** How many engines the relay has. Default 1: nothing is handed over. */
  readonly engines?: number;
  readonly realm: string;
  /** The SOFTWARE attribute of answers. Default: none is sent. */
  readonly software?: string;
  readonly listeners: readonly Listener[];
  /** Decides who is asking. See {@link AuthenticationRequest}. */
  readonly authenticate: (request: AuthenticationRequest) => AuthenticationDecision;
  /** Which peers may be reached. Use `createPeerPolicy`. */
  readonly peerPolicy: PeerPolicy;
  readonly hairpin: Hairpin;
  /** Address families for which relay sockets can be had. Default: both. */
  readonly families?: readonly (4 | 6)[];
  /** Whether relay sockets can set the DF bit (RFC 8656 §14). Default false: DONT-FRAGMENT is an unknown attribute. */
  readonly dontFragment?: boolean;
  /** 32 bytes, shared by all engines of a relay. */
  readonly nonceKey: Uint8Array;
  /** How long a nonce is good for. Default 600. */
  readonly nonceLifetimeSeconds?: number;
  /** Longest lifetime that is granted. Default 3600. */
  readonly maxLifetimeSeconds?: number;
  /** Default 600 (RFC 8656 §12). */
  readonly channelLifetimeSeconds?: number;
  /** True: channel numbers 0x5000–0x7FFF are refused as RFC 8656 §12.2 says. Default false, as RFC 5766 clients use them. */
  readonly strictChannels?: boolean;
  /** `end`: an allocation ends with the credential that made it. Default `keep`. */
  readonly onCredentialExpiry?: "keep" | "end";
  /** PASSWORD-ALGORITHMS to offer, in order of preference: those for which every stored key is at hand. Default both. */
  readonly passwordAlgorithms?: readonly ("md5" | "sha256")[];
  /**
   * The shortest MESSAGE-INTEGRITY-SHA256 that is taken, 16–32 bytes. Default 32: truncation needs the agreement of
   * those who deploy it (RFC 8489 §14.6).
   */
  readonly minimumIntegrityBytes?: number;
  /** True: every scheme can resolve a USERHASH; sets the username-anonymity bit of nonces. Default false. */
  readonly usernameAnonymity?: boolean;
  /** Permissions and channels that one allocation may hold. Default 1,000 each. */
  readonly maxPermissionsPerAllocation?: number;
  readonly maxChannelsPerAllocation?: number;
  /** TCP connections that one allocation may hold (RFC 6062). Default 100. */
  readonly maxConnectionsPerAllocation?: number;
  /** Whether TCP relay sockets can be had (RFC 6062). Default false: REQUESTED-TRANSPORT TCP gets 442. */
  readonly tcpRelay?: boolean;
  /** Whether clients may take their allocations to new addresses (RFC 8016). Default false: they get 405. */
  readonly mobility?: boolean;
  /** This server's name, which challenges announce to those with access tokens (RFC 7635 §6.1). Default: none. */
  readonly thirdPartyAuthorization?: string;
  /** NAT behaviour discovery (RFC 5780): the listeners that stand for each other's alternates. Default: off. */
  readonly natDiscovery?: NatDiscovery;
  /** Authentications that may wait for an answer at once, in all and per client address prefix. Default 1,000 and 50. */
  readonly maxPendingAuthentications?: number;
  readonly maxPendingAuthenticationsPerPrefix?: number;
  /**
   * Bytes per second that unauthenticated requests of one address prefix (/24, /56) are answered with. Default 65,536.
   * `Infinity` makes the relay a reflector: for closed networks only.
   */
  readonly unauthenticatedBytesPerSecond?: number;
  /** True: ask `admit` before each allocation. Default false. */
  readonly admission?: boolean;
  /**
   * The limits that each packet of a new allocation must pass. `limits` are those of the admission answer. Default:
   * none.
   */
  readonly metersFor?: (allocation: {
    readonly actor: string;
    readonly limits: AllocationLimits | undefined;
  }) => readonly Meter[] | undefined;
  /** How often a `trafficReport` event is due for each allocation. Default: never. Needs `events`. */
  readonly trafficReportSeconds?: number;
  /**
   * Whether lifecycle events are built and output: all of them, or those of the types for which a function says so each
   * time. Default false: nothing is built when nobody listens.
   */
  readonly events?: boolean | ((type: LifecycleEvent["type"]) => boolean);
  /** Limits by source, asked before anything is done for a client. Default: none. */
  readonly gate?: SourceGate;
}

/**
 * The engine: a pure state machine. Each input is followed by a complete drain of `pollOutput()`, then the caller
 * sleeps until the next input or until `pollTimeout()`.
 */
export interface ServerEngine {
  /** Valid after an input that returned `toPeer` or `toClient`, until the next input. */
  readonly forward: Forward;
  /** A datagram, or one frame of a stream (STUN message or ChannelData, padding included or not), from a client. */
  handleClientPacket(source: ClientSource, buffer: Uint8Array, offset: number, length: number, now: Now): Verdict;
  /** A datagram that a relay socket received from `peer`. */
  handlePeerPacket(
    socket: number,
    peer: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    now: Now,
  ): Verdict;
  /** A request that another engine handed over: see the `handOver` output. */
  handleHandedOver(source: ClientSource, bytes: Uint8Array, now: Now): void;
  /** An ICMP error for a datagram that `socket` sent to `peer` (RFC 8656 §11.5). `port` 0 if it isn't known. */
  handlePeerIcmp(socket: number, peer: TransportAddress, icmp: IcmpReport, now: Now): void;
  /** A peer connected to a TCP relay socket. The handle is the caller's; nothing is read from it until it is bound. */
  handlePeerConnection(socket: number, peer: TransportAddress, peerConnection: number, now: Now): void;
  /** A peer's TCP connection ended, and all its bytes were delivered. */
  handlePeerConnectionClosed(peerConnection: number, now: Now): void;
  handleAnswer(answer: Answer, now: Now): void;
  /** The client's stream connection ended: its allocation ends with it. */
  handleClientClosed(source: ClientSource, now: Now): void;
  /** Whether a client has an allocation. What has none may be closed when it is silent. */
  hasAllocation(source: ClientSource): boolean;
  /** A relay socket can't be used any more. */
  handleRelaySocketError(socket: number, now: Now): void;
  handleTimeout(now: Now): void;
  /** Ends every allocation, with events. */
  shutdown(now: Now): void;
  pollOutput(): Output | undefined;
  /** When `handleTimeout` wants to be called next, on the monotonic clock in milliseconds. */
  pollTimeout(): number | undefined;
}
