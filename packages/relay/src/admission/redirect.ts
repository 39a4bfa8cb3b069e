import { normalizeUser } from "@turnpike/authn/turn";
import type { TransportAddress } from "@turnpike/stun";
import { addressRange, type ClientTransport, rangeContains } from "@turnpike/turn";
import { parseRedirectServer } from "./redirect-server.ts";

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

/** Whom a rule sends elsewhere: those for whom all holds that it says. One that says nothing is for everybody. */
export interface RedirectRule extends RedirectTarget {
  /** Actors, in any spelling of their names. */
  readonly users?: readonly string[];
  /** Of clients: an address, a CIDR prefix or `A-B`. */
  readonly prefixes?: readonly string[];
  /** From so many living allocations of this relay on. */
  readonly minAllocations?: number;
  /** True: only while this relay takes no more. */
  readonly draining?: boolean;
}

/** Tells where to go by a table: the first rule that fits. @throws TypeError or RangeError for a rule of a wrong form. */
export function redirectByRules(rules: readonly RedirectRule[]): RedirectPolicy {
  const table = rules.map((rule) => {
    checkTarget(rule);
    const { users, prefixes, minAllocations = 0, draining = false } = rule;
    if (!(minAllocations >= 0)) throw new RangeError(`Cannot redirect from ${minAllocations} allocations on`);
    const names = users && new Set(users.map((name) => normalizeUser(name)));
    const ranges = prefixes?.map((prefix) => addressRange(prefix));
    const fits = ({ actor, client, load }: RedirectQuestion): boolean =>
      names?.has(normalizeUser(actor)) !== false &&
      ranges?.some((range) => rangeContains(range, client)) !== false &&
      load.allocations >= minAllocations &&
      (load.draining || !draining);
    return { fits, next: inTurn(rule) };
  });
  return (question) => table.find(({ fits }) => fits(question))?.next(question.client.family);
}

/** Tells where to go by the client's address: the first rule that fits. */
export function redirectByPrefix(rules: readonly ({ readonly prefix: string } & RedirectTarget)[]): RedirectPolicy {
  return redirectByRules(rules.map(({ prefix, ...target }) => ({ ...target, prefixes: [prefix] })));
}

/** What the first policy says that sends a client elsewhere. */
export function redirectByFirst(policies: readonly RedirectPolicy[]): RedirectPolicy {
  return (question) => {
    for (const policy of policies) {
      const target = policy(question);
      if (target !== undefined) return target;
    }
    return undefined;
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
  return target.servers.map(parseRedirectServer).find((server) => server.family === family);
}

/** One server after the other of a client's address family. */
function inTurn({ servers, domain }: RedirectTarget): (family: 4 | 6) => RedirectTarget {
  const ofFamily = (family: 4 | 6): string[] =>
    servers.filter((server) => parseRedirectServer(server).family === family);
  const queues = { 4: ofFamily(4), 6: ofFamily(6) };
  return (family) => {
    const queue = queues[family];
    const server = queue.shift();
    if (server !== undefined) queue.push(server);
    return { servers: server === undefined ? [] : [server], ...(domain === undefined ? {} : { domain }) };
  };
}

function checkTarget(target: RedirectTarget): void {
  if (target.servers.length === 0) throw new TypeError("Cannot redirect: no server is named");
  for (const server of target.servers) parseRedirectServer(server);
}
