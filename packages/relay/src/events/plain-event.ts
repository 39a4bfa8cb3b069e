import { printable } from "@turnpike/authn/core";
import { formatIpAddress, formatTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { AllocationContext, FiveTuple } from "@turnpike/turn";
import type { RelayEvent } from "./relay-event.ts";

/** An event for logs and programs: plain JSON, addresses as text, names made safe for one line. */
export type PlainEvent = Readonly<Record<string, unknown>> & {
  readonly event: RelayEvent["type"];
  readonly at: string;
};

/**
 * An event as plain JSON. `address` is the client's IP address alone, `client` the one with its port; `at` is in
 * RFC 3339 form. What clients chose (`username`) comes last.
 */
export function plainEvent(event: RelayEvent): PlainEvent {
  if ("context" in event) {
    const { type, context, ...rest } = event;
    return { ...head(type, context.atUnixMs), ...allocationFields(context), ...plainFields(rest), ...name(context) };
  }
  if ("subject" in event) {
    const { type, subject, atUnixMs, ...rest } = event;
    const whom = subject.kind === "user" ? { actor: printable(subject.user) } : { prefix: subject.prefix };
    return { ...head(type, atUnixMs), ...whom, ...rest };
  }
  const { type, fiveTuple, atUnixMs, username, actor, ...rest } = event;
  return {
    ...head(type, atUnixMs),
    ...fiveTupleFields(fiveTuple),
    ...rest,
    ...(actor === undefined ? {} : { actor: printable(actor) }),
    ...(username === undefined ? {} : { username: printable(username) }),
  };
}

/** What an allocation is, as plain JSON. */
export function allocationFields(context: AllocationContext): Readonly<Record<string, unknown>> {
  return {
    allocation: context.allocationId,
    ...fiveTupleFields(context.fiveTuple),
    relayed: context.relayed.map((address) => formatTransportAddress(address)),
    realm: context.realm,
    scheme: context.scheme,
    actor: printable(context.actor),
  };
}

function name(context: AllocationContext): { readonly username: string } {
  return { username: printable(context.username) };
}

function head(type: RelayEvent["type"], atUnixMs: number): { readonly event: RelayEvent["type"]; readonly at: string } {
  return { event: type, at: new Date(atUnixMs).toISOString() };
}

function fiveTupleFields({ transport, client, server }: FiveTuple): Readonly<Record<string, unknown>> {
  return {
    address: formatIpAddress(client),
    client: formatTransportAddress(client),
    transport,
    server: formatTransportAddress(server),
  };
}

/** Addresses as text; a peer of a permission has no port. */
function plainFields(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, isAddress(value) ? addressText(value) : value]),
  );
}

function addressText(address: TransportAddress): string {
  return address.port === 0 ? formatIpAddress(address) : formatTransportAddress(address);
}

function isAddress(value: unknown): value is TransportAddress {
  return typeof value === "object" && value !== null && "family" in value && "w3" in value && "port" in value;
}
