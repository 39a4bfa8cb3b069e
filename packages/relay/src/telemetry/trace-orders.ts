import type { SpanKind, SpanStatusCode, Tracer } from "@opentelemetry/api";
import type { PortalMessage } from "@turnpike/link";

// As numbers: who traces nothing loads nothing of OpenTelemetry.
const CONSUMER: SpanKind.CONSUMER = 4;
const ERROR: SpanStatusCode.ERROR = 2;

/**
 * Traces what a portal wants of its relay: a span `portal.revoke`, `portal.drain` and so on for each message. How many
 * it names stands in the span, not whom.
 */
export function traceOrders(
  handle: (message: PortalMessage) => void,
  tracer: () => Tracer | undefined,
): (message: PortalMessage) => void {
  return (message) => {
    const span = tracer()?.startSpan(`portal.${message.event}`, {
      kind: CONSUMER,
      attributes: { "messaging.batch.message_count": sizeOf(message) },
    });
    try {
      handle(message);
    } catch (error) {
      span?.setStatus({ code: ERROR, message: error instanceof Error ? error.name : "unknown error" });
      throw error;
    } finally {
      span?.end();
    }
  };
}

function sizeOf(message: PortalMessage): number {
  if (message.event === "revoke") return message.payload.revocations.length;
  return message.event === "quota" ? Object.keys(message.payload.users).length : 1;
}
