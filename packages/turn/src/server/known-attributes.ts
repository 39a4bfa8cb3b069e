import { attribute, attributes, unknownAttributes, unknownComprehensionRequired } from "@turnpike/stun";
import type { Core, IncomingRequest } from "./core.ts";
import { failure, type Answering } from "./reply.ts";

/** Comprehension-required attributes that this engine understands, or knows well enough to ignore (RFC 8489 §6.3). */
const KNOWN: ReadonlySet<number> = new Set([
  attributes.mappedAddress.number,
  attributes.username.number,
  attributes.messageIntegrity.number,
  attributes.errorCode.number,
  attributes.unknownAttributes.number,
  attributes.channelNumber.number,
  attributes.lifetime.number,
  attributes.xorPeerAddress.number,
  attributes.data.number,
  attributes.realm.number,
  attributes.nonce.number,
  attributes.xorRelayedAddress.number,
  attributes.requestedAddressFamily.number,
  attributes.evenPort.number,
  attributes.requestedTransport.number,
  attributes.accessToken.number,
  attributes.messageIntegritySha256.number,
  attributes.passwordAlgorithm.number,
  attributes.userhash.number,
  attributes.xorMappedAddress.number,
  attributes.reservationToken.number,
  attributes.connectionId.number,
  attributes.priority.number,
  attributes.useCandidate.number,
]);

const NAT_DISCOVERY: ReadonlySet<number> = new Set([
  attributes.changeRequest.number,
  attributes.padding.number,
  attributes.responsePort.number,
]);

const KNOWN_WITH_DONT_FRAGMENT: ReadonlySet<number> = new Set([...KNOWN, attributes.dontFragment.number]);

/** The 420 answer that names what isn't understood (RFC 8489 §6.3.1), or undefined if everything is. */
export function refuseUnknownAttributes(core: Core, { message, client }: IncomingRequest): Answering | undefined {
  const known = core.options.dontFragment === true ? KNOWN_WITH_DONT_FRAGMENT : KNOWN;
  // RFC 5780 §6: the attributes of discovery are unknown where there is no other address to answer from.
  const discovers = core.options.natDiscovery?.listeners.includes(client.listener) === true;
  const unknown = unknownComprehensionRequired(message, known).filter((type) => !discovers || !NAT_DISCOVERY.has(type));
  if (unknown.length === 0) return undefined;
  return failure(420, "Unknown Attribute", attribute(unknownAttributes, unknown));
}
