import type { TransportAddress } from "@turnpike/stun";
import type { ClientTransport } from "./contract.ts";

/** Client address, server address and transport (RFC 8656 §2). */
export interface FiveTuple {
  readonly transport: ClientTransport;
  readonly client: TransportAddress;
  readonly server: TransportAddress;
}

/** What every event of an allocation says of it. */
export interface AllocationContext {
  /** Unique in the life of the relay. */
  readonly allocationId: string;
  readonly username: string;
  readonly realm: string;
  readonly actor: string;
  readonly scheme: string;
  readonly fiveTuple: FiveTuple;
  readonly relayed: readonly TransportAddress[];
  /** Wall-clock milliseconds since 1970. */
  readonly atUnixMs: number;
}

/** Why an allocation ended. */
export type DeletionReason =
  | "expired"
  | "refreshedToZero"
  | "clientClosed"
  | "administrator"
  | "quota"
  | "credentialRevoked"
  | "credentialExpired"
  | "relaySocketError"
  /** What served it broke down: told by its surroundings, since the engine is gone. */
  | "reactorFailed"
  | "shutdown";

/** Traffic of an allocation since it was made. Bytes are payload bytes as peers see them. */
export interface Totals {
  readonly packetsToPeers: number;
  readonly bytesToPeers: number;
  readonly packetsFromPeers: number;
  readonly bytesFromPeers: number;
  /** Packets that were not relayed, by cause: no permission, no channel, not to be understood, over a limit. */
  readonly drops: {
    readonly permission: number;
    readonly channel: number;
    readonly malformed: number;
    readonly rate: number;
  };
  /** Peer addresses that were permitted. */
  readonly peers: number;
  readonly durationMs: number;
}

/** Everything that happens to a user, as values. */
export type LifecycleEvent =
  | {
      readonly type: "authSucceeded";
      readonly method: string;
      readonly username: string;
      readonly actor: string;
      readonly scheme: string;
      readonly fiveTuple: FiveTuple;
      readonly atUnixMs: number;
    }
  | {
      readonly type: "authFailed";
      readonly method: string;
      readonly reason: "unknownActor" | "badCredentials" | "expired" | "badFormat" | "unavailable" | "staleNonce";
      /** As the client sent it; absent if it was not a valid name. */
      readonly username?: string;
      readonly actor?: string;
      readonly fiveTuple: FiveTuple;
      readonly atUnixMs: number;
    }
  | {
      readonly type: "allocationCreated";
      readonly context: AllocationContext;
      readonly lifetimeSeconds: number;
      readonly requestedPort: "any" | "even" | "evenPair" | "reserved";
      readonly families: readonly (4 | 6)[];
    }
  | { readonly type: "allocationRefreshed"; readonly context: AllocationContext; readonly lifetimeSeconds: number }
  | {
      readonly type: "allocationDeleted";
      readonly context: AllocationContext;
      readonly reason: DeletionReason;
      readonly totals: Totals;
    }
  | {
      readonly type: "allocationRefused";
      readonly code: number;
      readonly reason: string;
      readonly username: string;
      readonly actor: string;
      readonly fiveTuple: FiveTuple;
      readonly atUnixMs: number;
    }
  /** Traffic of a living allocation, every `trafficReportSeconds`. */
  | { readonly type: "trafficReport"; readonly context: AllocationContext; readonly totals: Totals }
  | {
      readonly type: "connectionOpened" | "connectionBound" | "connectionClosed";
      readonly context: AllocationContext;
      /** CONNECTION-ID (RFC 6062 §6.2.1). */
      readonly connectionId: number;
      readonly peer: TransportAddress;
    }
  | {
      readonly type: "permissionCreated" | "permissionRefreshed" | "permissionDeleted";
      readonly context: AllocationContext;
      /** The peer's address; a permission covers all ports of it (RFC 8656 §9), so `port` is 0. */
      readonly peer: TransportAddress;
    }
  | {
      readonly type: "channelCreated" | "channelRefreshed" | "channelDeleted";
      readonly context: AllocationContext;
      readonly channel: number;
      readonly peer: TransportAddress;
      readonly relayed: TransportAddress;
    };
