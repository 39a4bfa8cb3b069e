import {
  attribute,
  changeRequest,
  getAttribute,
  mappedAddress,
  otherAddress,
  padding,
  responseOrigin,
  responsePort,
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
  const refusal = refuseUnknownAttributes(core, request);
  if (refusal !== undefined) {
    replyUnauthenticated(core, request, refusal, now);
    return;
  }
  const mapped = attribute(xorMappedAddress, request.client.remote);
  const discovery = core.options.natDiscovery;
  const place = discovery?.listeners.indexOf(request.client.listener) ?? -1;
  if (discovery === undefined || place < 0) replyUnauthenticated(core, request, success(mapped), now);
  else discover(core, request, { discovery, place, mapped }, now);
}

/** RFC 5780 §6.1: the answer may come from the other address or port, and says where it and the others are. */
function discover(
  core: Core,
  request: IncomingRequest,
  asked: { readonly discovery: NatDiscovery; readonly place: number; readonly mapped: EncodedAttribute },
  now: Now,
): void {
  const { message, client } = request;
  const { place } = asked;
  const { listeners, addresses } = asked.discovery;
  const change = getAttribute(message, changeRequest);
  const port = getAttribute(message, responsePort);
  const filler = getAttribute(message, padding);
  // RFC 5780 §10: nobody shall have large answers sent to a port of somebody else's.
  const large = filler !== undefined && port !== undefined;
  // RFC 5780 §7.5 allows port 0, which no datagram can be sent to.
  const nowhere = port !== undefined && (!port.ok || port.value === 0);
  if ((change !== undefined && !change.ok) || nowhere || large) {
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
      asked.mapped,
      attribute(responseOrigin, shown(from)),
      attribute(otherAddress, shown(place ^ 3)),
      // No longer than what came, so that the answer is no amplification (RFC 5780 §10), but in whole words (§6.1).
      ...(filler?.ok ? [attribute(padding, new Uint8Array(Math.min(wholeWords(filler.value.length), MTU_BYTES)))] : []),
    ),
    now,
    {
      listener: listeners[from]!,
      destination: port?.ok === true ? withPort(client.remote, port.value) : client.remote,
    },
  );
}

function wholeWords(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
