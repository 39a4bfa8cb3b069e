import { type DecisionEvent, printable } from "@turnpike/authn";
import type { FleetState } from "./fleet-state.ts";

/** Who came, and who couldn't: not the requests that brought nothing. */
export function publishDecision(fleet: FleetState, event: DecisionEvent): void {
  const { decision, source, atUnixMs } = event;
  if (decision.kind !== "failed" && decision.kind !== "unavailable") return;
  const actor =
    decision.kind === "failed"
      ? decision.reason.kind === "badFormat"
        ? undefined
        : decision.reason.attemptedActor
      : decision.attemptedActor;
  void fleet.publish([
    {
      type: "portalAuthFailed",
      atUnixMs,
      reason: decision.kind === "failed" ? decision.reason.kind : "unavailable",
      ...(actor === undefined ? {} : { actor: printable(actor) }),
      details: {
        scheme: decision.scheme,
        ...(source.address === undefined ? {} : { client: source.address }),
        ...(source.operation === undefined ? {} : { operation: source.operation }),
      },
    },
  ]);
}
