import { randomBytes } from "node:crypto";
import { formatIpAddress, opaqueString, type StunCrypto } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { Authenticator, type Outcome } from "../core/authenticator.ts";
import { type Clock, type Scheduler, systemClock, systemScheduler } from "../core/clock.ts";
import type { DecisionEvent } from "../core/decision.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import type { TurnSchemeName } from "../core/scheme.ts";
import type { PasswordAlgorithm, TurnDecision, TurnRequest } from "./request.ts";
import type { RevocationList } from "./revocations.ts";
import {
  PASSWORD_ALGORITHMS,
  refused,
  type TurnDetails,
  type TurnEnvironment,
  type TurnScheme,
  type TurnSchemeFactory,
  type TurnSchemeResult,
} from "./scheme.ts";

/** What {@link createTurnAuthenticator} needs. */
export interface TurnAuthenticatorOptions {
  /** As the engine has it: keys are made with it. */
  readonly realm: string;
  /** In order of precedence. */
  readonly schemes: readonly TurnSchemeFactory[];
  /** Credentials that are refused although they verify. Default: none. */
  readonly revocations?: RevocationList;
  /** Names it in logs and events. Default `turn`. */
  readonly name?: string;
  /** Default: drops everything. */
  readonly logger?: Logger;
  /** Called once for each decision, after it was logged. */
  readonly onDecision?: (event: DecisionEvent) => void;
  /** Default: `node:crypto`. */
  readonly crypto?: StunCrypto;
  /** For the times of events. Default: the machine's clock. Expiry is judged by each request's own time. */
  readonly clock?: Clock;
  /** For the time-outs of those who are asked. Default: the machine's timers. */
  readonly scheduler?: Scheduler;
}

/** The late answer to a request whose decision was `pending`. */
export interface TurnAnswer {
  /** Of the request. */
  readonly questionId: number;
  readonly request: TurnRequest;
  readonly decision: Exclude<TurnDecision, { readonly kind: "pending" }>;
}

/** Decides on TURN requests. */
export interface TurnAuthenticator {
  /** At once, or `pending`; then every listener of {@link onAnswer} is called exactly once. Never throws. */
  authenticate(request: TurnRequest): TurnDecision;
  /** Listens to late answers; the returned function ends that. */
  onAnswer(callback: (answer: TurnAnswer) => void): () => void;
  /** PASSWORD-ALGORITHMS to offer, in order of preference: those for which every scheme has every key. */
  readonly passwordAlgorithms: readonly PasswordAlgorithm[];
  /** Whether nonces may have the username-anonymity bit: every scheme finds the user of a USERHASH. */
  readonly usernameAnonymity: boolean;
  /** The server name for THIRD-PARTY-AUTHORIZATION in challenges, if `oauth` is configured. */
  readonly thirdPartyAuthorization: string | undefined;
  /** In their order. */
  readonly schemes: readonly TurnSchemeName[];
}

/**
 * Finds out who sends TURN requests, by schemes in their order: each proposes keys and lets the request prove them. What
 * a scheme can't prove it leaves to the next, so that a portal's stamps, several secrets and static users work together
 * in every order.
 *
 * @example
 * const authenticator = createTurnAuthenticator({
 *   realm: "turnpike",
 *   schemes: [staticUsers({ users: [{ name: "alice", password: "correct horse" }] }), sharedSecrets({ secrets: ["north"] })],
 * });
 * const decision = authenticator.authenticate(request);
 * @throws TypeError if the realm is no OpaqueString, a scheme stands in the list twice, a scheme's own configuration is
 *   wrong, or no password algorithm is served by all schemes.
 */
