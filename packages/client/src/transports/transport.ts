import type { Connector } from "@turnpike/hints";
import type { TransportAddress } from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";

/** A way to one server, open. */
export interface Transport {
  readonly kind: ClientTransport;
  /** Nothing is lost or reordered on it. */
  readonly reliable: boolean;
  readonly remote: TransportAddress;
  /** Version of TLS or DTLS, cipher and application protocol, where there are any. */
  readonly security: TransportSecurity | undefined;
  /** True: it broke or was closed, and `send` does nothing. */
  readonly isClosed: boolean;
  /** True: `send` would pile up bytes that the network doesn't take. */
  readonly isCongested: boolean;
  /** Bytes of the longest message that can be sent; what is longer is lost. */
  readonly longestMessage: number;
  /** Sends one STUN message or ChannelData message. */
  send(bytes: Uint8Array): void;
  /** Takes over: packets go to `receiver` from here on. */
  start(receiver: TransportReceiver): void;
  close(): void;
}

/** What a transport tells. Buffers are used again after the call. */
export interface TransportReceiver {
  onPacket(buffer: Uint8Array, offset: number, length: number): void;
  /** A packet was refused on its way (ICMP), as of a server that isn't there. The transport is still open. */
  onRefused(error: Error): void;
  /** It is broken, or the server closed it. Said once, also if that was before `start`; not after `close`. */
  onClosed(error: Error | undefined): void;
}

export interface TransportSecurity {
  readonly protocol: string;
  readonly cipher: string;
  /** What ALPN agreed on, such as `stun.turn`. */
  readonly applicationProtocol: string | undefined;
}

/** How a server proves who it is, over TLS, DTLS and `wss`. */
export interface TlsClientOptions {
  /** PEM certificates to trust in place of the system's. */
  readonly ca?: string | readonly string[];
  /**
   * SHA-256 of the server's public key (SubjectPublicKeyInfo, DER) in Base64, each perhaps behind `sha256/`. If there
   * are any, one of them must be the server's; certificate authorities and names then don't matter.
   */
  readonly pins?: readonly string[];
  /** What to ask for by SNI (RFC 6066 §3) over TCP. Default: the server's name. */
  readonly serverName?: string;
  /** The lowest version over TCP; DTLS is always 1.2. Default TLSv1.2. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
  /**
   * What to offer by ALPN over TLS and DTLS, best first; empty: nothing. Default `stun.turn`, for `stuns:` URIs
   * `stun.nat-discovery` before it (RFC 7443).
   */
  readonly applicationProtocols?: readonly string[];
}

/** How to open a transport. */
export interface OpenTransportOptions {
  readonly tls?: TlsClientOptions;
  /** Bytes that may wait in a socket before datagrams are dropped. Default 1 MiB. */
  readonly sendQueueBytes?: number;
  /** The local address to send from. Default: the system's choice. */
  readonly localAddress?: string;
  /** How long the handshakes of TCP, TLS, WebSocket and DTLS may take together. Default 10,000; 120,000 with a connector. */
  readonly connectTimeoutMs?: number;
  /**
   * Carries every stream to the server, by its own rules (Tor, a policy for addresses), and resolves the names: nothing
   * goes around it. Only for TCP, TLS and WebSocket; `localAddress` doesn't go with it. Default: the system's sockets.
   */
  readonly connector?: Connector;
  readonly signal?: AbortSignal;
}

export const DEFAULT_SEND_QUEUE_BYTES = 1_048_576;
/** RFC 7443 §2. */
export const TURN_APPLICATION_PROTOCOLS: readonly string[] = ["stun.turn"];
/** Of `stuns:` URIs, which may lead to TURN servers that know the other name only. */
export const NAT_DISCOVERY_PROTOCOLS: readonly string[] = ["stun.nat-discovery", "stun.turn"];
export const CONNECT_TIMEOUT_MS = 10_000;
