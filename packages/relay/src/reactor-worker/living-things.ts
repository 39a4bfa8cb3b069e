import { formatIpAddress } from "@turnpike/stun";
import type { AllocationContext, AllocationDescription, LifecycleEvent, Totals } from "@turnpike/turn";

type Thing = Extract<LifecycleEvent, { readonly peer: unknown }>;

/**
 * What lives in a reactor while anybody listens to its events, for the case that it dies without a word. Thousands of
 * allocations live for hours and are hardly ever looked at: they are kept as text, at a third of the memory.
 */
export class LivingThings {
  readonly #allocations = new Map<string, string>();
  /** As last reported. */
  readonly #totals = new Map<string, Totals>();
  readonly #things = new Map<string, Map<string, Thing>>();

  /**
   * Allocations that live as somebody begins to listen. What was told of others is forgotten; of these, the things of the
   * turn in which the reactor saw that somebody listens were told already.
   */
  replace(allocations: readonly AllocationDescription[]): void {
    const things = new Map(this.#things);
    this.#clear();
    for (const { context, totals } of allocations) {
      const known = things.get(context.allocationId);
      if (known !== undefined) this.#things.set(context.allocationId, known);
      this.#allocations.set(context.allocationId, JSON.stringify(context));
      this.#totals.set(context.allocationId, totals);
    }
  }

  take(event: LifecycleEvent): void {
    if (!("context" in event)) return;
    const { context } = event;
    const { allocationId } = context;
    switch (event.type) {
      case "allocationCreated":
        this.#allocations.set(allocationId, JSON.stringify(context));
        return;
      case "allocationDeleted":
        this.#allocations.delete(allocationId);
        this.#totals.delete(allocationId);
        this.#things.delete(allocationId);
        return;
      case "allocationRefreshed":
        return;
      case "trafficReport":
        if (this.#allocations.has(allocationId)) this.#totals.set(allocationId, event.totals);
        return;
      default:
        this.#takeThing(allocationId, event);
    }
  }

  /** The events of the end of everything, each thing before the allocation that it belongs to. Forgets it all. */
  end(atUnixMs: number): readonly LifecycleEvent[] {
    const events: LifecycleEvent[] = [];
    for (const [allocationId, text] of this.#allocations) {
      const known: AllocationContext = JSON.parse(text);
      const context = { ...known, atUnixMs };
      for (const thing of this.#things.get(allocationId)?.values() ?? []) events.push(endOf(thing, context));
      events.push({
        type: "allocationDeleted",
        context,
        reason: "reactorFailed",
        // What was counted since the last report died with the reactor.
        totals: { ...(this.#totals.get(allocationId) ?? NOTHING), durationMs: atUnixMs - known.atUnixMs },
      });
    }
    this.#clear();
    return events;
  }

  #clear(): void {
    this.#allocations.clear();
    this.#totals.clear();
    this.#things.clear();
  }

  #takeThing(allocationId: string, event: Thing): void {
    const things = this.#things.get(allocationId) ?? new Map<string, Thing>();
    this.#things.set(allocationId, things);
    if (event.type.endsWith("Deleted") || event.type.endsWith("Closed")) things.delete(nameOf(event));
    else if (event.type.endsWith("Created") || event.type.endsWith("Opened")) things.set(nameOf(event), event);
  }
}

const NOTHING: Totals = {
  packetsToPeers: 0,
  bytesToPeers: 0,
  packetsFromPeers: 0,
  bytesFromPeers: 0,
  drops: { permission: 0, channel: 0, malformed: 0, rate: 0 },
  peers: 0,
  durationMs: 0,
};

function nameOf(thing: Thing): string {
  if ("channel" in thing) return `channel ${thing.channel}`;
  if ("connectionId" in thing) return `connection ${thing.connectionId}`;
  return `permission ${formatIpAddress(thing.peer)}`;
}

function endOf(thing: Thing, context: AllocationContext): LifecycleEvent {
  if ("channel" in thing) return { ...thing, type: "channelDeleted", context };
  if ("connectionId" in thing) return { ...thing, type: "connectionClosed", context };
  return { ...thing, type: "permissionDeleted", context };
}
