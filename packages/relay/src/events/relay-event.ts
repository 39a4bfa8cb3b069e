import type { BanSubject } from "@turnpike/authn/penalties";
import type { LifecycleEvent } from "@turnpike/turn";

/** Somebody was shut out, or let in again before the time. */
export type BanEvent =
  | {
      readonly type: "banStarted";
      readonly subject: BanSubject;
      readonly reason: string;
      readonly untilUnixMs: number;
      /** Wall-clock milliseconds since 1970. */
      readonly atUnixMs: number;
    }
  | { readonly type: "banLifted"; readonly subject: BanSubject; readonly atUnixMs: number };

/** Everything that a relay tells of: what happens to its users, and whom it shuts out. */
export type RelayEvent = LifecycleEvent | BanEvent;

/** The type of an event. */
export type RelayEventType = RelayEvent["type"];

/** Every type of event, and its place in masks. */
const PLACES: Readonly<Record<RelayEventType, number>> = {
  authSucceeded: 0,
  authFailed: 1,
  allocationCreated: 2,
  allocationRefreshed: 3,
  allocationDeleted: 4,
  allocationRefused: 5,
  trafficReport: 6,
  connectionOpened: 7,
  connectionBound: 8,
  connectionClosed: 9,
  permissionCreated: 10,
  permissionRefreshed: 11,
  permissionDeleted: 12,
  channelCreated: 13,
  channelRefreshed: 14,
  channelDeleted: 15,
  banStarted: 16,
  banLifted: 17,
};

/** Those that tell of an allocation. */
const OF_ALLOCATIONS: readonly RelayEventType[] = [
  "allocationCreated",
  "allocationRefreshed",
  "allocationDeleted",
  "trafficReport",
  "connectionOpened",
  "connectionBound",
  "connectionClosed",
  "permissionCreated",
  "permissionRefreshed",
  "permissionDeleted",
  "channelCreated",
  "channelRefreshed",
  "channelDeleted",
];

/** All types of events. */
export const RELAY_EVENT_TYPES: readonly RelayEventType[] = Object.keys(PLACES).filter(isRelayEventType);

/** Whether a text is the type of an event. */
export function isRelayEventType(text: string): text is RelayEventType {
  return Object.hasOwn(PLACES, text);
}

/** Whose event it is: the actor, as quotas and limits know it. Undefined if nobody is known. */
export function actorOf(event: RelayEvent): string | undefined {
  if ("context" in event) return event.context.actor;
  if ("subject" in event) return event.subject.kind === "user" ? event.subject.user : undefined;
  return event.actor;
}

const ALLOCATIONS_MASK = OF_ALLOCATIONS.reduce((mask, type) => mask | (1 << PLACES[type]), 0);

/** The types of events that somebody listens to, in memory that the threads of a relay share. */
export class EventInterest {
  /** For another thread's `EventInterest`. */
  readonly memory: SharedArrayBuffer;
  readonly #mask: Int32Array;
  readonly #listeners = new Map<RelayEventType, number>();

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#mask = new Int32Array(memory);
  }

  /** Whether events of a type are to be built. */
  wants(type: RelayEventType): boolean {
    return (Atomics.load(this.#mask, 0) & (1 << PLACES[type])) !== 0;
  }

  /** Whether events of any type are to be built that tell of an allocation. */
  get followsAllocations(): boolean {
    return (Atomics.load(this.#mask, 0) & ALLOCATIONS_MASK) !== 0;
  }

  /** Somebody listens, until the returned function is called. Only on the thread that owns the memory. */
  listen(types: readonly RelayEventType[]): () => void {
    const distinct = new Set(types);
    for (const type of distinct) this.#count(type, 1);
    return () => {
      for (const type of distinct) this.#count(type, -1);
      distinct.clear();
    };
  }

  #count(type: RelayEventType, change: 1 | -1): void {
    const listeners = (this.#listeners.get(type) ?? 0) + change;
    this.#listeners.set(type, listeners);
    if (listeners > 0) Atomics.or(this.#mask, 0, 1 << PLACES[type]);
    else Atomics.and(this.#mask, 0, ~(1 << PLACES[type]));
  }
}
