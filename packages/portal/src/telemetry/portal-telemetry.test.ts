import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { describe, expect, it } from "vitest";
import { METHODS, PORTAL_METRICS } from "./metric-table.ts";
import { PortalTelemetry } from "./portal-telemetry.ts";

function setUp() {
  const spans = new InMemorySpanExporter();
  const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const telemetry = new PortalTelemetry({ meter: meters.getMeter("test"), tracer: tracers.getTracer("test") });
  return {
    telemetry,
    spans: () => spans.getFinishedSpans(),
    metrics: async () => {
      await meters.forceFlush();
      const exported = metrics.getMetrics().slice();
      await meters.shutdown();
      return exported.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    },
  };
}

describe("PortalTelemetry", () => {
  it("makes every metric of the table, with its labels alone", async () => {
    const { telemetry, metrics } = setUp();
    telemetry.observe({ linkedRelays: () => 3, eventStreams: () => 2, isFleetWhole: () => false });
    telemetry.countAuthentication("authenticated", "access-token");
    telemetry.countAuthentication("unauthenticated", undefined);
    telemetry.countMinted(2);
    telemetry.countOrder("revoke");
    telemetry.endRequest(undefined, { method: "BREW", route: undefined, status: 404, seconds: 0.02 });
    const made = await metrics();
    expect(made.map(({ descriptor }) => descriptor.name).toSorted()).toEqual(
      Object.values(PORTAL_METRICS)
        .map(({ name }) => name)
        .toSorted(),
    );
    for (const definition of Object.values(PORTAL_METRICS)) {
      const { descriptor, dataPoints } = made.find((metric) => metric.descriptor.name === definition.name)!;
      expect(descriptor).toMatchObject({ unit: definition.unit, description: definition.description });
      for (const { attributes } of dataPoints) {
        for (const label of Object.keys(attributes)) expect(Object.keys(definition.labels)).toContain(label);
      }
    }
    const valuesOf = (name: string): readonly unknown[] =>
      made.find(({ descriptor }) => descriptor.name === name)!.dataPoints.map(({ value }) => value);
    expect(valuesOf("turnpike.portal.relays.linked")).toEqual([3]);
    expect(valuesOf("turnpike.portal.fleet.whole")).toEqual([0]);
    expect(valuesOf("turnpike.portal.authentications")).toEqual([1, 1]);
    const [request] = made.find(({ descriptor }) => descriptor.name === "http.server.request.duration")!.dataPoints;
    expect(request!.attributes).toEqual({ "http.request.method": "_OTHER", "http.response.status_code": 404 });
  });

  it("names the span of a request by method and route, and marks the portal's own errors", () => {
    const { telemetry, spans } = setUp();
    const request = { method: "POST", route: "/v1/credentials" };
    telemetry.endRequest(telemetry.startRequest(request), { ...request, status: 201, seconds: 0.1 });
    telemetry.endRequest(telemetry.startRequest(request), { ...request, status: 503, seconds: 0.1 });
    telemetry.endRequest(telemetry.startRequest({ method: "GET", route: undefined }), {
      method: "GET",
      route: undefined,
      status: 404,
      seconds: 0.1,
    });
    expect(spans().map(({ name, status }) => [name, status.code])).toEqual([
      ["POST /v1/credentials", 0],
      ["POST /v1/credentials", 2],
      ["GET", 0],
    ]);
    expect(METHODS).toContain(spans()[0]!.attributes["http.request.method"]);
  });

  it("traces what fails without what the error says", async () => {
    const { telemetry, spans } = setUp();
    await expect(telemetry.trace("relay.link", {}, () => Promise.reject(new TypeError("tp_secret")))).rejects.toThrow(
      "tp_secret",
    );
    expect(spans()).toMatchObject([{ name: "relay.link", status: { code: 2, message: "TypeError" } }]);
    expect(JSON.stringify(spans().map(({ status, attributes, events }) => [status, attributes, events]))).not.toContain(
      "secret",
    );
  });
});
