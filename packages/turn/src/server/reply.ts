import {
  attribute,
  encodeMessage,
  errorCode,
  nonce,
  rawAttribute,
  passwordAlgorithms,
  realm,
  software,
  thirdPartyAuthorization,
  type EncodedAttribute,
  type MessageIntegrity,
  type TransportAddress,
} from "@turnpike/stun";
import type { ClientAddress } from "./allocation.ts";
import type { Core, IncomingRequest } from "./core.ts";
import type { Now } from "./contract.ts";

/** What an authenticated answer is protected with. Only a request whose integrity was checked yields one. */
export interface Proof {
  readonly key: Uint8Array;
  /** RFC 8489 §9.2.4: SHA-1 exactly if the request named no password algorithm. */
  readonly integrity: "sha1" | "sha256";
}

/** What an answer says, beside what is added to every answer. */
export interface Answering {
  readonly class: "success" | "error";
  readonly attributes: readonly EncodedAttribute[];
}

/** An answer with attributes. */
export function success(...attributes: readonly EncodedAttribute[]): Answering {
  return { class: "success", attributes };
}

/** An error answer; it always carries ERROR-CODE (RFC 8489 §6.3.1.1). */
export function failure(code: number, reason: string, ...attributes: readonly EncodedAttribute[]): Answering {
  return { class: "error", attributes: [attribute(errorCode, { code, reason }), ...attributes] };
}

/** Sends an answer to a request whose sender is known. */
export function replyAuthenticated(core: Core, request: IncomingRequest, answer: Answering, proof: Proof): void {
  send(core, request.client, encodeAnswer(core, request, answer, proof));
}

/**
 * Sends an answer without MESSAGE-INTEGRITY: to Binding requests, and to those that failed to authenticate. What
 * goes to one address prefix is capped; what is over the cap is not sent, and the client tries again.
 */
export function replyUnauthenticated(
  core: Core,
  request: IncomingRequest,
  answer: Answering,
  now: Now,
  from: { readonly listener: number; readonly destination: TransportAddress } = {
    listener: request.client.listener,
    destination: request.client.remote,
  },
): void {
  const bytes = encodeAnswer(core, request, answer, undefined);
  // A stream's sender has proven its address: nothing can be reflected to others.
  const proven = core.isStream(request.client.listener);
  if (proven || core.replyLimiter.admit(request.client.remote, bytes.length, now.monotonicMs)) {
    core.output({ kind: "sendToClient", ...from, connection: request.client.connection, bytes });
  }
}

/** A 401 or 438 with what is needed to try again (RFC 8489 §9.2.4). */
export function challenge(core: Core, request: IncomingRequest, code: 401 | 438, now: Now): void {
  if (core.options.gate?.admitsChallenge(request.client.remote, now.monotonicMs) === false) return;
  const { thirdPartyAuthorization: serverName } = core.options;
  const answer = failure(
    code,
    code === 401 ? "Unauthenticated" : "Stale Nonce",
    ...(serverName === undefined ? [] : [attribute(thirdPartyAuthorization, serverName)]),
    rawAttribute(realm.type, core.realm),
    rawAttribute(nonce.type, core.nonces.issue(request.client.remote, now.unixMs)),
    rawAttribute(passwordAlgorithms.type, core.offer),
  );
  replyUnauthenticated(core, request, answer, now);
}

function encodeAnswer(core: Core, request: IncomingRequest, answer: Answering, proof: Proof | undefined): Uint8Array {
  const { message } = request;
  const method = message.methodName;
  if (method === undefined) throw new TypeError("Only known methods are answered");
  const attributes =
    core.options.software === undefined
      ? answer.attributes
      : [...answer.attributes, attribute(software, core.options.software)];
  const integrity: MessageIntegrity | undefined =
    proof === undefined ? undefined : { algorithm: proof.integrity, key: proof.key, crypto: core.crypto };
  return encodeMessage({
    class: answer.class,
    method,
    transactionId: message.transactionId,
    attributes,
    ...(integrity === undefined ? {} : { integrity }),
    fingerprint: message.hasFingerprint,
    ...(core.isStream(request.client.listener) ? {} : { allocate: core.slab.take }),
  });
}

function send(core: Core, client: ClientAddress, bytes: Uint8Array): void {
  core.output({
    kind: "sendToClient",
    listener: client.listener,
    connection: client.connection,
    destination: client.remote,
    bytes,
  });
}
