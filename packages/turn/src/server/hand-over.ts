import { connectionId, getAttribute, integrityAlgorithms } from "@turnpike/stun";
import type { Allocation, ClientAddress } from "./allocation.ts";
import type { ClientSource } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import type { Mobility } from "./mobility.ts";
import { fiveTupleName, keepAddress } from "./registry.ts";

/**
 * What crosses engines. A request whose ticket or connection id names another engine is handed to it; an engine that
 * takes a client over that the kernel delivers elsewhere asks for that client's packets, and gives them up again.
 */
export class HandOver {
  readonly #core: Core;
  readonly #mobility: Mobility;
  /** The five-tuples that were asked for, by allocation. */
  readonly #adopted = new Map<Allocation, ClientAddress[]>();

  constructor(core: Core, mobility: Mobility) {
    this.#core = core;
    this.#mobility = mobility;
    core.beforeDelete.push((allocation) => this.#release(allocation));
  }

  /** True if the request belongs to another engine, to which it is on its way. */
  redirect(request: IncomingRequest): boolean {
    const owner = this.#ownerOf(request);
    if (owner === undefined || owner === this.#core.engine || owner >= (this.#core.options.engines ?? 1)) return false;
    const { listener, connection, remote } = request.client;
    this.#core.output({
      kind: "handOver",
      engine: owner,
      listener,
      connection,
      client: remote,
      // Who clones a part of an array for another thread clones the whole.
      bytes: request.message.bytes.slice(),
    });
    return true;
  }

  /** Performs an input that another engine handed over; if it moves a client here, that client is asked for. */
  adopting(source: ClientSource, perform: () => void): void {
    const before = this.#core.outputPosition;
    perform();
    const allocation = this.#core.registry.findAllocation(source.listener, source.remote);
    if (allocation === undefined || this.#core.isStream(source.listener)) return;
    const client: ClientAddress = allocation.next ?? allocation.client;
    const adopted = this.#releaseLeft(allocation);
    if (adopted.some((known) => fiveTupleName(known) === fiveTupleName(client))) return;
    this.#adopted.set(allocation, [...adopted, client]);
    // Before the answer: what the client sends as soon as it has it must come here.
    this.#core.outputAt(before, {
      kind: "adoptClient",
      listener: source.listener,
      client: keepAddress(source.remote),
    });
  }

  /** Gives up the five-tuples that the client has moved away from; those that are left. */
  #releaseLeft(allocation: Allocation): ClientAddress[] {
    const { client, next } = allocation;
    const used = [client, ...(next === undefined ? [] : [next])].map(fiveTupleName);
    const left: ClientAddress[] = [];
    for (const adopted of this.#adopted.get(allocation) ?? []) {
      if (used.includes(fiveTupleName(adopted))) left.push(adopted);
      else this.#giveUp(adopted);
    }
    this.#adopted.set(allocation, left);
    return left;
  }

  #giveUp({ listener, remote }: ClientAddress): void {
    this.#core.output({ kind: "releaseClient", listener, client: remote });
  }

  #release(allocation: Allocation): void {
    for (const client of this.#adopted.get(allocation) ?? []) this.#giveUp(client);
    this.#adopted.delete(allocation);
  }

  #ownerOf(request: IncomingRequest): number | undefined {
    const { message, client } = request;
    // What would only be challenged or refused there needs no way between engines: anybody can send it.
    const { sha1, sha256 } = integrityAlgorithms(message);
    if (!sha1 && !sha256) return undefined;
    if (message.methodName === "refresh") return this.#mobility.ticketOf(message)?.engine;
    if (message.methodName !== "connectionBind" || !this.#core.isStream(client.listener)) return undefined;
    const id = getAttribute(message, connectionId);
    return id?.ok ? id.value >>> 24 : undefined;
  }
}
