import type { TransportAddress } from "@turnpike/stun";
import type { ClientSource, IcmpReport, Output } from "@turnpike/turn";
import type { PlaneCounters } from "./counters.ts";

/** The largest payload of an IPv4 datagram: 65,535 less 20 bytes of IP header and 8 of UDP header. */
export const MAX_PAYLOAD_IPV4 = 65_507;

/** The largest payload of an IPv6 datagram, whose length field doesn't count the IP header (RFC 8200 §3). */
export const MAX_PAYLOAD_IPV6 = 65_527;

/**
 * Who takes what a plane received. The buffer has `PACKET_HEADROOM` bytes before and `PACKET_TAILROOM` bytes behind
 * the packet, and is the receiver's until the call returns; what it sends from it in that call, it must not change
 * afterwards.
 */
export interface PacketReceiver {
  handleClientPacket(source: ClientSource, buffer: Uint8Array, offset: number, length: number): void;
  handlePeerPacket(socket: number, peer: TransportAddress, buffer: Uint8Array, offset: number, length: number): void;
  /** An ICMP error for a datagram that a relay socket sent. Planes that can't see them don't call it. */
  handlePeerIcmp(socket: number, peer: TransportAddress, icmp: IcmpReport): void;
  /** A relay socket broke: it carries nothing more, and waits to be closed. `code` is the system's, e.g. `ENETDOWN`. */
  handleRelaySocketError(socket: number, code: string): void;
}

/**
 * Why a socket could not be opened. `inUse`: somebody else has the port. `addressUnavailable`: the machine doesn't
 * have the address. `notPermitted`: e.g. a privileged port. `noResources`: descriptors or memory ran out.
 */
export type OpenFailure = "inUse" | "addressUnavailable" | "notPermitted" | "noResources" | "failed";

/** What became of opening a socket. */
export type Opened =
  | {
      readonly kind: "opened";
      /** The plane's handle of a relay socket, a small non-negative integer; of a listener: its id. */
      readonly socket: number;
      /** What it is bound to, with the port that was found if 0 was asked. */
      readonly local: TransportAddress;
    }
  | {
      readonly kind: "failed";
      readonly failure: OpenFailure;
      /** The system's error code, e.g. `EADDRINUSE`. */
      readonly code: string;
    };

/** TCP relay sockets (RFC 6062): handles are of the same numbers as those of UDP. */
export interface TcpRelayPlane {
  /** Opens, binds and listens. `ForwardingPlane.closeRelaySocket` closes it. */
  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void;
  /** Connects to a peer from a relay socket's address; nothing is read from it. `done` gets its handle or undefined. */
  connectPeer(socket: number, peer: TransportAddress, done: (peerConnection: number | undefined) => void): void;
  /** Joins a client's connection and a peer's, from here on as raw bytes. */
  bindDataConnection(listener: number, connection: number, peerConnection: number): void;
  /** `finish`: what the client of a joined connection had sent still goes to the peer, for a short time. */
  closePeerConnection(peerConnection: number, options?: { readonly finish: boolean }): void;
}

/**
 * A forwarding plane: the sockets, and the way of packets through them. It knows neither STUN nor allocations. All
 * implementations pass one contract suite (`test/contract/plane-contract.ts`).
 *
 * Results come by callback, before or after the call returns: a plane that blocks in system calls has no event loop
 * that promises could run on.
 */
export interface ForwardingPlane {
  readonly counters: PlaneCounters;
  /** Names who receives. What arrives before is dropped. */
  start(receiver: PacketReceiver): void;
  /** Opens a listening socket. `listener` is the id that packets and {@link sendToClient} name it by. */
  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void;
  /** Opens and binds a relay socket. It receives from the moment that `done` is called. */
  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void;
  /** Closes a relay socket: nothing is received from the call on; the port is free when `done` is called. */
  closeRelaySocket(socket: number, done: () => void): void;
  /**
   * Sends to a client. Never throws: what can't be sent is dropped and counted. `connection` is 0 for datagrams.
   * The bytes must not change afterwards.
   */
  sendToClient(
    listener: number,
    connection: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): void;
  /** Sends to a peer. Never throws: what can't be sent is dropped and counted. The bytes must not change afterwards. */
  sendToPeer(
    socket: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    dontFragment: boolean,
  ): void;
  /** TCP relay sockets. Planes that can't have them don't have it. */
  readonly tcpRelay?: TcpRelayPlane | undefined;
  /** Closes a client's stream connection. Planes without streams don't have it. */
  closeClient?(listener: number, connection: number): void;
  /** Takes over, or gives back, a channel: for planes that forward some packets without the engine. */
  handleChannel?(output: Extract<Output, { kind: "channelBound" | "channelUnbound" }>): void;
  /** Closes every socket. Resolves when the last one is closed. */
  stop(): Promise<void>;
}