export function createTurnAuthenticator(options: TurnAuthenticatorOptions): TurnAuthenticator {
  const { realm, name = "turn", logger = silentLogger, clock = systemClock, onDecision, revocations } = options;
  if (opaqueString(realm) !== realm) {
    throw new TypeError(
      "Cannot use this realm: it is empty, has control characters, or is not in normalization form C",
    );
  }
  const decoys = { md5: randomBytes(16), sha256: randomBytes(32) };
  const environment: TurnEnvironment = {
    realm,
    crypto: options.crypto ?? nodeCrypto,
    clock,
    scheduler: options.scheduler ?? systemScheduler,
    decoyKey: (algorithm) => decoys[algorithm],
  };
  const schemes = options.schemes.map((factory) => factory(environment));
  const authenticator = new Authenticator<TurnRequest, TurnDetails>({
    name,
    schemes: revocations === undefined ? schemes : schemes.map((scheme) => withRevocations(scheme, revocations)),
    logger,
    clock,
    ...(onDecision === undefined ? {} : { onDecision }),
    describe: (request) => ({ address: formatIpAddress(request.client), operation: request.method }),
  });
  const listeners = new Set<(answer: TurnAnswer) => void>();
  const answer = (request: TurnRequest, outcome: Outcome<TurnDetails>): void => {
    for (const listener of listeners) {
      try {
        listener({ questionId: request.questionId, request, decision: decisionOf(outcome) });
      } catch (error) {
        logger.error({ authenticator: name, error: String(error) }, "a listener to late answers failed");
      }
    }
  };

  return {
    authenticate(request) {
      const outcome = authenticator.decide(request);
      if (!(outcome instanceof Promise)) return decisionOf(outcome);
      void outcome.then((late) => answer(request, late));
      return { kind: "pending" };
    },
    onAnswer(callback) {
      listeners.add(callback);
      return () => void listeners.delete(callback);
    },
    passwordAlgorithms: commonAlgorithms(schemes),
    usernameAnonymity: schemes.length > 0 && schemes.every((scheme) => scheme.resolvesUserhash),
    thirdPartyAuthorization: schemes.find((scheme) => scheme.thirdPartyAuthorization !== undefined)
      ?.thirdPartyAuthorization,
    schemes: schemes.map((scheme) => scheme.name),
  };
}

function decisionOf(outcome: Outcome<TurnDetails>): TurnAnswer["decision"] {
  switch (outcome.kind) {
    case "authenticated": {
      const { actor, scheme, details } = outcome.authentication;
      const { username, key, expiresAtUnixMs, boundsLifetime, credentialId, label } = details;
      return {
        kind: "authenticated",
        username,
        actor: actor.id,
        scheme,
        key: key.revealBytes(),
        ...(expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs }),
        ...(boundsLifetime === undefined ? {} : { boundsLifetime }),
        ...(credentialId === undefined ? {} : { credentialId }),
        ...(label === undefined ? {} : { label }),
      };
    }
    case "unauthenticated":
      return { kind: "notRequested" };
    case "failed": {
      const { reason, scheme } = outcome;
      const actor = reason.kind === "badFormat" ? undefined : reason.attemptedActor;
      // Nobody's browser sends TURN's credentials for another site: no scheme of TURN says `forged`.
      const kind = reason.kind === "forged" ? "badCredentials" : reason.kind;
      return { kind: "failed", reason: kind, scheme, ...(actor === undefined ? {} : { actor }) };
    }
    case "unavailable":
      break;
  }
  return { kind: "failed", reason: "unavailable", scheme: outcome.scheme };
}

/** Refuses what it proves, if that is revoked: the request is this scheme's, so no other is asked. */
function withRevocations(scheme: TurnScheme, revocations: RevocationList): TurnScheme {
  const check = (request: TurnRequest, result: TurnSchemeResult): TurnSchemeResult => {
    if (result.kind !== "authenticated") return result;
    const { actor, details } = result;
    const revoked = revocations.isRevoked({ ...details, actor: actor.id }, { nowUnixMs: request.unixMs });
    return revoked ? refused("badCredentials", { user: actor.id, note: "revoked" }) : result;
  };
  return {
    ...scheme,
    authenticate(ctx, request) {
      const result = scheme.authenticate(ctx, request);
      return result instanceof Promise ? result.then((late) => check(request, late)) : check(request, result);
    },
  };
}

function commonAlgorithms(schemes: readonly TurnScheme[]): readonly PasswordAlgorithm[] {
  const common = PASSWORD_ALGORITHMS.filter((algorithm) =>
    schemes.every((scheme) => scheme.passwordAlgorithms.includes(algorithm)),
  );
  if (common.length === 0) {
    throw new TypeError("Cannot use these schemes together: no password algorithm is served by all of them");
  }
  return common;
}
