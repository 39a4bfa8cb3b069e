import type { Duplex } from "node:stream";
import type { IcmpError, IpAddress, TransportAddress } from "@turnpike/stun";
import type { Allocated, ClientFailure, ClientTransport } from "@turnpike/turn";
import type { Datagram } from "./datagram-queue.ts";
import type { TurnClientError } from "./errors.ts";
import type { PeerAddress, PeerHost } from "./peer-address.ts";
import type { TransportSecurity } from "./transports/transport.ts";

/** Gives up what it is handed to: rejects with the signal's reason. */
export interface Abortable {
  readonly signal?: AbortSignal;
}

/** Counts since the allocation was made. */
export interface AllocationStats {
  /** Datagrams handed to the transport. */
  readonly sent: number;
  /** Datagrams of peers that arrived. */
  readonly received: number;
  /** Datagrams that were not sent: congestion, no permission, or too many waited for one. */
  readonly droppedOutgoing: number;
  /** Datagrams that arrived and were thrown away because nobody read them. */
  readonly droppedIncoming: number;
}

/**
 * A relayed transport address of one's own: what is sent goes out from it, what peers send to it arrives. It is
 * refreshed by itself until it is closed.
 */
export interface Allocation extends AsyncIterable<Datagram>, AsyncDisposable {
  /** Where peers reach this client: the first of `relayedAddresses`. */
  readonly relayedAddress: TransportAddress;
  /** One, or one of each family. */
  readonly relayedAddresses: readonly TransportAddress[];
  /** How the server sees this client (its reflexive transport address). */
  readonly mappedAddress: TransportAddress;
  /** The server that serves it: after a redirect another one than was asked. */
  readonly server: TransportAddress;
  readonly transport: ClientTransport;
  readonly security: TransportSecurity | undefined;
  /** What the server granted at first: lifetime, reservation token, address errors. */
  readonly granted: Allocated;
  readonly stats: AllocationStats;
  /** Resolves when the allocation is over: with undefined after `close`, else with what ended it. */
  readonly closed: Promise<TurnClientError | undefined>;

  /**
   * Sends a datagram. The first one to an address asks for a permission and waits for it (64 at most do); with
   * `autoPermit: false` it is up to `permit`.
   *
   * @returns false if it was dropped.
   * @throws TypeError if `peer` is no address; TurnClientError with `closed`.
   */
  send(peer: PeerAddress, data: Uint8Array | string): boolean;
  /** Installs permissions, and keeps them up. Ports don't matter. */
  permit(peers: PeerHost | readonly PeerHost[], options?: Abortable): Promise<void>;
  /** Binds a channel to a peer: 4 bytes around a datagram in place of 36 or more. @returns its number. */
  bindChannel(peer: PeerAddress, options?: Abortable): Promise<number>;
  /** Lets permission and channels of an address run out. */
  forget(peer: PeerHost): void;
  /** For a TCP allocation: connects to a peer through the server (RFC 6062). */
  connect(peer: PeerAddress, options?: Abortable): Promise<Duplex>;
  /** Refreshes ahead of time. @returns the lifetime granted, in seconds. */
  refresh(options?: Abortable & { readonly lifetimeSeconds?: number }): Promise<number>;
  /** Takes a mobile allocation to a new socket (RFC 8016), after the machine's address changed. */
  move(options?: Abortable): Promise<void>;
  /** Ends the allocation at the server, then everything here. Never rejects; a second call waits for the first. */
  close(): Promise<void>;
}

/** What happens to an allocation beside datagrams. All optional. */
export interface AllocationHandlers {
  /** Each datagram of a peer, at once. Without it they wait for the iterator. */
  readonly onDatagram?: (datagram: Datagram) => void;
  /** For a TCP allocation: a peer called, and was let in. Without it such calls are turned away. */
  readonly onConnection?: (connection: Duplex, peer: TransportAddress) => void;
  /** A router or peer refused a datagram. */
  readonly onIcmp?: (peer: TransportAddress, icmp: IcmpError) => void;
  /** A permission or channel that was kept up could not be. */
  readonly onLost?: (what: "permission" | "channel", peer: IpAddress, failure: ClientFailure) => void;
}
