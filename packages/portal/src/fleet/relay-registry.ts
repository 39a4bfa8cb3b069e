import type { OperationContext } from "@turnpike/authn";
import type { PortalMessage, PresencePayload, RelayEvent, RelayMessage } from "@turnpike/link";
import type { Credentials } from "../store/credentials.ts";
import type { FleetSecrets } from "../store/fleet-secrets.ts";
import type { OutboxEntry } from "../store/outbox.ts";
import type { PortalTelemetry } from "../telemetry/portal-telemetry.ts";
import type { Users } from "../store/users.ts";
import type { AllocationChanges, FleetEvent, FleetState, LinkedRelay } from "./fleet-state.ts";

/** What {@link RelayRegistry} needs. */
export interface RelayRegistryOptions {
  readonly fleet: FleetState;
  readonly credentials: Credentials;
  readonly users: Users;
  readonly portalId: string;
  /** Secrets of credentials that every relay accepts. */
  readonly fleetSecrets: FleetSecrets;
  /** How many allocations a user may have who isn't told otherwise. Default: no limit. */
  readonly defaultMaxAllocations?: number | undefined;
  readonly telemetry: PortalTelemetry;
  readonly unixMs: () => number;
}

/** A relay that has just joined. */
export interface JoiningRelay {
  readonly id: string;
  readonly name: string;
  readonly stampSecret: string;
  /** What its URL said, for a relay that says nothing else of itself. */
  readonly urls: readonly string[];
  send(message: PortalMessage): void;
  /** Another link of the same relay came. */
  close(): void;
}

interface Link {
  readonly joined: JoiningRelay;
  relay: LinkedRelay;
  /** The outbox's messages for a relay that isn't told all of before yet: it must not be told the older last. */
  waiting: PortalMessage[] | undefined;
}

/** A relay that joins while more than this comes to pass starts again. */
const MAX_WAITING = 10_000;

/** The relays that are linked to this portal: what they say goes to the fleet, what the fleet says goes to them. */
export class RelayRegistry {
  readonly #options: RelayRegistryOptions;
  readonly #links = new Map<string, Link>();

  constructor(options: RelayRegistryOptions) {
    this.#options = options;
  }

  /** Ids of relays that are linked here. */
  get ids(): readonly string[] {
    return [...this.#links.keys()];
  }

  /**
   * Takes a relay in, and tells it all that it must know before it serves. What is put into the outbox meanwhile
   * reaches it last.
   */
  join(ctx: OperationContext, joined: JoiningRelay): Promise<void> {
    return this.#options.telemetry.trace("relay.link", { "turnpike.relay.id": joined.id }, () =>
      this.#join(ctx, joined),
    );
  }

  async #join(ctx: OperationContext, joined: JoiningRelay): Promise<void> {
    this.#links.get(joined.id)?.joined.close();
    const { id, name, stampSecret, urls } = joined;
    const { portalId, unixMs } = this.#options;
    const relay: LinkedRelay = { id, name, portalId, stampSecret, urls, linkedAtUnixMs: unixMs() };
    const link: Link = { joined, relay, waiting: [] };
    this.#links.set(id, link);
    const { credentials, users, defaultMaxAllocations, fleetSecrets } = this.#options;
    for await (const revocations of credentials.revocations(ctx)) {
      joined.send({ event: "revoke", payload: { revocations } });
    }
    const ofOthers = defaultMaxAllocations === undefined ? {} : { default: defaultMaxAllocations };
    joined.send({ event: "quota", payload: { ...ofOthers, users: {} } });
    for await (const part of users.quotas(ctx))
      joined.send({ event: "quota", payload: { users: part, partial: true } });
    joined.send({ event: "fleet_secrets", payload: { secrets: await fleetSecrets.accepted(ctx) } });
    for (const message of link.waiting ?? []) joined.send(message);
    link.waiting = undefined;
    await this.#options.fleet.putRelay(relay);
    this.#publish([{ type: "relayLinked", atUnixMs: unixMs(), relayId: id }]);
  }

  /** A link ended. */
  async leave(joined: JoiningRelay): Promise<void> {
    if (this.#links.get(joined.id)?.joined !== joined) return;
    this.#links.delete(joined.id);
    await this.#options.fleet.removeRelay(joined.id, this.#options.portalId);
    this.#publish([{ type: "relayUnlinked", atUnixMs: this.#options.unixMs(), relayId: joined.id }]);
  }

  /** Takes what a relay says. */
  async receive(joined: JoiningRelay, message: RelayMessage): Promise<void> {
    const link = this.#links.get(joined.id);
    if (link?.joined !== joined) return;
    switch (message.event) {
      case "presence":
        await this.#update(link, message.payload);
        return;
      case "allocations": {
        const { allocations, first } = message.payload;
        await this.#options.fleet.changeAllocations(joined.id, { reset: first, added: allocations, removed: [] });
        return;
      }
      case "events": {
        const { events, dropped = 0 } = message.payload;
        const changes = changesOf(events);
        if (changes.added.length + changes.removed.length > 0) {
          await this.#options.fleet.changeAllocations(joined.id, changes);
        }
        const lost = { type: "eventsLost", atUnixMs: this.#options.unixMs(), details: { count: dropped } };
        this.#publish(
          [...(dropped > 0 ? [lost] : []), ...events.map(toFleetEvent)].map((event) => ({
            ...event,
            relayId: joined.id,
          })),
        );
      }
    }
  }

  /** Passes a message of the outbox on to whom it is for. */
  deliver({ relayId, message }: OutboxEntry): void {
    for (const { joined, waiting } of this.#links.values()) {
      if (relayId !== undefined && relayId !== joined.id) continue;
      if (waiting === undefined) joined.send(message);
      else if (waiting.length < MAX_WAITING) waiting.push(message);
      else joined.close();
    }
  }

  /** Says again who is linked here: the fleet forgets it otherwise. */
  async refresh(): Promise<void> {
    for (const { relay } of this.#links.values()) await this.#options.fleet.putRelay(relay);
  }

  async #update(link: Link, presence: PresencePayload): Promise<void> {
    link.relay = { ...link.relay, presence, urls: presence.urls };
    await this.#options.fleet.putRelay(link.relay);
  }

  #publish(events: readonly FleetEvent[]): void {
    if (events.length > 0) void this.#options.fleet.publish(events);
  }
}

function changesOf(events: readonly RelayEvent[]): AllocationChanges {
  const added = new Map<string, NonNullable<RelayEvent["record"]>>();
  const removed: string[] = [];
  for (const { type, record, allocation } of events) {
    if (type === "allocationCreated" && record !== undefined) added.set(record.id, record);
    if (type === "allocationDeleted" && allocation !== undefined && !added.delete(allocation)) removed.push(allocation);
  }
  return { reset: false, added: [...added.values()], removed };
}

function toFleetEvent({ at_unix_ms, record, ...event }: RelayEvent): FleetEvent {
  const { actor, username, allocation, reason, details } = event;
  return {
    type: event.type,
    atUnixMs: at_unix_ms,
    ...(actor === undefined ? {} : { actor }),
    ...(username === undefined ? {} : { username }),
    ...(allocation === undefined ? {} : { allocation }),
    ...(reason === undefined ? {} : { reason }),
    ...(details === undefined && record === undefined
      ? {}
      : { details: { ...details, ...(record && { client: record.client, relayed: record.relayed.join(" ") }) } }),
  };
}
