import { addressPrefix } from "@turnpike/authn/penalties";
import type { EndableAllocation } from "@turnpike/turn";

/**
 * Which allocations are meant: plain data, for it crosses threads. An actor is written as events have it, a `prefix` of
 * client addresses as {@link addressPrefix} writes it.
 */
export interface AllocationSelector {
  readonly by: "id" | "username" | "actor" | "credentialId" | "label" | "prefix";
  readonly value: string;
}

/** Whether an allocation is meant. */
export function selects({ by, value }: AllocationSelector): (allocation: EndableAllocation) => boolean {
  return (allocation) => (by === "prefix" ? addressPrefix(allocation.client) : allocation[by]) === value;
}
