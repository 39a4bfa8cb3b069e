import type { EndableAllocation } from "@turnpike/turn";

/** Which allocations are meant: plain data, for it crosses threads. An actor is written as events have it. */
export interface AllocationSelector {
  readonly by: "id" | "username" | "actor" | "credentialId" | "label";
  readonly value: string;
}

/** Whether an allocation is meant. */
export function selects({ by, value }: AllocationSelector): (allocation: EndableAllocation) => boolean {
  return (allocation) => allocation[by] === value;
}
