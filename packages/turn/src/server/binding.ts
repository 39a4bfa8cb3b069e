import {
  attribute,
  changeRequest,
  getAttribute,
  mappedAddress,
  otherAddress,
  padding,
  responseOrigin,
  responsePort,
  unknownAttributes,
  withPort,
  xorMappedAddress,
  type EncodedAttribute,
  type TransportAddress,
} from "@turnpike/stun";
import type { NatDiscovery, Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import { refuseUnknownAttributes } from "./known-attributes.ts";
import { failure, replyUnauthenticated, success } from "./reply.ts";

/** What PADDING needs to be for an answer of several fragments (RFC 5780 §7.6), on all but rare networks. */
const MTU_BYTES = 1500;

/** RFC 8489 §6.3.1: a Binding request is answered without authentication and without any state. */
export function handleBinding(core: Core, request: IncomingRequest, now: Now): void {
  const refusal = refuseUnknownAttributes(core, request.message);
  if (refusal !== undefined) {
    replyUnauthenticated(core, request, refusal, now);
    return;
  }
  const mapped = attribute(xorMappedAddress, request.client.remote);
  if (core.options.natDiscovery === undefined) {
    replyUnauthenticated(core, request, success(mapped), now);
    return;
  }
  discover(core, request, core.options.natDiscovery, mapped, now);
}

/** RFC 5780 §6.1: the answer may come from the other address or port, and says where it and the others are. */
function discover(
  core: Core,
  request: IncomingRequest,
  { listeners, addresses }: NatDiscovery,
  mapped: EncodedAttribute,
  now: Now,
): void {
  const { message, client } = request;
  const place = listeners.indexOf(client.listener);
  const change = getAttribute(message, changeRequest);
  const port = getAttribute(message, responsePort);
  const filler = getAttribute(message, padding);
  if (place < 0) {
    // There is no other address to answer from (RFC 5780 §6.1), nor another port to answer to.
    const unknown = [
      ...(change === undefined ? [] : [changeRequest.type]),
      ...(port === undefined ? [] : [responsePort.type]),
      ...(filler === undefined ? [] : [padding.type]),
    ];
    const answer =
      unknown.length === 0 ? success(mapped) : failure(420, "Unknown Attribute", attribute(unknownAttributes, unknown));
    replyUnauthenticated(core, request, answer, now);
    return;
  }
  // RFC 5780 §6.1: nobody shall have large answers sent to a port of somebody else's.
  const large = filler !== undefined && port !== undefined;
  if ((change !== undefined && !change.ok) || (port !== undefined && !port.ok) || large) {
    replyUnauthenticated(core, request, failure(400, "Bad Request"), now);
    return;
  }
  const from =
    place ^
    (change?.ok === true && change.value.changeIp ? 2 : 0) ^
    (change?.ok === true && change.value.changePort ? 1 : 0);
  const shown = (index: number): TransportAddress => addresses?.[index] ?? core.listener(listeners[index]!).local;
  replyUnauthenticated(
    core,
    request,
    success(
      attribute(mappedAddress, client.remote),
      mapped,
      attribute(responseOrigin, shown(from)),
      attribute(otherAddress, shown(place ^ 3)),
      // No longer than what came, so that the answer is no amplification.
      ...(filler?.ok ? [attribute(padding, new Uint8Array(Math.min(filler.value.length, MTU_BYTES)))] : []),
    ),
    now,
    {
      listener: listeners[from]!,
      destination: port?.ok === true ? withPort(client.remote, port.value) : client.remote,
    },
  );
}
