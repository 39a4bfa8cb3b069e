import type { TransportAddress } from "@turnpike/stun";
import type { ClientTransport, Rate } from "@turnpike/turn";

/** Who wants to allocate. */
export interface AdmissionContext {
  /** Who that is, whatever name it came by: what quotas and limits go by. */
  readonly actor: string;
  readonly username: string;
  /** Which authentication scheme proved it. */
  readonly scheme: string;
  readonly client: TransportAddress;
  readonly transport: ClientTransport;
}

/** What one user may. Each absent: what the settings say for all. */
export interface UserLimits {
  /** Allocations at once; `Infinity`: any number. */
  readonly allocations?: number;
  /** Caps the lifetime of an allocation. */
  readonly maxLifetimeSeconds?: number;
  /** Of each allocation. */
  readonly allocationRate?: Rate;
  /** Of all allocations of the user together. */
  readonly userRate?: Rate;
}

/**
 * Tells what a user may; undefined: what the settings say for all. Asked before the relay socket is opened, and again
 * about all who live when limits are configured anew.
 */
export type LimitsFor = (context: AdmissionContext) => UserLimits | undefined | Promise<UserLimits | undefined>;

/** @throws RangeError that names the limit. */
export function checkUserLimits(limits: UserLimits | undefined): UserLimits | undefined {
  if (limits === undefined) return undefined;
  const { allocations, maxLifetimeSeconds } = limits;
  if (allocations !== undefined && allocations !== Infinity && !(Number.isInteger(allocations) && allocations >= 0)) {
    throw new RangeError(`Cannot use ${allocations} for allocations: it must be a whole number from 0, or Infinity`);
  }
  if (maxLifetimeSeconds !== undefined && !(Number.isInteger(maxLifetimeSeconds) && maxLifetimeSeconds > 0)) {
    throw new RangeError(`Cannot use ${maxLifetimeSeconds} for maxLifetimeSeconds: it must be a whole number from 1`);
  }
  checkRate("allocationRate", limits.allocationRate);
  checkRate("userRate", limits.userRate);
  return limits;
}

/** @throws RangeError that names the rate. */
export function checkRate(name: string, rate: Rate | undefined): void {
  for (const unit of ["bytesPerSecond", "packetsPerSecond", "burstSeconds"] as const) {
    const value = rate?.[unit];
    if (value !== undefined && !(value > 0 && value < Infinity)) {
      throw new RangeError(`Cannot use ${value} for ${name}.${unit}: it must be a positive number`);
    }
  }
}
