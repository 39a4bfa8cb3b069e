import { randomUUID } from "node:crypto";
import type { Actor } from "./actor.ts";
import type { Context } from "./context.ts";
import { type Logger, printable, silentLogger } from "./logger.ts";

/** What an internal context may be given. */
export interface InternalOptions {
  /** Default: drops everything. */
  readonly logger?: Logger | undefined;
  /** Default: a random UUID. */
  readonly requestId?: string | undefined;
  /** Ends the work. */
  readonly signal?: AbortSignal | undefined;
}

interface Parts {
  readonly actor: Actor | undefined;
  readonly authentication: Context | undefined;
  readonly requestId: string;
  readonly logger: Logger;
  readonly signal: AbortSignal | undefined;
}

const INTERNAL_NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

// Known to this module only: whoever can't name it can't construct.
const key: unique symbol = Symbol("OperationContext");
let fromAuthentication: (parts: Parts) => OperationContext;

/**
 * On whose behalf an operation runs: the first parameter of everything that touches state. It comes from an
 * {@link Authenticator}, or from {@link OperationContext.internal} for work that no request asked for; nothing else
 * makes one, neither for the type checker (private field) nor at run time.
 */
export class OperationContext {
  readonly #genuine = true;
  /** Who is asking; `undefined` if the request carried no credential. */
  readonly actor: Actor | undefined;
  /** How that is known; `undefined` for internal work. */
  readonly authentication: Context | undefined;
  /** One for each request, in logs and events. */
  readonly requestId: string;
  readonly logger: Logger;
  /** Aborted when nobody waits for the result any more. */
  readonly signal: AbortSignal | undefined;

  private constructor(proof: typeof key, parts: Parts) {
    if (proof !== key) throw new TypeError("Cannot construct an OperationContext: only an Authenticator makes them");
    this.actor = parts.actor;
    this.authentication = parts.authentication;
    this.requestId = parts.requestId;
    this.logger = parts.logger;
    this.signal = parts.signal;
    Object.freeze(this);
  }

  /**
   * A context for the program's own work.
   *
   * @param name what the work is, in kebab case: `session-cleanup`. It stands in logs and events as `builtIn:NAME`
   * @throws TypeError if `name` is not in kebab case
   */
  static internal(name: string, options: InternalOptions = {}): OperationContext {
    if (!INTERNAL_NAME.test(name)) {
      throw new TypeError(`Cannot name an internal context "${printable(name)}": use kebab case, as "session-cleanup"`);
    }
    return new OperationContext(key, {
      actor: Object.freeze({ kind: "builtIn", id: name } as const),
      authentication: undefined,
      requestId: options.requestId ?? randomUUID(),
      logger: options.logger ?? silentLogger,
      signal: options.signal,
    });
  }

  /** Whether `value` is a context that this class made; a look-alike or an `Object.create` of one is not. */
  static isGenuine(value: unknown): value is OperationContext {
    return typeof value === "object" && value !== null && #genuine in value && value.#genuine;
  }

  /**
   * For stores and other keepers of state, at their door.
   *
   * @throws TypeError if `value` is not a genuine context
   */
  static assert(value: unknown): asserts value is OperationContext {
    if (!OperationContext.isGenuine(value)) {
      throw new TypeError("Cannot touch state: an OperationContext of an Authenticator is required");
    }
  }

  static {
    fromAuthentication = (parts) => new OperationContext(key, parts);
  }
}

/** The context of an authenticated or unauthenticated request. For the authenticator; the package does not export it. */
export function operationContextOf(
  authentication: Context,
  rest: { readonly requestId: string; readonly logger: Logger; readonly signal: AbortSignal | undefined },
): OperationContext {
  const actor = authentication.kind === "authenticated" ? authentication.actor : undefined;
  return fromAuthentication({ actor, authentication, ...rest });
}
