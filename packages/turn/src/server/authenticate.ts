import {
  accessToken,
  findAttribute,
  getAttribute,
  hasAttribute,
  integrityAlgorithms,
  mobilityTicket,
  nonce,
  passwordAlgorithm,
  passwordAlgorithmNumbers,
  passwordAlgorithms,
  realm,
  sameIp,
  sameTransportAddress,
  userhash,
  username,
  userhashOf,
  opaqueString,
  valueOffset,
  verifyIntegrity,
  type RawAttribute,
  type StunMessage,
} from "@turnpike/stun";
import type { Allocation, Credential } from "./allocation.ts";
import type { AuthenticatedMethod, AuthenticationDecision, AuthenticationRequest } from "./authentication.ts";
import type { Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import type { NonceState } from "./nonce.ts";
import type { PendingAuthentications } from "./pending-authentications.ts";
import { challenge, failure, replyUnauthenticated, type Proof } from "./reply.ts";

/** What a request claims to be, before anything of it has been proven. */
interface Claim {
  readonly username: string | undefined;
  readonly userhash: Uint8Array | undefined;
  readonly passwordAlgorithm: "md5" | "sha256";
  readonly integrity: "sha1" | "sha256";
  readonly answerIntegrity: "sha1" | "sha256";
  readonly accessToken: Uint8Array | undefined;
}

/** A request whose sender is known. */
export interface Authenticated {
  readonly credential: Credential;
  readonly proof: Proof;
}

/**
 * The checks of RFC 8489 §9.2.4. One difference, on purpose: the nonce is checked before the credentials, so that
 * packets with made-up nonces cost neither a key derivation nor a question to a slow backend.
 *
 * `existing` is the allocation that the request is about, if there is one: its key is tried first.
 *
 * Calls `proceed` when the sender is known: at once, or when the answer to a pending question arrives. Otherwise it
 * has answered, or the question is on its way.
 */
export function authenticate(
  core: Core,
  pending: PendingAuthentications,
  request: IncomingRequest,
  method: AuthenticatedMethod,
  now: Now,
  existing: Allocation | undefined,
  proceed: (authenticated: Authenticated, now: Now) => void,
): void {
  const claim = readClaim(core, request, method, now, existing);
  if (claim === undefined) return;
  const known = existing === undefined ? undefined : provenByAllocation(core, existing, claim, request.message, method);
  if (known === "proven" && existing !== undefined) {
    const { credential } = existing;
    reportSuccess(core, request, method, credential, now);
    proceed({ credential, proof: { key: credential.key, integrity: claim.answerIntegrity } }, now);
    return;
  }
  if (known !== undefined && known !== "proven") {
    settle(core, request, method, claim, known, now, proceed);
    return;
  }
  const questionId = core.nextQuestionId();
  const decision = core.options.authenticate(toRequest(core, request, method, claim, questionId, now));
  if (decision.kind !== "pending") {
    settle(core, request, method, claim, decision, now, proceed);
    return;
  }
  pending.add(request, questionId, now, (late, at) => settle(core, request, method, claim, late, at, proceed));
}

function readClaim(
  core: Core,
  request: IncomingRequest,
  method: AuthenticatedMethod,
  now: Now,
  existing: Allocation | undefined,
): Claim | undefined {
  const { message, client } = request;
  const badRequest = (reason: string): undefined => {
    replyUnauthenticated(core, request, failure(400, reason), now);
  };

  // Step 1: a request without integrity gets the challenge.
  const present = integrityAlgorithms(message);
  if (!present.sha1 && !present.sha256) {
    challenge(core, request, 401, now);
    return undefined;
  }

  // Step 2: what integrity can't be checked without.
  const name = getAttribute(message, username);
  const hash = getAttribute(message, userhash);
  const claimedRealm = findAttribute(message, realm);
  const claimedNonce = findAttribute(message, nonce);
  if ((name === undefined && hash === undefined) || claimedRealm === undefined || claimedNonce === undefined) {
    return badRequest("Bad Request: USERNAME or USERHASH, REALM and NONCE are needed");
  }
  const isOwnRealm = isSame(claimedRealm, message.bytes, core.realm);
  const state = checkNonce(core, claimedNonce, request, method, existing, now);
  // What is ours is well formed: nothing else is looked at as text.
  const isMalformed =
    (!isOwnRealm && getAttribute(message, realm)?.ok === false) ||
    (state === "forged" && getAttribute(message, nonce)?.ok === false);
  if (!(name ?? hash)?.ok || isMalformed) {
    return badRequest("Bad Request: USERNAME, USERHASH, REALM or NONCE is malformed");
  }
  if (state !== "valid") {
    // A made-up nonce is not worth an event: anybody can send millions of them.
    if (state === "stale" && core.wants("authFailed")) {
      const shown = name?.ok ? opaqueString(name.value) : undefined;
      core.event({
        type: "authFailed",
        method,
        reason: "staleNonce",
        ...(shown === undefined ? {} : { username: shown }),
        fiveTuple: core.fiveTuple(client),
        atUnixMs: now.unixMs,
      });
    }
    challenge(core, request, 438, now);
    return undefined;
  }

  // Step 3: the nonces of this server have the password-algorithms bit, so a stripped list shows (§9.2.1).
  const algorithm = readPasswordAlgorithm(core, message);
  if (algorithm === undefined) return badRequest("Bad Request: PASSWORD-ALGORITHM doesn't match what was offered");

  // Step 4: a name that can't be one is an unknown name.
  const prepared = name?.ok ? opaqueString(name.value) : undefined;
  if (!isOwnRealm || (name !== undefined && prepared === undefined)) {
    challenge(core, request, 401, now);
    return undefined;
  }
  const token = getAttribute(message, accessToken);
  return {
    username: prepared,
    userhash: prepared === undefined && hash?.ok ? hash.value : undefined,
    passwordAlgorithm: algorithm.name,
    integrity: present.sha256 ? "sha256" : "sha1",
    answerIntegrity: algorithm.named ? "sha256" : "sha1",
    accessToken: token?.ok ? token.value : undefined,
  };
}

/**
 * A data connection (RFC 6062 §4.3) may come with the nonce of the control connection that it belongs to, from the same
 * address: it needn't be challenged first, for which clients with small buffers have no room.
 */
function checkNonce(
  core: Core,
  value: RawAttribute,
  { message, client }: IncomingRequest,
  method: AuthenticatedMethod,
  existing: Allocation | undefined,
  now: Now,
): NonceState {
  const { bytes } = message;
  const offset = valueOffset(value);
  const isOwner = existing !== undefined && sameTransportAddress(existing.client.remote, client.remote);
  if (isOwner && existing.nonce !== undefined && isSame(value, bytes, existing.nonce)) {
    return core.nonces.checkAgain(existing.nonce, now.unixMs);
  }
  const state = core.nonces.check(bytes, offset, value.length, client.remote, now.unixMs);
  if (isOwner && state === "valid") existing.nonce = bytes.slice(offset, offset + value.length);
  const control = method === "connectionBind" ? existing : undefined;
  if (state !== "forged" || control === undefined || !sameIp(control.client.remote, client.remote)) return state;
  return core.nonces.check(bytes, offset, value.length, control.client.remote, now.unixMs);
}

/** In constant time: one of the values is a MAC. */
function isSame(value: RawAttribute, bytes: Uint8Array, expected: Uint8Array): boolean {
  if (value.length !== expected.length) return false;
  const offset = valueOffset(value);
  let difference = 0;
  for (let i = 0; i < expected.length; i++) difference |= bytes[offset + i]! ^ expected[i]!;
  return difference === 0;
}

function readPasswordAlgorithm(
  core: Core,
  message: StunMessage,
): { readonly name: "md5" | "sha256"; readonly named: boolean } | undefined {
  const chosen = getAttribute(message, passwordAlgorithm);
  const echoed = getAttribute(message, passwordAlgorithms);
  if (chosen === undefined && echoed === undefined) return { name: "md5", named: false };
  if (!chosen?.ok || !echoed?.ok) return undefined;
  const offered = core.passwordAlgorithms.map((name) => passwordAlgorithmNumbers[name]);
  const same =
    echoed.value.length === offered.length &&
    echoed.value.every((entry, i) => entry.algorithm === offered[i] && entry.parameters.length === 0);
  const name = core.passwordAlgorithms.find((known) => passwordAlgorithmNumbers[known] === chosen.value.algorithm);
  if (!same || name === undefined) return undefined;
  return { name, named: true };
}

/**
 * The key stays with the allocation: who made it is known again without asking anybody. Undefined if the claim is
 * another one, for which the authenticator must be asked.
 */
function provenByAllocation(
  core: Core,
  allocation: Allocation,
  claim: Claim,
  message: StunMessage,
  method: AuthenticatedMethod,
): "proven" | (AuthenticationDecision & { readonly kind: "failed" }) | undefined {
  const { credential } = allocation;
  // The key of an access token is in the token, whatever the algorithm for passwords.
  if (!credential.boundsLifetime && claim.passwordAlgorithm !== credential.passwordAlgorithm) return undefined;
  if (claim.username === undefined ? !isUserhashOf(core, claim, credential) : claim.username !== credential.username) {
    return undefined;
  }
  if (!verify(core, message, claim, credential.key)) {
    // RFC 7635 §9: a new token, of the same name but with a key of its own, refreshes what an old one made.
    const renews = method === "refresh" && claim.accessToken !== undefined && !hasAttribute(message, mobilityTicket);
    if (renews && credential.boundsLifetime) return undefined;
    return { kind: "failed", reason: "badCredentials", actor: credential.actor, scheme: credential.scheme };
  }
  return "proven";
}

function verify(core: Core, message: StunMessage, claim: Claim, key: Uint8Array): boolean {
  const minimumBytes = core.options.minimumIntegrityBytes;
  return verifyIntegrity(message, { algorithm: claim.integrity, key, crypto: core.crypto, minimumBytes });
}

function isUserhashOf(core: Core, claim: Claim, credential: Credential): boolean {
  const expected = userhashOf({
    username: credential.username,
    realm: core.options.realm,
    crypto: core.crypto,
  });
  return claim.userhash !== undefined && expected.every((byte, i) => byte === claim.userhash?.[i]);
}

function toRequest(
  core: Core,
  request: IncomingRequest,
  method: AuthenticatedMethod,
  claim: Claim,
  questionId: number,
  now: Now,
): AuthenticationRequest {
  return {
    method,
    ...(claim.username === undefined ? {} : { username: claim.username }),
    ...(claim.userhash === undefined ? {} : { userhash: claim.userhash }),
    ...(claim.accessToken === undefined ? {} : { accessToken: claim.accessToken }),
    realm: core.options.realm,
    passwordAlgorithm: claim.passwordAlgorithm,
    transactionId: request.message.transactionId,
    client: request.client.remote,
    transport: request.client.transport,
    unixMs: now.unixMs,
    questionId,
    checkIntegrity: (key) => verify(core, request.message, claim, key),
  };
}

function settle(
  core: Core,
  request: IncomingRequest,
  method: AuthenticatedMethod,
  claim: Claim,
  decision: AuthenticationDecision,
  now: Now,
  proceed: (authenticated: Authenticated, now: Now) => void,
): void {
  switch (decision.kind) {
    case "authenticated": {
      reportSuccess(core, request, method, decision, now);
      proceed(
        {
          credential: {
            username: decision.username,
            actor: decision.actor,
            scheme: decision.scheme,
            key: decision.key,
            passwordAlgorithm: claim.passwordAlgorithm,
            expiresAtUnixMs: decision.expiresAtUnixMs,
            credentialId: decision.credentialId,
            label: decision.label,
            boundsLifetime: decision.boundsLifetime ?? false,
          },
          proof: { key: decision.key, integrity: claim.answerIntegrity },
        },
        now,
      );
      return;
    }
    case "notRequested":
      reportFailure(core, request, method, claim, { kind: "failed", reason: "unknownActor" }, now);
      challenge(core, request, 401, now);
      return;
    case "failed":
      reportFailure(core, request, method, claim, decision, now);
      if (decision.reason === "unavailable") {
        replyUnauthenticated(core, request, failure(500, "Server Error"), now);
      } else if (decision.reason === "badFormat") {
        replyUnauthenticated(core, request, failure(400, "Bad Request"), now);
      } else {
        challenge(core, request, 401, now);
      }
      return;
    case "discarded":
      return;
    case "pending":
      throw new TypeError("The answer to a pending authentication can't be pending");
  }
}

function reportSuccess(
  core: Core,
  request: IncomingRequest,
  method: AuthenticatedMethod,
  decision: { readonly username: string; readonly actor: string; readonly scheme: string },
  now: Now,
): void {
  if (!core.wants("authSucceeded")) return;
  core.event({
    type: "authSucceeded",
    method,
    username: decision.username,
    actor: decision.actor,
    scheme: decision.scheme,
    fiveTuple: core.fiveTuple(request.client),
    atUnixMs: now.unixMs,
  });
}

function reportFailure(
  core: Core,
  request: IncomingRequest,
  method: AuthenticatedMethod,
  claim: Claim,
  decision: AuthenticationDecision & { readonly kind: "failed" },
  now: Now,
): void {
  if (!core.wants("authFailed")) return;
  core.event({
    type: "authFailed",
    method,
    reason: decision.reason,
    ...(claim.username === undefined ? {} : { username: claim.username }),
    ...(decision.actor === undefined ? {} : { actor: decision.actor }),
    fiveTuple: core.fiveTuple(request.client),
    atUnixMs: now.unixMs,
  });
}
