import {
  attribute,
  changeRequest,
  getAttribute,
  otherAddress,
  padding,
  responseOrigin,
  responsePort,
  withPort,
  xorMappedAddress,
  type EncodedAttribute,
} from "@turnpike/stun";
import type { Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import { refuseUnknownAttributes } from "./known-attributes.ts";
import { failure, replyUnauthenticated, success } from "./reply.ts";

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
  discover(core, request, core.options.natDiscovery.listeners, mapped, now);
}

/** RFC 5780 §6.1: the answer may come from the other address or port, and says where it and the others are. */
function discover(
  core: Core,
  request: IncomingRequest,
  listeners: readonly [number, number, number, number],
  mapped: EncodedAttribute,
  now: Now,
): void {
  const { message, client } = request;
  const place = listeners.indexOf(client.listener);
  if (place < 0) {
    replyUnauthenticated(core, request, success(mapped), now);
    return;
  }
  const change = getAttribute(message, changeRequest);
  const port = getAttribute(message, responsePort);
  const filler = getAttribute(message, padding);
  const changes = (change?.ok === true && (change.value.changeIp || change.value.changePort)) || port !== undefined;
  // RFC 5780 §7.5: PADDING goes with none of the others, so that nobody can be flooded with large answers.
  if ((change !== undefined && !change.ok) || (port !== undefined && !port.ok) || (filler !== undefined && changes)) {
    replyUnauthenticated(core, request, failure(400, "Bad Request"), now);
    return;
  }
  const from =
    place ^
    (change?.ok === true && change.value.changeIp ? 2 : 0) ^
    (change?.ok === true && change.value.changePort ? 1 : 0);
  const origin = core.listener(listeners[from]!).local;
  const other = core.listener(listeners[place ^ 3]!).local;
  replyUnauthenticated(
    core,
    request,
    success(mapped, attribute(responseOrigin, origin), attribute(otherAddress, other)),
    now,
    {
      listener: listeners[from]!,
      destination: port?.ok === true ? withPort(client.remote, port.value) : client.remote,
    },
  );
}
