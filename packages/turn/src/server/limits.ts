import type { IpAddress } from "@turnpike/stun";
import type { ServerOptions } from "./contract.ts";
import type { Rate } from "./meter.ts";

/** What a user may relay: of one allocation, and of all allocations of the actor together. */
export interface AllocationLimits {
  readonly allocation?: Rate;
  readonly actor?: Rate;
  /** The caller's handle of what the actor's allocations share, for `ServerOptions.metersFor`. */
  readonly actorSlot?: number;
}

/** Limits by source. Called for each request: it allocates nothing. */
export interface SourceGate {
  /**
   * Whether a client is banned: its requests get silence, but for those of a five-tuple that has an allocation. Who
   * bans for cause ends what lives as well. Default: nobody is.
   */
  isShutOut?(client: IpAddress, monotonicMs: number): boolean;
  /** Whether a request may be looked at. False: it gets silence. */
  admitsRequest(client: IpAddress, monotonicMs: number): boolean;
  /** Whether a challenge (401, 438) may be sent. False: the client gets silence. */
  admitsChallenge(client: IpAddress, monotonicMs: number): boolean;
}

/** What of {@link ServerOptions} may change while the engine runs. */
export type EngineLimits = Pick<
  ServerOptions,
  | "maxLifetimeSeconds"
  | "maxPermissionsPerAllocation"
  | "maxChannelsPerAllocation"
  | "maxConnectionsPerAllocation"
  | "maxPendingAuthentications"
  | "maxPendingAuthenticationsPerPrefix"
  | "unauthenticatedBytesPerSecond"
>;

/** What an allocation may from here on, in place of what its admission answer said. */
export interface LimitChange {
  /** Of the `admit` question by which it came to be. */
  readonly questionId: number;
  readonly limits: AllocationLimits | undefined;
  /** Caps what refreshes are granted. Absent: no cap of its own. */
  readonly maxLifetimeSeconds?: number;
}
