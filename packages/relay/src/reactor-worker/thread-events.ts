import type { EventInterest, RelayEventType } from "../events/relay-event.ts";

/** Whoever listens to what an allocation does is told of its end by the main thread, should this thread die. */
const OF_LIVES: ReadonlySet<RelayEventType> = new Set(["allocationCreated", "allocationDeleted"]);

/** Tells which events a reactor builds for the main thread. */
export function wantedEvents(
  interest: Pick<EventInterest, "wants" | "followsAllocations">,
  { channels }: { /** Whether channels are relayed in the kernel. */ readonly channels: boolean },
): (type: RelayEventType) => boolean {
  return (type) =>
    interest.wants(type) ||
    (interest.followsAllocations && OF_LIVES.has(type)) ||
    // What the kernel has relayed is added up for each allocation until its end is told.
    (channels && type === "allocationDeleted");
}
