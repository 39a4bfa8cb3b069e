import {
  type AllocationRecord,
  MAX_ALLOCATIONS_PER_MESSAGE,
  MAX_EVENTS_PER_MESSAGE,
  type PresencePayload,
  type RelayEvent,
} from "@turnpike/link";
import { formatTransportAddress } from "@turnpike/stun";
import type { AllocationContext, LifecycleEvent, Totals } from "@turnpike/turn";
import type { Clock } from "../reactor/clock.ts";

/** What a {@link RelayReporter} needs. */
export interface RelayReporterOptions {
  /** The link: `PortalLink` fits. */
  readonly link: { send(event: string, payload: Readonly<Record<string, unknown>>): boolean };
  readonly clock: Clock;
  /** What the relay says of itself, each time anew. */
  readonly presence: () => Omit<PresencePayload, "allocations">;
  /** Between two reports of presence. Default 10,000. */
  readonly presenceMs?: number;
  /** How long an event waits for others to travel with. Default 200. */
  readonly batchMs?: number;
  /** Events that wait while the link is away; the oldest are dropped, and counted. Default 10,000. */
  readonly maxWaitingEvents?: number;
}

/**
 * Tells the portal what happens at a relay: its presence, which allocations live, and each lifecycle event. What the
 * portal missed while the link was away comes in the list of allocations that follows each `init`.
 */
export class RelayReporter {
  readonly #options: RelayReporterOptions;
  readonly #presenceMs: number;
  readonly #batchMs: number;
  readonly #maxWaiting: number;
  readonly #living = new Map<string, AllocationRecord>();
  #waiting: RelayEvent[] = [];
  #dropped = 0;
  #isUp = false;
  #cancelPresence: (() => void) | undefined;
  #cancelBatch: (() => void) | undefined;

  constructor(options: RelayReporterOptions) {
    this.#options = options;
    this.#presenceMs = options.presenceMs ?? 10_000;
    this.#batchMs = options.batchMs ?? 200;
    this.#maxWaiting = options.maxWaitingEvents ?? 10_000;
  }

  /** Allocations that live, as far as events told of them. */
  get allocations(): readonly AllocationRecord[] {
    return [...this.#living.values()];
  }

  /** To be called with each lifecycle event of the relay. */
  handleEvent(event: LifecycleEvent): void {
    const told = toRelayEvent(event);
    if (event.type === "allocationCreated" && told.record !== undefined) this.#living.set(told.record.id, told.record);
    if (event.type === "allocationDeleted") this.#living.delete(event.context.allocationId);
    if (this.#waiting.length >= this.#maxWaiting) {
      this.#waiting.shift();
      this.#dropped++;
    }
    this.#waiting.push(told);
    if (this.#isUp) this.#cancelBatch ??= this.#options.clock.schedule(this.#batchMs, () => this.#flush());
  }

  /** To be called when the link came up. */
  handleReady(): void {
    this.#isUp = true;
    this.reportPresence();
    const living = this.allocations;
    for (let start = 0; start === 0 || start < living.length; start += MAX_ALLOCATIONS_PER_MESSAGE) {
      const allocations = living.slice(start, start + MAX_ALLOCATIONS_PER_MESSAGE);
      this.#options.link.send("allocations", { allocations, first: start === 0 });
    }
    this.#flush();
  }

  /** To be called when the link is away. */
  handleAway(): void {
    this.#isUp = false;
    this.#cancelTimers();
  }

  /** Reports presence at once, and every `presenceMs` from here. */
  reportPresence(): void {
    this.#cancelPresence?.();
    if (!this.#isUp) return;
    const presence: PresencePayload = { ...this.#options.presence(), allocations: this.#living.size };
    this.#options.link.send("presence", { ...presence });
    this.#cancelPresence = this.#options.clock.schedule(this.#presenceMs, () => this.reportPresence());
  }

  /** Sends what waits, and says nothing more. */
  stop(): void {
    if (this.#isUp) this.#flush();
    this.handleAway();
  }

  #flush(): void {
    this.#cancelBatch?.();
    this.#cancelBatch = undefined;
    while (this.#waiting.length > 0) {
      const events = this.#waiting.slice(0, MAX_EVENTS_PER_MESSAGE);
      if (!this.#options.link.send("events", { events, ...(this.#dropped > 0 ? { dropped: this.#dropped } : {}) })) {
        // The link is slow: they wait, and what is too old is dropped above.
        this.#cancelBatch = this.#options.clock.schedule(this.#batchMs, () => this.#flush());
        return;
      }
      this.#dropped = 0;
      this.#waiting = this.#waiting.slice(events.length);
    }
  }

  #cancelTimers(): void {
    this.#cancelPresence?.();
    this.#cancelBatch?.();
    this.#cancelPresence = undefined;
    this.#cancelBatch = undefined;
  }
}

/** A lifecycle event in the words of the link. */
export function toRelayEvent(event: LifecycleEvent): RelayEvent {
  if (!("context" in event)) {
    return {
      type: event.type,
      at_unix_ms: event.atUnixMs,
      ...(event.actor === undefined ? {} : { actor: event.actor }),
      ...(event.username === undefined ? {} : { username: event.username }),
      ...("reason" in event ? { reason: event.reason } : {}),
      details: {
        client: formatTransportAddress(event.fiveTuple.client),
        transport: event.fiveTuple.transport,
        ...("method" in event ? { method: event.method } : {}),
        ...("scheme" in event ? { scheme: event.scheme } : {}),
        ...("code" in event ? { code: event.code } : {}),
      },
    };
  }
  const { context } = event;
  const base = {
    type: event.type,
    at_unix_ms: context.atUnixMs,
    actor: context.actor,
    username: context.username,
    allocation: context.allocationId,
  };
  switch (event.type) {
    case "allocationCreated":
      return { ...base, record: recordOf(context), details: { lifetimeSeconds: event.lifetimeSeconds } };
    case "allocationRefreshed":
      return { ...base, details: { lifetimeSeconds: event.lifetimeSeconds } };
    case "allocationDeleted":
      return { ...base, reason: event.reason, details: detailsOf(event.totals) };
    case "trafficReport":
      return { ...base, details: detailsOf(event.totals) };
    default:
      return {
        ...base,
        details: {
          peer: formatTransportAddress(event.peer),
          ...("channel" in event ? { channel: event.channel } : {}),
          ...("connectionId" in event ? { connectionId: event.connectionId } : {}),
        },
      };
  }
}

function recordOf(context: AllocationContext): AllocationRecord {
  return {
    id: context.allocationId,
    actor: context.actor,
    username: context.username,
    scheme: context.scheme,
    transport: context.fiveTuple.transport,
    client: formatTransportAddress(context.fiveTuple.client),
    relayed: context.relayed.map(formatTransportAddress),
    created_at_unix_ms: context.atUnixMs,
  };
}

function detailsOf(totals: Totals): Record<string, number> {
  const { packetsToPeers, bytesToPeers, packetsFromPeers, bytesFromPeers, peers, durationMs, drops } = totals;
  const dropped = drops.permission + drops.channel + drops.malformed + drops.rate;
  return { packetsToPeers, bytesToPeers, packetsFromPeers, bytesFromPeers, peers, durationMs, dropped };
}
