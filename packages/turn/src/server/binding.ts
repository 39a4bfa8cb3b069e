import { attribute, xorMappedAddress } from "@turnpike/stun";
import type { Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import { refuseUnknownAttributes } from "./known-attributes.ts";
import { replyUnauthenticated, success } from "./reply.ts";

/** RFC 8489 §6.3.1: a Binding request is answered without authentication and without any state. */
export function handleBinding(core: Core, request: IncomingRequest, now: Now): void {
  const refusal = refuseUnknownAttributes(core, request.message);
  replyUnauthenticated(core, request, refusal ?? success(attribute(xorMappedAddress, request.client.remote)), now);
}
