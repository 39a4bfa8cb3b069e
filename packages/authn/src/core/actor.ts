import { printable } from "./logger.ts";

/** A person, or a device that acts as one. */
export interface UserActor {
  readonly kind: "user";
  /** Stable and unique among users; what quotas, revocations and records refer to. */
  readonly id: string;
  /** What people call it, if that isn't the id. */
  readonly name?: string;
  readonly roles: readonly string[];
}

/** A relay of the fleet. */
export interface RelayActor {
  readonly kind: "relay";
  readonly id: string;
}

/** A program of somebody's: a back end that mints credentials, a scraper. */
export interface ServiceActor {
  readonly kind: "service";
  readonly id: string;
  readonly roles: readonly string[];
}

/** This program itself, at work for no request: only {@link OperationContext.internal} makes it. */
export interface BuiltInActor {
  readonly kind: "builtIn";
  /** What it is at, such as `session-cleanup`. */
  readonly id: string;
}

/** Who is asking. Closed: a `switch` over `kind` that forgets one doesn't compile. */
export type Actor = UserActor | RelayActor | ServiceActor | BuiltInActor;

/** Who may come from outside, by a request: everyone but the program itself. */
export type ExternalActor = Exclude<Actor, BuiltInActor>;

/** One safe token for logs and events, such as `user:alice`. */
export function actorLabel(actor: Actor): string {
  return `${actor.kind}:${printable(actor.id)}`;
}
