import { formatTransportAddress, parseTransportAddress, type TransportAddress } from "@turnpike/stun";
import { type AddressRange, addressRange, type ClientTransport, rangeContains } from "@turnpike/turn";

/** Who wants to allocate, and how full the relay is. */
export interface RedirectQuestion {
  readonly actor: string;
  readonly username: string;
  readonly client: TransportAddress;
  readonly transport: ClientTransport;
  readonly load: {
    /** Living allocations of this relay. */
    readonly allocations: number;
    /** True if this relay takes no more: without another server the client is refused. */
    readonly draining: boolean;
  };
}

/** Where a client is sent: `ADDRESS:PORT` of one or more servers, of which one of the client's family is told. */
export interface RedirectTarget {
  readonly servers: readonly string[];
  /** The name in the other server's certificate (ALTERNATE-DOMAIN, RFC 8489 §14.16). */
  readonly domain?: string;
}

/** Sends clients elsewhere (300, Try Alternate): undefined keeps them. */
export type RedirectPolicy = (question: RedirectQuestion) => RedirectTarget | undefined;

/** A client's new server, as the answer names it. */
export interface Redirection {
  readonly alternateServer: TransportAddress;
  readonly alternateDomain?: string;
}

/** Tells where to go by the client's address: the first rule that fits. */
export function redirectByPrefix(
  rules: readonly ({ readonly prefix: string } & RedirectTarget)[],
): (question: RedirectQuestion) => RedirectTarget | undefined {
  const table: { readonly range: AddressRange; readonly target: RedirectTarget }[] = [];
  for (const { prefix, ...target } of rules) {
    checkTarget(target);
    table.push({ range: addressRange(prefix), target });
  }
  return ({ client }) => table.find(({ range }) => rangeContains(range, client))?.target;
}

/** Sends clients to one server after the other, each to one of its own address family. @throws TypeError for no server */
export function redirectInTurn(
  options: RedirectTarget & {
    /** While this relay drains (the default), or always. */
    readonly when?: "draining" | "always";
  },
): RedirectPolicy {
  const { servers, domain, when = "draining" } = options;
  checkTarget(options);
  const ofFamily = (family: 4 | 6): string[] => servers.filter((server) => parseServer(server).family === family);
  const queues = { 4: ofFamily(4), 6: ofFamily(6) };
  return ({ client, load }) => {
    if (when === "draining" && !load.draining) return undefined;
    const queue = queues[client.family];
    const server = queue.shift();
    if (server === undefined) return undefined;
    queue.push(server);
    return domain === undefined ? { servers: [server] } : { servers: [server], domain };
  };
}

/** Another relay of the fleet. */
export interface FleetRelay extends RedirectTarget {
  /** Its living allocations, as it told last. */
  readonly allocations: number;
}

/**
 * Sends clients to the relay that has the fewest allocations, if this one has more than `margin` times as many (default
 * 1.2) and `atLeast` (default 10), or is draining. Between relays of like load nobody is sent back and forth.
 */
export function redirectToLeastLoaded(options: {
  /** The others, as they are known at the time of asking. */
  readonly relays: () => readonly FleetRelay[];
  readonly margin?: number;
  readonly atLeast?: number;
}): RedirectPolicy {
  const { relays, margin = 1.2, atLeast = 10 } = options;
  if (!(margin >= 1)) throw new RangeError(`Cannot redirect at a margin of ${margin}: use 1 or more`);
  return ({ client, load }) => {
    let least: FleetRelay | undefined;
    for (const relay of relays()) {
      if (addressOf(relay, client.family) === undefined) continue;
      if (least === undefined || relay.allocations < least.allocations) least = relay;
    }
    if (least === undefined) return undefined;
    const overloaded = load.allocations >= atLeast && load.allocations > least.allocations * margin;
    return overloaded || load.draining ? least : undefined;
  };
}

/** What a policy says to a client, or undefined if it stays: also if no server is of its family (RFC 8489 §10). */
export function redirectionFor(policy: RedirectPolicy, question: RedirectQuestion): Redirection | undefined {
  const target = policy(question);
  if (target === undefined) return undefined;
  const alternateServer = addressOf(target, question.client.family);
  if (alternateServer === undefined) return undefined;
  return target.domain === undefined ? { alternateServer } : { alternateServer, alternateDomain: target.domain };
}

function addressOf(target: RedirectTarget, family: 4 | 6): TransportAddress | undefined {
  return target.servers.map(parseServer).find((server) => server.family === family);
}

function checkTarget(target: RedirectTarget): void {
  if (target.servers.length === 0) throw new TypeError("Cannot redirect: no server is named");
  for (const server of target.servers) parseServer(server);
}

function parseServer(text: string): TransportAddress {
  const address = parseTransportAddress(text);
  if (address === undefined || address.port === 0) {
    const example = formatTransportAddress({ family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0xc0000201 | 0, port: 3478 });
    throw new TypeError(`Cannot redirect to ${JSON.stringify(text)}: expected ADDRESS:PORT, such as ${example}`);
  }
  return address;
}
