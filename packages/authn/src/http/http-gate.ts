import {
  type AuthenticateOptions,
  Authenticator,
  type AuthenticatorOptions,
  type Outcome,
} from "../core/authenticator.ts";
import type { AuthenticatedContext, UnauthenticatedContext } from "../core/context.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import { OperationContext } from "../core/operation-context.ts";
import type { Details, FailureReason } from "../core/scheme.ts";
import type { Verdict } from "../penalties/penalty-box.ts";
import type { Penalties } from "../penalties/penalties.ts";
import type { HttpScheme, OpenApiSecurityScheme } from "./http-scheme.ts";
import { type HttpRejection, httpRejection, type RejectionCause } from "./rejection.ts";
import { type HttpRequest, pathOf } from "./request.ts";

/** Configuration of an {@link HttpGate}. */
export interface HttpGateOptions<D extends Details = Details> extends Omit<
  AuthenticatorOptions<HttpRequest, D>,
  "schemes" | "describe"
> {
  /** In order of precedence. */
  readonly schemes: readonly HttpScheme<D>[];
  /** Names the protection space in challenges (RFC 9110 §11.5). Default `turnpike`. */
  readonly realm?: string;
  /** Slows down who guesses. Default: nobody is slowed down. */
  readonly penalties?: Penalties;
}

/** What one call may be given. */
export interface AdmitOptions extends AuthenticateOptions {
  /** Whether a request without credentials is turned away. Default true. */
  readonly required?: boolean;
}

/** What becomes of a request. */
export type HttpAdmission<D extends Details = Details> =
  | {
      readonly kind: "admitted";
      readonly context: OperationContext;
      readonly authentication: AuthenticatedContext<D> | UnauthenticatedContext;
    }
  | { readonly kind: "rejected"; readonly rejection: HttpRejection }
  /** The client went away while its answer was delayed: there is nobody to answer. */
  | { readonly kind: "aborted" };

/**
 * The door of a group of routes: asks an Authenticator of its own, slows down who guesses, and turns everything but
 * success into the answer that the client gets.
 *
 * @example
 * const gate = new HttpGate({ name: "api", schemes: [sessions, tokens, basic], penalties: new Penalties() });
 * const admission = await gate.admit(fromNodeRequest(request));
 * if (admission.kind === "rejected") sendRejection(response, admission.rejection);
 */
export class HttpGate<D extends Details = Details> {
  readonly authenticator: Authenticator<HttpRequest, D>;
  readonly #schemes: readonly HttpScheme<D>[];
  readonly #challenges: readonly string[];
  readonly #penalties: Penalties | undefined;
  readonly #logger: Logger;

  /** @throws TypeError if a scheme stands in the list twice */
  constructor({ realm = "turnpike", penalties, schemes, ...options }: HttpGateOptions<D>) {
    this.authenticator = new Authenticator({ ...options, schemes, describe: describeRequest });
    this.#schemes = schemes;
    this.#challenges = schemes.flatMap((scheme) => scheme.challenges(realm));
    this.#penalties = penalties;
    this.#logger = options.logger ?? silentLogger;
  }

  /** The challenges of every 401, in the order of the schemes. */
  get challenges(): readonly string[] {
    return this.#challenges;
  }

  /** `components.securitySchemes` of OpenAPI 3.1 for what is configured here. */
  get openApiSecuritySchemes(): Readonly<Record<string, OpenApiSecurityScheme>> {
    return Object.assign({}, ...this.#schemes.map((scheme) => scheme.openApi));
  }

  /** `security` of OpenAPI 3.1: any one of the schemes will do. */
  get openApiSecurity(): readonly Readonly<Record<string, readonly string[]>>[] {
    return Object.keys(this.openApiSecuritySchemes).map((name) => ({ [name]: [] }));
  }

  /** Decides on a request. Never rejects. */
  async admit(request: HttpRequest, { required = true, ...options }: AdmitOptions = {}): Promise<HttpAdmission<D>> {
    const claim = this.#claimOf(request);
    if (this.#penalties === undefined || claim === undefined) {
      return this.#admission(await this.authenticator.authenticate(request, options), request, required);
    }
    const ctx = OperationContext.internal("authentication", {
      ...options,
      logger: options.logger ?? this.#logger,
    });
    const guarded = await this.#penalties.guard(ctx, { address: request.remoteAddress, user: claim.user }, async () => {
      const value = await this.authenticator.authenticate(request, { ...options, requestId: ctx.requestId });
      return { value, verdict: verdictOf(value, claim.scheme) };
    });
    if (guarded.kind === "aborted") return guarded;
    if (guarded.kind === "refused") return this.#reject(guarded);
    return this.#admission(guarded.value, request, required);
  }

  /** The first scheme whose secret is tried, and for whom. */
  #claimOf(request: HttpRequest): { readonly scheme: string; readonly user: string } | undefined {
    for (const scheme of this.#schemes) {
      const user = scheme.claimedUser?.(request);
      if (user !== undefined) return { scheme: scheme.name, user: `${scheme.name} ${user}` };
    }
    return undefined;
  }

  #admission(outcome: Outcome<D>, request: HttpRequest, required: boolean): HttpAdmission<D> {
    switch (outcome.kind) {
      case "authenticated":
        return { kind: "admitted", context: outcome.context, authentication: outcome.authentication };
      case "unauthenticated":
        if (required) return this.#reject({ kind: "credentialsRequired" });
        return { kind: "admitted", context: outcome.context, authentication: outcome.authentication };
      case "failed": {
        const scheme = this.#schemes.find((each) => each.name === outcome.scheme);
        return this.#reject(outcome, scheme?.rejectionHeaders?.(request, outcome.reason));
      }
      default:
        return this.#reject({ kind: "unavailable" });
    }
  }

  #reject(cause: RejectionCause, headers: Readonly<Record<string, string>> = {}): HttpAdmission<D> {
    const rejection = httpRejection(cause, { challenges: this.#challenges });
    return { kind: "rejected", rejection: { ...rejection, headers: { ...rejection.headers, ...headers } } };
  }
}

function describeRequest(request: HttpRequest): { readonly address: string; readonly operation: string } {
  return { address: request.remoteAddress, operation: `${request.method} ${pathOf(request)}` };
}

const GUESSES: Readonly<Record<FailureReason["kind"], boolean>> = {
  unknownActor: true,
  badCredentials: true,
  // Who has an expired credential had it; who sends rubbish guesses nothing.
  expired: false,
  badFormat: false,
  // Who was made to ask by another site has the credential.
  forged: false,
};

/** Only what the claimed scheme says of its own secret counts. */
function verdictOf(outcome: Outcome, scheme: string): Verdict {
  if (outcome.kind === "failed")
    return outcome.scheme === scheme && GUESSES[outcome.reason.kind] ? "failed" : "neutral";
  return outcome.kind === "authenticated" && outcome.authentication.scheme === scheme ? "succeeded" : "neutral";
}
