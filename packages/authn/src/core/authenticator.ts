import { randomUUID } from "node:crypto";
import { actorLabel } from "./actor.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { AuthenticatedContext, UnauthenticatedContext } from "./context.ts";
import { type Decision, type DecisionEvent, type DecisionSource, logDecision } from "./decision.ts";
import { type Logger, printable, silentLogger } from "./logger.ts";
import { OperationContext, operationContextOf } from "./operation-context.ts";
import type { Details, FailureReason, Scheme, SchemeName, SchemeResult } from "./scheme.ts";

/** What an authenticator says of a request. Only the first two let it go on. */
export type Outcome<D extends Details = Details> =
  | {
      readonly kind: "authenticated";
      readonly context: OperationContext;
      readonly authentication: AuthenticatedContext<D>;
    }
  | {
      readonly kind: "unauthenticated";
      readonly context: OperationContext;
      readonly authentication: UnauthenticatedContext;
    }
  | {
      readonly kind: "failed";
      readonly reason: FailureReason;
      readonly scheme: SchemeName;
      readonly requestId: string;
    }
  | { readonly kind: "unavailable"; readonly scheme: SchemeName; readonly requestId: string };

/** Configuration of an {@link Authenticator}. */
export interface AuthenticatorOptions<Request, D extends Details = Details> {
  /** Names the listener or group of routes in logs and events, such as `portal-api`. */
  readonly name: string;
  /** In order of precedence. Empty: every request is unauthenticated. */
  readonly schemes: readonly Scheme<Request, D>[];
  /** Default: drops everything. */
  readonly logger?: Logger;
  /** Called once for each decision, after it was logged. What it throws is logged and harms nothing. */
  readonly onDecision?: (event: DecisionEvent) => void;
  /** Where a request comes from, for the event. It must name no secret: a path without its query, for example. */
  readonly describe?: (request: Request) => DecisionSource;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Default: random UUIDs. */
  readonly createRequestId?: () => string;
}

/** What one call may be given. */
export interface AuthenticateOptions {
  /** The request's id, if it has one by now. Default: a fresh one. */
  readonly requestId?: string | undefined;
  /** Default: the authenticator's. */
  readonly logger?: Logger | undefined;
  /** Aborted when the client is gone. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds out who is asking, by schemes in their order: the first answer other than `notRequested` decides. One belongs to
 * a listener or a group of routes, so that what is accepted there stands in one place.
 *
 * @example
 * const authenticator = new Authenticator({ name: "api", schemes: [accessToken, basic] });
 * const outcome = await authenticator.authenticate(request);
 * if (outcome.kind === "authenticated") await listTokens(outcome.context);
 */
export class Authenticator<Request, D extends Details = Details> {
  readonly name: string;
  readonly schemes: readonly Scheme<Request, D>[];
  readonly #logger: Logger;
  readonly #onDecision: ((event: DecisionEvent) => void) | undefined;
  readonly #describe: ((request: Request) => DecisionSource) | undefined;
  readonly #clock: Clock;
  readonly #createRequestId: () => string;

  /** @throws TypeError if a scheme stands in the list twice */
  constructor(options: AuthenticatorOptions<Request, D>) {
    const names = options.schemes.map((scheme) => scheme.name);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) {
      throw new TypeError(`Cannot configure authentication of "${options.name}": scheme "${twice}" is listed twice`);
    }
    this.name = options.name;
    this.schemes = [...options.schemes];
    this.#logger = options.logger ?? silentLogger;
    this.#onDecision = options.onDecision;
    this.#describe = options.describe;
    this.#clock = options.clock ?? systemClock;
    this.#createRequestId = options.createRequestId ?? randomUUID;
  }

  /** Decides on a request. Never rejects: what a scheme throws is `unavailable`. */
  async authenticate(request: Request, options: AuthenticateOptions = {}): Promise<Outcome<D>> {
    return this.decide(request, options);
  }

