import { attribute, getAttribute, mobilityTicket, type EncodedAttribute, type StunMessage } from "@turnpike/stun";
import { type Allocation, type ClientAddress, type Credential, isSameUser } from "./allocation.ts";
import type { Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import { MobilityTickets, type Ticket } from "./mobility-tickets.ts";
import { refreshAllocation } from "./refresh.ts";
import { fiveTupleName } from "./registry.ts";
import { failure, type Answering } from "./reply.ts";

/** RFC 8016 §3.2.2: how long the old ticket is known, so that a lost answer can be asked for again. */
const OLD_TICKET_LIFETIME_MS = 30_000;

/** Allocations that follow their clients to new addresses (RFC 8016). */
export class Mobility {
  readonly #core: Core;
  readonly #tickets: MobilityTickets;
  readonly #byId = new Map<number, Allocation>();

  constructor(core: Core) {
    this.#core = core;
    this.#tickets = new MobilityTickets({ key: core.options.nonceKey, crypto: core.crypto });
    core.beforeDelete.push((allocation) => this.#byId.delete(allocation.id));
  }

  /** What an Allocate request's MOBILITY-TICKET leads to: undefined if it has none or it is welcome. */
  refusal(message: StunMessage): Answering | undefined {
    const ticket = getAttribute(message, mobilityTicket);
    if (ticket === undefined) return undefined;
    if (this.#core.options.mobility !== true) return failure(405, "Mobility Forbidden");
    if (!ticket.ok || ticket.value.length !== 0) {
      return failure(400, "Bad Request: a first MOBILITY-TICKET must be empty");
    }
    return undefined;
  }

  /** Marks a new allocation as mobile, if its client asked for that. */
  begin(allocation: Allocation, message: StunMessage): void {
    if (getAttribute(message, mobilityTicket) === undefined) return;
    allocation.mobile = { sequence: 1, previousUntilMs: 0 };
    this.#byId.set(allocation.id, allocation);
  }

  /** The ticket to give out with a success answer. */
  attributes(allocation: Allocation): EncodedAttribute[] {
    if (allocation.mobile === undefined) return [];
    const ticket = this.#tickets.issue({
      engine: this.#core.engine,
      allocation: allocation.id,
      sequence: allocation.mobile.sequence,
    });
    return [attribute(mobilityTicket, ticket)];
  }

  /** The ticket of a Refresh request, if it has one that this relay gave out. */
  ticketOf(message: StunMessage): Ticket | undefined {
    const ticket = getAttribute(message, mobilityTicket);
    return ticket?.ok ? this.#tickets.open(ticket.value) : undefined;
  }

  /** The allocation of this engine that a Refresh request's ticket names: its key proves the request. */
  allocationOf(message: StunMessage): Allocation | undefined {
    const ticket = this.ticketOf(message);
    return ticket?.engine === this.#core.engine ? this.#byId.get(ticket.allocation) : undefined;
  }

  /** RFC 8016 §3.2.2. The request's sender has proven `credential`. */
  refresh(request: IncomingRequest, credential: Credential, now: Now): Answering {
    const { message, client } = request;
    if (this.#core.options.mobility !== true) return failure(405, "Mobility Forbidden");
    const ticket = this.ticketOf(message);
    if (ticket === undefined) return failure(400, "Bad Request: the MOBILITY-TICKET is not valid");
    const allocation = this.#byId.get(ticket.allocation);
    if (allocation?.mobile === undefined) return failure(437, "Allocation Mismatch");
    if (!isSameUser(allocation.credential, credential)) return failure(441, "Wrong Credentials");
    if (sameClient(allocation.client, client)) {
      return failure(400, "Bad Request: a MOBILITY-TICKET is for a new address");
    }
    const { mobile } = allocation;
    const again =
      ticket.sequence === mobile.sequence - 1 &&
      now.monotonicMs < mobile.previousUntilMs &&
      allocation.next !== undefined &&
      sameClient(allocation.next, client);
    if (again) return this.#answer(allocation, request, now);
    if (ticket.sequence !== mobile.sequence) return failure(400, "Bad Request: the MOBILITY-TICKET was used");
    const occupant = this.#core.registry.findAllocation(client.listener, client.remote);
    if (occupant !== undefined && occupant !== allocation) return failure(437, "Allocation Mismatch");
    return this.#move(allocation, request, now);
  }

  #move(allocation: Allocation, request: IncomingRequest, now: Now): Answering {
    const refreshed = refreshAllocation(this.#core, allocation, request, now);
    if (refreshed.class === "error" || allocation.mobile === undefined || allocation.slot < 0) return refreshed;
    allocation.mobile.sequence++;
    allocation.mobile.previousUntilMs = now.monotonicMs + OLD_TICKET_LIFETIME_MS;
    this.#core.registry.addNextClient(allocation, request.client);
    return { class: "success", attributes: [...refreshed.attributes, ...this.attributes(allocation)] };
  }

  #answer(allocation: Allocation, request: IncomingRequest, now: Now): Answering {
    const refreshed = refreshAllocation(this.#core, allocation, request, now);
    if (refreshed.class === "error") return refreshed;
    return { class: "success", attributes: [...refreshed.attributes, ...this.attributes(allocation)] };
  }
}

function sameClient(a: ClientAddress, b: ClientAddress): boolean {
  return fiveTupleName(a) === fiveTupleName(b);
}
