import {
  additionalAddressFamily,
  addressErrorCode,
  attribute,
  dontFragment,
  evenPort,
  getAttribute,
  getAttributes,
  lifetime,
  mobilityTicket,
  requestedAddressFamily,
  requestedTransport,
  reservationToken,
  transportProtocols,
  xorMappedAddress,
  xorRelayedAddress,
  type EncodedAttribute,
  type StunMessage,
} from "@turnpike/stun";
import type { Allocated, AllocateDemands } from "./contract.ts";

/**
 * The attributes of an Allocate request (RFC 8656 §7.1, RFC 6062 §4.1, RFC 8016 §3.1.1).
 *
 * @throws TypeError if demands rule each other out; RangeError if one can't be said.
 */
export function allocateAttributes(demands: AllocateDemands, reliable: boolean): EncodedAttribute[] {
  const { transport = "udp", families, port = "any", lifetimeSeconds, reservationToken: token } = demands;
  if (transport === "tcp") {
    if (!reliable)
      throw new TypeError("Cannot allocate: a TCP allocation needs a TCP or TLS transport (RFC 6062 §4.1)");
    if (port !== "any" || token !== undefined || demands.dontFragment === true) {
      throw new TypeError("Cannot allocate: a TCP allocation has no even port, reservation or DONT-FRAGMENT");
    }
  }
  if (token !== undefined && (port !== "any" || families !== undefined)) {
    throw new TypeError("Cannot allocate: a reservation token goes with neither a kind of port nor families");
  }
  const dual = families?.includes(4) === true && families.includes(6);
  if (dual && port === "evenPair") throw new TypeError("Cannot allocate: a dual allocation reserves no second port");
  if (families?.length === 0) throw new TypeError("Cannot allocate: families is empty");
  const list = [attribute(requestedTransport, transportProtocols[transport])];
  if (lifetimeSeconds !== undefined) list.push(attribute(lifetime, lifetimeSeconds));
  if (demands.dontFragment === true) list.push(attribute(dontFragment, true));
  if (dual) list.push(attribute(additionalAddressFamily, 6));
  // IPv4 is what servers give without being asked, those of RFC 5766 too, which don't know the attribute.
  else if (families?.includes(6) === true) list.push(attribute(requestedAddressFamily, 6));
  if (port !== "any") list.push(attribute(evenPort, port === "evenPair"));
  if (token !== undefined) list.push(attribute(reservationToken, token));
  if (demands.mobility === true) list.push(attribute(mobilityTicket, new Uint8Array(0)));
  return list;
}

/** An Allocate success (RFC 8656 §7.3), or what is wrong with it. Nothing in it is a view of the message. */
export function readAllocated(
  message: StunMessage,
  demands: AllocateDemands,
): (Allocated & { readonly ticket: Uint8Array | undefined }) | string {
  const relayed = [];
  for (const address of getAttributes(message, xorRelayedAddress)) {
    if (!address.ok) return "XOR-RELAYED-ADDRESS can't be read";
    relayed.push(address.value);
  }
  if (relayed.length === 0) return "XOR-RELAYED-ADDRESS is missing";
  const { families } = demands;
  if (families !== undefined && !relayed.every(({ family }) => families.includes(family))) {
    return "XOR-RELAYED-ADDRESS is of another family than the requested one";
  }
  const mapped = getAttribute(message, xorMappedAddress);
  if (!mapped?.ok) return "XOR-MAPPED-ADDRESS is missing or can't be read";
  const granted = getAttribute(message, lifetime);
  if (!granted?.ok || granted.value === 0) return "LIFETIME is missing or can't be read";
  const token = getAttribute(message, reservationToken);
  if (demands.port === "evenPair" && !token?.ok) return "RESERVATION-TOKEN is missing";
  const ticket = getAttribute(message, mobilityTicket);
  const addressError = getAttribute(message, addressErrorCode);
  return {
    relayed,
    mapped: mapped.value,
    lifetimeSeconds: granted.value,
    reservationToken: token?.ok ? token.value.slice() : undefined,
    addressError: addressError?.ok ? addressError.value : undefined,
    mobile: ticket?.ok === true && ticket.value.length > 0,
    ticket: ticket?.ok && ticket.value.length > 0 ? ticket.value.slice() : undefined,
  };
}
