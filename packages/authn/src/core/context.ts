import type { ExternalActor } from "./actor.ts";
import type { Details, SchemeName, SchemesTried } from "./scheme.ts";

/** A request whose credential was proven. */
export interface AuthenticatedContext<D extends Details = Details> {
  readonly kind: "authenticated";
  readonly actor: ExternalActor;
  readonly scheme: SchemeName;
  readonly schemesTried: SchemesTried;
  readonly details: D;
}

/** A request that carried no credential. Not an error: what it may do is for authorization to say. */
export interface UnauthenticatedContext {
  readonly kind: "unauthenticated";
  readonly schemesTried: SchemesTried;
}

/** Who is asking, and how that is known. */
export type Context<D extends Details = Details> = AuthenticatedContext<D> | UnauthenticatedContext;
