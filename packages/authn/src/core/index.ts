export {
  type Actor,
  actorLabel,
  type BuiltInActor,
  type ExternalActor,
  type RelayActor,
  type ServiceActor,
  type UserActor,
} from "./actor.ts";
export { type AuthenticateOptions, Authenticator, type AuthenticatorOptions, type Outcome } from "./authenticator.ts";
export { type Clock, type Scheduler, systemClock, systemScheduler } from "./clock.ts";
export type { AuthenticatedContext, Context, UnauthenticatedContext } from "./context.ts";
export type { Decision, DecisionEvent, DecisionSource } from "./decision.ts";
export { type LogFields, type Logger, printable, silentLogger } from "./logger.ts";
export { type InternalOptions, OperationContext } from "./operation-context.ts";
export {
  type Details,
  type FailureReason,
  HTTP_SCHEME_NAMES,
  type HttpSchemeName,
  type Scheme,
  type SchemeName,
  type SchemeResult,
  type SchemesTried,
  TURN_SCHEME_NAMES,
  type TurnSchemeName,
} from "./scheme.ts";
export { Secret } from "./secret.ts";