  /**
   * As {@link authenticate}, for callers that can't wait where nobody has to: the outcome itself if every scheme that
   * was asked answered at once, otherwise a promise of it (which never rejects).
   */
  decide(request: Request, options: AuthenticateOptions = {}): Outcome<D> | Promise<Outcome<D>> {
    // A client may have chosen it, and it stands in every line that is logged for this request.
    const requestId = printable(options.requestId ?? this.#createRequestId());
    const logger = options.logger ?? this.#logger;
    const { signal } = options;
    const own = OperationContext.internal("authentication", { logger, requestId, signal });
    return this.#askFrom(0, { request, own, tried: [], unproven: undefined });
  }

  #askFrom(first: number, chain: Chain<Request>): Outcome<D> | Promise<Outcome<D>> {
    for (let index = first; index < this.schemes.length; index++) {
      const scheme = this.schemes[index]!;
      chain.tried.push(scheme.name);
      let result: SchemeResult<D> | Promise<SchemeResult<D>>;
      try {
        result = scheme.authenticate(chain.own, chain.request);
      } catch (cause) {
        result = { kind: "unavailable", cause };
      }
      if (result instanceof Promise) {
        return result
          .catch((cause: unknown): SchemeResult<D> => ({ kind: "unavailable", cause }))
          .then((later) => this.#take(later, scheme, chain) ?? this.#askFrom(index + 1, chain));
      }
      const outcome = this.#take(result, scheme, chain);
      if (outcome !== undefined) return outcome;
    }
    if (chain.unproven !== undefined) {
      return this.#failed(chain.unproven.reason, chain.unproven.scheme, chain);
    }
    const authentication: UnauthenticatedContext = { kind: "unauthenticated", schemesTried: chain.tried };
    this.#report({ kind: "unauthenticated" }, chain);
    return { kind: "unauthenticated", context: contextFor(authentication, chain), authentication };
  }

  /** The outcome, if this result decides. */
  #take(result: SchemeResult<D>, scheme: Scheme<Request, D>, chain: Chain<Request>): Outcome<D> | undefined {
    switch (result.kind) {
      case "notRequested":
        if (result.unproven !== undefined && saysMore(result.unproven, chain.unproven?.reason)) {
          chain.unproven = { reason: result.unproven, scheme: scheme.name };
        }
        break;
      case "authenticated": {
        const { actor, details } = result;
        const authentication: AuthenticatedContext<D> = {
          kind: "authenticated",
          actor,
          scheme: scheme.name,
          schemesTried: chain.tried,
          details,
        };
        this.#report(
          { kind: "authenticated", actor: actorLabel(actor), scheme: scheme.name, credentialId: details.credentialId },
          chain,
        );
        return { kind: "authenticated", context: contextFor(authentication, chain), authentication };
      }
      case "failed":
        return this.#failed(result.reason, scheme.name, chain);
      case "unavailable":
        this.#report(
          {
            kind: "unavailable",
            scheme: scheme.name,
            attemptedActor: result.attemptedActor,
            cause: causeText(result.cause),
          },
          chain,
        );
        return { kind: "unavailable", scheme: scheme.name, requestId: chain.own.requestId };
    }
    return undefined;
  }

  #failed(reason: FailureReason, scheme: SchemeName, chain: Chain<Request>): Outcome<D> {
    this.#report({ kind: "failed", scheme, reason }, chain);
    return { kind: "failed", reason, scheme, requestId: chain.own.requestId };
  }

  #report(decision: Decision, chain: Chain<Request>): void {
    const { logger, requestId } = chain.own;
    try {
      const event: DecisionEvent = {
        decision,
        authenticator: this.name,
        requestId,
        schemesTried: chain.tried,
        source: this.#describe?.(chain.request) ?? {},
        atUnixMs: this.#clock.unixMs(),
      };
      logDecision(logger, event);
      this.#onDecision?.(event);
    } catch (error) {
      logger.error(
        { authenticator: this.name, error: causeText(error) },
        "a listener to authentication decisions failed",
      );
    }
  }
}

/** What is known while the schemes are asked. */
interface Chain<Request> {
  readonly request: Request;
  readonly own: OperationContext;
  readonly tried: SchemeName[];
  unproven: { readonly reason: FailureReason; readonly scheme: SchemeName } | undefined;
}

/** The first reason counts, but one of a known actor more than one of an unknown. */
function saysMore(reason: FailureReason, known: FailureReason | undefined): boolean {
  return known === undefined || (known.kind === "unknownActor" && reason.kind !== "unknownActor");
}

function contextFor(
  authentication: AuthenticatedContext | UnauthenticatedContext,
  { own }: { readonly own: OperationContext },
): OperationContext {
  return operationContextOf(authentication, { requestId: own.requestId, logger: own.logger, signal: own.signal });
}

const CAUSE_LENGTH = 256;

function causeText(cause: unknown): string {
  return printable(cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause), {
    maxLength: CAUSE_LENGTH,
  });
}
