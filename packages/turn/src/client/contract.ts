import type { IcmpError, IpAddress, StunCrypto, TransportAddress } from "@turnpike/stun";
import type { Now } from "../server/contract.ts";
import type { ClientFailure } from "./failure.ts";

/** Who the client says it is. */
export type ClientCredentials =
  /** A long-term credential (RFC 8489 §9.2). */
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  /** Third-party authorization (RFC 7635 §5): the key id, the key of the token, and the token as it was given out. */
  | {
      readonly kind: "accessToken";
      readonly keyId: string;
      readonly macKey: Uint8Array;
      readonly accessToken: Uint8Array;
    };

/** What a client engine is made with. */
export interface ClientOptions {
  readonly crypto: StunCrypto;
  /** Cryptographically strong random bytes: transaction ids, tickets' freshness and channel numbers rest on them. */
  readonly random: (length: number) => Uint8Array;
  /** The server's transport address: redirects back to it are refused. */
  readonly server: TransportAddress;
  /** True over TCP, TLS and WebSocket: nothing is retransmitted, ChannelData is padded (RFC 8656 §12.5). */
  readonly reliable: boolean;
  /** Default: none; a challenge then fails the operation. */
  readonly credentials?: ClientCredentials;
  /** The SOFTWARE attribute of requests. Default: none is sent. */
  readonly software?: string;
  /** True: requests end with FINGERPRINT (RFC 8489 §14.7). Default false. */
  readonly fingerprint?: boolean;
  /** The first retransmission timeout, in milliseconds (RFC 8489 §6.2.1). Default 500. */
  readonly initialRtoMs?: number;
  /** How often a request is sent in all: Rc. Default 7. */
  readonly maxTransmissions?: number;
  /** How many initial RTOs the client waits after the last transmission: Rm. Default 16. */
  readonly lastWaitRtos?: number;
  /** How long a request over a reliable transport is waited for: Ti. Default 39,500. */
  readonly reliableTimeoutMs?: number;
  /** When to refresh, as a part of the lifetime of an allocation, permission or channel, 0.1–0.95. Default 0.75. */
  readonly refreshFraction?: number;
  /**
   * A Binding indication goes out when nothing else went for so long, so that NATs keep the path open. 0: never.
   * Default 25,000 over unreliable transports, 0 over reliable ones.
   */
  readonly keepaliveMs?: number;
  /** Operations that may be under way at once. More fail with `tooManyOperations`. Default 1,000. */
  readonly maxOperations?: number;
}

/** What to allocate. */
export interface AllocateDemands {
  /** `tcp` makes a TCP allocation (RFC 6062) and needs a reliable transport. Default `udp`. */
  readonly transport?: "udp" | "tcp";
  /** Families of the relayed addresses; both: a dual allocation (RFC 8656 §7.1). Default: the server's choice, IPv4. */
  readonly families?: readonly (4 | 6)[];
  /** Seconds asked for, at every refresh too. Default: the server's choice. */
  readonly lifetimeSeconds?: number;
  /** `even`: an even port; `evenPair`: and the next one reserved (RFC 8656 §7.1, EVEN-PORT). */
  readonly port?: "any" | "even" | "evenPair";
  /** Takes the port that another allocation reserved: 8 bytes. Goes with neither `port` nor `families`. */
  readonly reservationToken?: Uint8Array;
  /** True: fails unless the server can set the DF bit (RFC 8656 §14). Default false. */
  readonly dontFragment?: boolean;
  /** True: asks for a ticket with which the allocation follows the client to other addresses (RFC 8016). */
  readonly mobility?: boolean;
}

/** What was allocated. */
export interface Allocated {
  /** The relayed transport addresses, in the order in which the server named them. */
  readonly relayed: readonly TransportAddress[];
  /** The client's reflexive transport address. */
  readonly mapped: TransportAddress;
  readonly lifetimeSeconds: number;
  /** The token of the reserved next port, if one was asked for. */
  readonly reservationToken: Uint8Array | undefined;
  /** The family of a dual allocation that could not be had, and why (RFC 8656 §18.12). */
  readonly addressError: { readonly family: 4 | 6; readonly code: number; readonly reason: string } | undefined;
  /** Whether the server gave a ticket (RFC 8016). */
  readonly mobile: boolean;
}

/** The end of an operation. `operation` is what its method returned. */
export type Completion =
  | { readonly method: "binding"; readonly mapped: TransportAddress }
  | { readonly method: "allocate"; readonly allocated: Allocated }
  | { readonly method: "refresh" | "move"; readonly lifetimeSeconds: number }
  | { readonly method: "permit" }
  | { readonly method: "bindChannel"; readonly channel: number }
  | { readonly method: "connect"; readonly connectionId: number }
  | { readonly method: "close" };

