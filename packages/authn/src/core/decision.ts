import { type LogFields, type Logger, printable } from "./logger.ts";
import type { FailureReason, SchemeName, SchemesTried } from "./scheme.ts";

/** Where a request came from, as far as an event says it. Absent: not known. */
export interface DecisionSource {
  /** The client's address, without a port. */
  readonly address?: string;
  /** What was asked for, such as `GET /v1/tokens` or `allocate`. Without a query: it may hold a token. */
  readonly operation?: string;
}

/** What was decided. Names are as they came, so make them {@link printable} before they are printed. */
export type Decision =
  | {
      readonly kind: "authenticated";
      /** Such as `user:alice`. */
      readonly actor: string;
      readonly scheme: SchemeName;
      readonly credentialId: string | undefined;
    }
  | { readonly kind: "unauthenticated" }
  | { readonly kind: "failed"; readonly scheme: SchemeName; readonly reason: FailureReason }
  | {
      readonly kind: "unavailable";
      readonly scheme: SchemeName;
      readonly attemptedActor: string | undefined;
      readonly cause: string;
    };

/** One decision of an authenticator. For operators: nothing of it may reach the client. */
export interface DecisionEvent {
  readonly decision: Decision;
  /** Name of the authenticator. */
  readonly authenticator: string;
  readonly requestId: string;
  readonly schemesTried: SchemesTried;
  readonly source: DecisionSource;
  /** Wall-clock milliseconds since 1970. */
  readonly atUnixMs: number;
}

/**
 * Writes a decision as one line: success and absence at `debug`, failure at `info`, unavailability at `warn`. The
 * client's address is not in it. All text from outside is escaped and cut.
 */
export function logDecision(logger: Logger, event: DecisionEvent): void {
  const { decision } = event;
  const common: LogFields = {
    authenticator: event.authenticator,
    requestId: event.requestId,
    outcome: decision.kind,
    schemesTried: event.schemesTried,
    ...(event.source.operation === undefined ? {} : { operation: printable(event.source.operation) }),
  };
  switch (decision.kind) {
    case "authenticated":
      logger.debug(
        {
          ...common,
          actor: decision.actor,
          scheme: decision.scheme,
          ...(decision.credentialId === undefined ? {} : { credentialId: printable(decision.credentialId) }),
        },
        "authenticated",
      );
      return;
    case "unauthenticated":
      logger.debug(common, "no credential was presented");
      return;
    case "failed":
      logger.info({ ...common, scheme: decision.scheme, ...reasonFields(decision.reason) }, "authentication failed");
      return;
    case "unavailable":
      logger.warn(
        {
          ...common,
          scheme: decision.scheme,
          ...(decision.attemptedActor === undefined ? {} : { actor: printable(decision.attemptedActor) }),
          cause: decision.cause,
        },
        "authentication is unavailable",
      );
  }
}

function reasonFields(reason: FailureReason): LogFields {
  if (reason.kind === "badFormat") return { reason: reason.kind, detail: printable(reason.detail) };
  if (reason.kind === "forged") {
    return { reason: reason.kind, detail: printable(reason.detail), actor: printable(reason.attemptedActor) };
  }
  return {
    reason: reason.kind,
    ...(reason.attemptedActor === undefined ? {} : { actor: printable(reason.attemptedActor) }),
    ...(reason.note === undefined ? {} : { note: printable(reason.note) }),
  };
}
