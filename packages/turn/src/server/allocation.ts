import type { IpAddress, TransportAddress } from "@turnpike/stun";
import type { ClientTransport, RelaySocket } from "./contract.ts";
import type { Meter } from "./meter.ts";
import type { PeerConnection } from "./peer-connection.ts";

/** A client's address as a value, with the transport and the handles that answers need. */
export interface ClientAddress {
  readonly listener: number;
  readonly connection: number;
  readonly transport: ClientTransport;
  readonly remote: TransportAddress;
}

/** Who made an allocation, and the key that proves it again. */
export interface Credential {
  readonly username: string;
  readonly actor: string;
  readonly scheme: string;
  readonly key: Uint8Array;
  readonly passwordAlgorithm: "md5" | "sha256";
  readonly expiresAtUnixMs: number | undefined;
  readonly credentialId: string | undefined;
  /** Links credentials that are revoked together. */
  readonly label: string | undefined;
  /** True if no allocation may outlive the credential, whatever the configuration says. */
  readonly boundsLifetime: boolean;
}

/**
 * RFC 8656 §5: all requests of an allocation use the credentials that made it. Names alone don't tell: that of an
 * access token is its key's, or of its sender's choosing.
 */
export function isSameUser(a: Credential, b: Credential): boolean {
  return a.username === b.username && a.actor === b.actor;
}

/**
 * RFC 7635 §9: a new token refreshes what an old one made. USERNAME is the id of the key that it was sealed with, and the
 * authorization server may have another key by then.
 */
export function isNewTokenOf(old: Credential, token: Credential): boolean {
  return old.boundsLifetime && token.boundsLifetime && old.scheme === token.scheme && old.actor === token.actor;
}

/** A permission: all ports of one peer address (RFC 8656 §9). */
export class Permission {
  readonly kind = "permission";
  readonly allocation: Allocation;
  readonly peer: IpAddress;
  /** True for an address of the relay itself: only live relayed transport addresses may be reached there. */
  onlyLiveRelayed: boolean;
  /** -1 once it has ended. */
  slot = -1;
  expiresAtMs = 0;
  /** The channels to its peer, if there ever were any: its end needn't look for them. */
  channels: Set<Channel> | undefined = undefined;

  constructor(allocation: Allocation, peer: IpAddress, onlyLiveRelayed: boolean) {
    this.allocation = allocation;
    this.peer = peer;
    this.onlyLiveRelayed = onlyLiveRelayed;
  }
}

/** A channel binding (RFC 8656 §12). */
export class Channel {
  readonly kind = "channel";
  readonly allocation: Allocation;
  readonly number: number;
  readonly peer: TransportAddress;
  /** Where packets for the peer are sent: another address only behind a 1:1 NAT (see `Hairpin`). */
  readonly destination: TransportAddress;
  readonly relay: RelaySocket;
  permission: Permission;
  slot = -1;
  /** When the binding ends; once it has ended, when number and peer may be bound to others. */
  expiresAtMs = 0;
  bound = true;

  constructor(options: {
    readonly number: number;
    readonly peer: TransportAddress;
    readonly destination: TransportAddress;
    readonly relay: RelaySocket;
    readonly permission: Permission;
  }) {
    this.allocation = options.permission.allocation;
    this.number = options.number;
    this.peer = options.peer;
    this.destination = options.destination;
    this.relay = options.relay;
    this.permission = options.permission;
    this.bindTo(options.permission);
  }

  /** Goes with this permission from here on. */
  bindTo(permission: Permission): void {
    this.permission.channels?.delete(this);
    this.permission = permission;
    permission.channels ??= new Set();
    permission.channels.add(this);
  }
}

/** One relay socket of an allocation, with its own time-to-expiry (RFC 8656 §8.1). */
export interface RelayLeg extends RelaySocket {
  expiresAtMs: number;
}

/** An allocation: a five-tuple, its relay sockets, permissions and channels (RFC 8656 §3.2). */
export class Allocation {
  readonly kind = "allocation";
  /** Unique in this engine's life. */
  readonly id: number;
  /** What relay sockets speak: `tcp` for RFC 6062. */
  readonly transport: "udp" | "tcp";
  /** Where data from peers is sent. Changes only by mobility. */
  client: ClientAddress;
  /** Where the client is moving to (RFC 8016 §3.2.2): it becomes `client` with the first data from there. */
  next: ClientAddress | undefined = undefined;
  /** Set if the client asked for mobility. */
  mobile: { sequence: number; previousUntilMs: number } | undefined = undefined;
  /** Changes only by a new access token (RFC 7635 §9). */
  credential: Credential;
  /** The transaction that made it, to know its retransmissions (RFC 8656 §7.2). */
  readonly transactionId: Uint8Array;
  readonly createdAtMs: number;
  /** Given back when the allocation goes. */
  readonly admissionQuestionId: number | undefined;
  /** One, or two of different families. */
  relays: readonly RelayLeg[];
  /** The NONCE of `client` that was found to be this relay's last: it needn't be computed again for each request. */
  nonce: Uint8Array | undefined = undefined;
  /** What the success answer said beside the addresses: kept for retransmissions. */
  readonly reservationToken: Uint8Array | undefined;
  readonly addressError: { readonly family: 4 | 6; readonly code: number } | undefined;
  maxLifetimeSeconds: number;
  readonly permissions: Set<Permission> = new Set();
  readonly channels: Set<Channel> = new Set();
  /** The channel that was looked up last, either way: most allocations use one, and it is found without a table. */
  recent: Channel | undefined = undefined;
  readonly connections: Set<PeerConnection> = new Set();
  slot = -1;
  /** How many peer addresses were ever permitted. */
  peersSeen = 0;

  packetsToPeers = 0;
  bytesToPeers = 0;
  packetsFromPeers = 0;
  bytesFromPeers = 0;
  /** Packets that were not relayed, by cause. */
  readonly drops: { permission: number; channel: number; malformed: number; rate: number } = {
    permission: 0,
    channel: 0,
    malformed: 0,
    rate: 0,
  };
  /** Limits that each packet must pass, in this order. Undefined: none. */
  meters: readonly Meter[] | undefined = undefined;

  constructor(options: {
    readonly id: number;
    readonly transport: "udp" | "tcp";
    readonly client: ClientAddress;
    readonly credential: Credential;
    readonly transactionId: Uint8Array;
    readonly createdAtMs: number;
    readonly admissionQuestionId: number | undefined;
    readonly relays: readonly RelayLeg[];
    readonly reservationToken: Uint8Array | undefined;
    readonly addressError: { readonly family: 4 | 6; readonly code: number } | undefined;
    readonly maxLifetimeSeconds: number;
  }) {
    this.id = options.id;
    this.transport = options.transport;
    this.client = options.client;
    this.credential = options.credential;
    this.transactionId = options.transactionId;
    this.createdAtMs = options.createdAtMs;
    this.admissionQuestionId = options.admissionQuestionId;
    this.relays = options.relays;
    this.reservationToken = options.reservationToken;
    this.addressError = options.addressError;
    this.maxLifetimeSeconds = options.maxLifetimeSeconds;
  }

  /** When the first relay socket expires. */
  get expiresAtMs(): number {
    let first = Infinity;
    for (const { expiresAtMs } of this.relays) if (expiresAtMs < first) first = expiresAtMs;
    return first;
  }

  /** The relay socket of a family, or undefined. */
  relayOf(family: 4 | 6): RelayLeg | undefined {
    return this.relays.find((relay) => relay.local.family === family);
  }
}
