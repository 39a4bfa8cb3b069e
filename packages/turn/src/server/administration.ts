import type { TransportAddress } from "@turnpike/stun";
import type { AllocateHandler } from "./allocate.ts";
import type { Now } from "./contract.ts";
import { allocationId, type Core } from "./core.ts";
import type { AllocationContext, DeletionReason, Totals } from "./events.ts";
import { deleteAllocation, totalsOf } from "./teardown.ts";

/** What `TurnServer.endAllocations` may choose by. */
export interface EndableAllocation {
  /** As in events. */
  readonly id: string;
  readonly username: string;
  readonly actor: string;
  readonly credentialId: string | undefined;
  readonly label: string | undefined;
  readonly client: TransportAddress;
}

/** A living allocation. */
export interface AllocationDescription {
  readonly context: AllocationContext;
  readonly totals: Totals;
  readonly expiresInSeconds: number;
  readonly permissions: number;
  readonly channels: number;
  readonly connections: number;
}

/** Ends the allocations that `matches`, those that are being made among them; the number of those that lived. */
export function endAllocations(
  core: Core,
  underWay: AllocateHandler,
  matches: (allocation: EndableAllocation) => boolean,
  reason: DeletionReason,
  now: Now,
): number {
  let ended = 0;
  underWay.cancelThose(({ username, actor, credentialId, label }, client) =>
    matches({ id: "", username, actor, credentialId, label, client }),
  );
  for (const allocation of core.registry.allocations()) {
    const { username, actor, credentialId, label } = allocation.credential;
    const id = allocationId(core, allocation);
    if (!matches({ id, username, actor, credentialId, label, client: allocation.client.remote })) continue;
    deleteAllocation(core, allocation, reason, now);
    ended++;
  }
  return ended;
}

/** What lives, with its traffic until now. */
export function* describeAllocations(core: Core, now: Now): IterableIterator<AllocationDescription> {
  for (const allocation of core.registry.allocations()) {
    yield {
      context: core.context(allocation, now),
      totals: totalsOf(allocation, now),
      expiresInSeconds: Math.max(0, (allocation.expiresAtMs - now.monotonicMs) / 1000),
      permissions: allocation.permissions.size,
      channels: allocation.channels.size,
      connections: allocation.connections.size,
    };
  }
}
