import { type AllocationLimits, type Meter, TokenBucketMeter } from "@turnpike/turn";
import type { ActorRates } from "./actor-rates.ts";

/** The meters of a new allocation, as the engine asks for them: its own, then those that it shares with others. */
export function createMeters(
  rates: ActorRates | undefined,
): (allocation: {
  readonly actor: string;
  readonly limits: AllocationLimits | undefined;
}) => readonly Meter[] | undefined {
  return ({ limits }) => {
    if (limits === undefined) return undefined;
    const meters: Meter[] = [];
    if (limits.allocation !== undefined) meters.push(new TokenBucketMeter(limits.allocation));
    if (limits.actorSlot !== undefined && rates !== undefined) meters.push(rates.meter(limits.actorSlot));
    return meters.length === 0 ? undefined : meters;
  };
}
