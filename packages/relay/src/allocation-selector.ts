import { addressPrefix } from "@turnpike/authn/penalties";
import { normalizeUser } from "@turnpike/authn/turn";
import type { EndableAllocation } from "@turnpike/turn";

/**
 * Which allocations are meant: plain data, for it crosses threads. An actor is meant in any spelling of its name, a
 * `prefix` of client addresses as {@link addressPrefix} writes it.
 */
export interface AllocationSelector {
  readonly by: "id" | "username" | "actor" | "credentialId" | "label" | "prefix";
  readonly value: string;
}

/** Whether an allocation is meant. */
export function selects({ by, value }: AllocationSelector): (allocation: EndableAllocation) => boolean {
  if (by === "prefix") return ({ client }) => addressPrefix(client) === value;
  if (by !== "actor") return (allocation) => allocation[by] === value;
  const wanted = normalizeUser(value);
  return ({ actor }) => normalizeUser(actor) === wanted;
}