/** Everything that a client engine wants of the world. Drain with `pollOutput()` after every input until undefined. */
export type ClientOutput =
  /** Send to the server. */
  | { readonly kind: "send"; readonly bytes: Uint8Array }
  | { readonly kind: "completed"; readonly operation: number; readonly completion: Completion }
  | { readonly kind: "failed"; readonly operation: number; readonly failure: ClientFailure }
  /**
   * Open the same kind of transport to one of `servers` (in their order) and answer by `handleRedirected`, or by
   * `handleTransportFailed`. `domain`: what the certificate is checked against, if it differs (RFC 8489 §10).
   */
  | {
      readonly kind: "redirect";
      readonly servers: readonly TransportAddress[];
      readonly domain: string | undefined;
    }
  /** A peer called a TCP allocation: bind a connection to it within 30 seconds (RFC 6062 §4.4). */
  | { readonly kind: "connectionAttempt"; readonly peer: TransportAddress; readonly connectionId: number }
  /** A router or peer refused a datagram (RFC 8656 §11.6). */
  | { readonly kind: "icmp"; readonly peer: TransportAddress; readonly icmp: IcmpError }
  /** An automatic refresh was answered. */
  | { readonly kind: "refreshed"; readonly lifetimeSeconds: number }
  /** A permission that was kept up could not be refreshed; it is not tried again. */
  | { readonly kind: "permissionLost"; readonly peer: IpAddress; readonly failure: ClientFailure }
  | {
      readonly kind: "channelLost";
      readonly peer: TransportAddress;
      readonly channel: number;
      readonly failure: ClientFailure;
    }
  /** The allocation is gone: nothing more can be done with this engine. */
  | { readonly kind: "allocationLost"; readonly failure: ClientFailure };

/** What a packet from the server was. */
export const Received = {
  /** Not for the application. (Outputs may wait: drain them.) */
  consumed: 0,
  /** A peer's datagram: see {@link ReceivedData}. */
  data: 1,
} as const;
export type Received = (typeof Received)[keyof typeof Received];

/** The datagram in the packet just handed in. One object for an engine's life: valid until the next input. */
export interface ReceivedData {
  readonly peer: TransportAddress;
  /** In the buffer that was handed in. */
  readonly offset: number;
  readonly length: number;
  /** The channel that it came by; 0 for a Data indication. */
  readonly channel: number;
}

/**
 * The client of one five-tuple, and so of at most one allocation: a pure state machine. Each input is followed by a
 * complete drain of `pollOutput()`, then the caller sleeps until the next input or until `pollTimeout()`.
 *
 * Methods that ask something of the server return the number of an operation, which ends in exactly one `completed`
 * or `failed` output.
 */
export interface ClientEngine {
  /** Valid after `handlePacket` returned `data`, until the next input. */
  readonly received: ReceivedData;
  /** A datagram, or one frame of a stream (STUN message or ChannelData, padding included or not), from the server. */
  handlePacket(buffer: Uint8Array, offset: number, length: number, now: Now): Received;
  /** The transport after a `redirect` is open; `server` is whom it reaches. */
  handleRedirected(server: TransportAddress, now: Now): void;
  /** The transport ended, or couldn't be opened. A mobile allocation survives it, for `move`. */
  handleTransportFailed(now: Now): void;
  handleTimeout(now: Now): void;

  /** RFC 8489 §3: what is my reflexive transport address? Needs no credentials. */
  binding(now: Now): number;
  /**
   * May be called again after it failed. After it was aborted, and after an allocation, it throws: what ended that may
   * still be on its way and would end the next one too.
   */
  allocate(demands: AllocateDemands, now: Now): number;
  /** Refreshes ahead of time, from here on with `lifetimeSeconds` if given. */
  refresh(lifetimeSeconds: number | undefined, now: Now): number;
  /** Installs permissions and keeps them up until `forget`. Ports don't matter. */
  permit(peers: readonly IpAddress[], now: Now): number;
  /** Binds a channel, and keeps it and its permission up until `forget`. */
  bindChannel(peer: TransportAddress, now: Now): number;
  /** Lets the permission and the channels of a peer's address run out. */
  forget(peer: IpAddress): void;
  /** RFC 6062 §4.3: has the server connect to a peer; then bind a connection of its own by `ConnectionBinding`. */
  connect(peer: TransportAddress, now: Now): number;
  /** RFC 8016 §3.2: the transport was replaced; takes the allocation along to the new five-tuple. */
  move(now: Now): number;
  /** Ends the allocation by a Refresh with a lifetime of 0. */
  close(now: Now): number;
  /** Gives an operation up: it ends as `failed` with `aborted`. */
  abort(operation: number, now: Now): void;

  /**
   * What to send to the server so that `payload` reaches `peer`: ChannelData if a channel is bound, else a Send
   * indication. Undefined if there is no allocation.
   *
   * @throws RangeError if the payload is too long for either.
   */
  encodeDatagram(
    peer: TransportAddress,
    payload: Uint8Array,
    now: Now,
    options?: { readonly dontFragment?: boolean },
  ): Uint8Array | undefined;

  pollOutput(): ClientOutput | undefined;
  /** When `handleTimeout` wants to be called next, on the monotonic clock in milliseconds. */
  pollTimeout(): number | undefined;
}
