import {
  createTurnAuthenticator,
  portalStamps,
  sharedSecrets,
  staticUsers,
  type TurnAuthenticator,
} from "@turnpike/authn/turn";
import type { Authenticate } from "@turnpike/relay";
import type { Credentials } from "../config/credentials.ts";
import type { Logger } from "../log.ts";
import type { LinkParts } from "./link.ts";

/** Makes the authenticator of a relay: stamps of its portal, static users, then shared secrets. */
export function createAuthenticator(options: {
  readonly realm: string;
  readonly credentials: Credentials;
  readonly logger: Logger;
  readonly link?: LinkParts | undefined;
}): TurnAuthenticator {
  const { realm, credentials, logger, link } = options;
  const { users, sharedSecrets: secrets } = credentials;
  const schemes = [
    ...(link === undefined ? [] : [portalStamps({ stampSecrets: [link.stampSecret] })]),
    ...(users.length > 0 ? [staticUsers({ users })] : []),
    ...(secrets.length > 0 || link !== undefined
      ? [sharedSecrets({ secrets: () => [...secrets, ...(link?.orders.fleetSecrets ?? [])] })]
      : []),
  ];
  return createTurnAuthenticator({ realm, schemes, logger, ...(link && { revocations: link.revocations }) });
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
