import { createTurnAuthenticator, sharedSecrets, staticUsers, type TurnAuthenticator } from "@turnpike/authn/turn";
import type { Authenticate } from "@turnpike/relay";
import type { Credentials } from "../config/credentials.ts";
import type { Logger } from "../log.ts";

/** Makes the authenticator of a relay: static users, then shared secrets. */
export function createAuthenticator(options: {
  readonly realm: string;
  readonly credentials: Credentials;
  readonly logger: Logger;
}): TurnAuthenticator {
  const { realm, credentials, logger } = options;
  const { users, sharedSecrets: secrets } = credentials;
  const schemes = [
    ...(users.length > 0 ? [staticUsers({ users })] : []),
    ...(secrets.length > 0 ? [sharedSecrets({ secrets })] : []),
  ];
  return createTurnAuthenticator({ realm, schemes, logger });
}

/** The authenticator as the relay asks it: late answers find the question that they belong to. */
export function askAuthenticator(authenticator: TurnAuthenticator): Authenticate {
  const waiting = new WeakMap<object, Parameters<Authenticate>[1]>();
  authenticator.onAnswer(({ request, decision }) => {
    waiting.get(request)?.(decision);
    waiting.delete(request);
  });
  return (request, settle) => {
    const decision = authenticator.authenticate(request);
    if (decision.kind === "pending") waiting.set(request, settle);
    return decision;
  };
}
