import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import type { PortalMessage } from "@turnpike/link";
import { describe, expect, it } from "vitest";
import { traceOrders } from "./trace-orders.ts";

const REVOKE: PortalMessage = {
  event: "revoke",
  payload: {
    revocations: ["1:alice.x", "1:alice.y"].map((value) => ({ by: "username", value, until_unix_ms: 1 })),
  },
};

describe("traceOrders", () => {
  it("has a span for each order, by its kind and size, and not whom it is about", () => {
    const spans = new InMemorySpanExporter();
    const tracer = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }).getTracer("test");
    const handled: string[] = [];
    const handle = traceOrders(
      ({ event }) => {
        handled.push(event);
        if (event === "drain") throw new TypeError("alice");
      },
      () => tracer,
    );
    handle(REVOKE);
    handle({ event: "quota", payload: { users: { alice: 3 } } });
    handle({ event: "end_allocation", payload: { allocation: "a1" } });
    expect(() => handle({ event: "drain", payload: {} })).toThrow(TypeError);
    expect(handled).toEqual(["revoke", "quota", "end_allocation", "drain"]);
    const made = spans.getFinishedSpans().map(({ name, attributes, status }) => ({ name, attributes, status }));
    expect(made.map(({ name, attributes }) => [name, attributes["messaging.batch.message_count"]])).toEqual([
      ["portal.revoke", 2],
      ["portal.quota", 1],
      ["portal.end_allocation", 1],
      ["portal.drain", 1],
    ]);
    expect(made.at(-1)!.status).toEqual({ code: 2, message: "TypeError" });
    expect(JSON.stringify(made)).not.toContain("alice");
  });

  it("does what it is told without a tracer", () => {
    const handled: unknown[] = [];
    traceOrders(
      (message) => void handled.push(message),
      () => undefined,
    )(REVOKE);
    expect(handled).toEqual([REVOKE]);
  });
});
