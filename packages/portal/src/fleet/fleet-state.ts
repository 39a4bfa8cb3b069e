import type { AllocationRecord, PresencePayload } from "@turnpike/link";

/** A relay that is linked to some portal of the fleet. */
export interface LinkedRelay {
  readonly id: string;
  readonly name: string;
  /** Which portal it is linked to. */
  readonly portalId: string;
  /** What it verifies stamps with. Never shown. */
  readonly stampSecret: string;
  /** What clients are given. */
  readonly urls: readonly string[];
  /** What it said of itself last; a relay that isn't Turnpike's says nothing. */
  readonly presence?: PresencePayload;
  readonly linkedAtUnixMs: number;
}

/** A living allocation, and where. */
export interface FleetAllocation extends AllocationRecord {
  readonly relayId: string;
}

/** Something that happened in the fleet. */
export interface FleetEvent {
  readonly type: string;
  readonly atUnixMs: number;
  /** Absent: it happened at a portal. */
  readonly relayId?: string | undefined;
  readonly actor?: string | undefined;
  readonly username?: string | undefined;
  readonly allocation?: string | undefined;
  readonly reason?: string | undefined;
  readonly details?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** What changed in a relay's list of allocations. */
export interface AllocationChanges {
  /** True: what was known before is forgotten. */
  readonly reset: boolean;
  readonly added: readonly AllocationRecord[];
  readonly removed: readonly string[];
}

/**
 * What the portals of a fleet know together, beside the database: quick to change, and nothing is lost for good with it.
 * Reads answer from what this portal knows if the rest of the fleet can't be asked. Nothing of it rejects.
 */
export interface FleetState {
  /** Says that a relay is linked here; again and again, since it is forgotten after a while. */
  putRelay(relay: LinkedRelay): Promise<void>;
  /** Says that a relay isn't linked to that portal any more. */
  removeRelay(id: string, portalId: string): Promise<void>;
  relays(): Promise<readonly LinkedRelay[]>;
  changeAllocations(relayId: string, changes: AllocationChanges): Promise<void>;
  /** At most 10,000. */
  allocations(): Promise<readonly FleetAllocation[]>;
  publish(events: readonly FleetEvent[]): Promise<void>;
  /** Events of the whole fleet; the returned function ends it. */
  onEvents(listener: (events: readonly FleetEvent[]) => void): () => void;
  /** Tells the other portals that there are messages for relays. */
  poke(): Promise<void>;
  onPoke(listener: () => void): () => void;
  /** Whether the whole fleet can be asked. */
  readonly isWhole: boolean;
  close(): Promise<void>;
}

/** Allocations that one answer has, at most. */
export const MAX_LISTED_ALLOCATIONS = 10_000;

/** The state of a fleet with one portal. */
export class MemoryFleetState implements FleetState {
  readonly isWhole = true;
  readonly #relays = new Map<string, LinkedRelay>();
  readonly #allocations = new Map<string, Map<string, AllocationRecord>>();
  readonly #listeners = new Set<(events: readonly FleetEvent[]) => void>();
  readonly #pokes = new Set<() => void>();

  async putRelay(relay: LinkedRelay): Promise<void> {
    this.#relays.set(relay.id, relay);
  }

  async removeRelay(id: string, portalId: string): Promise<void> {
    if (this.#relays.get(id)?.portalId !== portalId) return;
    this.#relays.delete(id);
    this.#allocations.delete(id);
  }

  async relays(): Promise<readonly LinkedRelay[]> {
    return [...this.#relays.values()];
  }

  async changeAllocations(relayId: string, { reset, added, removed }: AllocationChanges): Promise<void> {
    const known = (reset ? undefined : this.#allocations.get(relayId)) ?? new Map<string, AllocationRecord>();
    for (const record of added) known.set(record.id, record);
    for (const id of removed) known.delete(id);
    this.#allocations.set(relayId, known);
  }

  async allocations(): Promise<readonly FleetAllocation[]> {
    const all: FleetAllocation[] = [];
    for (const [relayId, records] of this.#allocations) {
      for (const record of records.values()) {
        if (all.length >= MAX_LISTED_ALLOCATIONS) return all;
        all.push({ ...record, relayId });
      }
    }
    return all;
  }

  async publish(events: readonly FleetEvent[]): Promise<void> {
    for (const listener of this.#listeners) listener(events);
  }

  onEvents(listener: (events: readonly FleetEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async poke(): Promise<void> {
    for (const listener of this.#pokes) listener();
  }

  onPoke(listener: () => void): () => void {
    this.#pokes.add(listener);
    return () => void this.#pokes.delete(listener);
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    this.#pokes.clear();
  }
}
