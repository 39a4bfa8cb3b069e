import { bench, benchReportJson, formatBenchProgress, formatBenchReport, type BenchProgress } from "@turnpike/client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TestAuthority } from "../../support/certificates.ts";
import { EngineServer } from "../../support/engine-server.ts";

const ALICE = { username: "alice", credential: "wonderland" };
const TRANSPORTS = ["udp", "tcp", "tls", "dtls", "ws", "wss"] as const;
const authority = new TestAuthority();
const certificate = authority.issue(["127.0.0.1"]);
const tls = { ca: authority.ca };
let server: EngineServer;

beforeEach(async () => {
  server = await EngineServer.start({ transports: TRANSPORTS, certificate });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
});

describe("bench", () => {
  test.each(TRANSPORTS)("every datagram is counted over %s", async (transport) => {
    const progress: BenchProgress[] = [];
    const report = await bench(server.uri(transport), {
      ...ALICE,
      tls,
      flows: 3,
      rate: 50,
      seconds: 1,
      size: 200,
      onProgress: (each) => progress.push(each),
    });
    if (report.kind !== "traffic") throw new TypeError("Expected a report of traffic");
    expect(report).toMatchObject({ transport, flows: 3, sizeBytes: 200, sent: 150, duplicated: 0, notSent: 0 });
    expect(report.received + report.lost).toBe(150);
    expect(report.received).toBeGreaterThan(100);
    expect(report.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(report.received);
    const { min, p50, p90, p99, max } = report.rttMs!;
    expect([min, p50, p90, p99, max]).toEqual([min, p50, p90, p99, max].toSorted((a, b) => a - b));
    expect(progress.some(({ phase }) => phase === "sending")).toBe(true);
    expect(formatBenchReport(report, { color: false })).toContain("flows        3, 50 datagrams/s each of 200 bytes");
    expect(JSON.parse(benchReportJson([report]))).toMatchObject({ benches: [{ kind: "traffic", sent: 150 }] });
    expect(server.server.allocationCount).toBe(0);
  });

  test("allocations: how many, and why others failed", async () => {
    const good = await bench(server.uri("udp"), { ...ALICE, allocate: true, flows: 4, seconds: 0.5 });
    if (good.kind !== "allocations") throw new TypeError("Expected a report of allocations");
    expect(good).toMatchObject({ flows: 4, failed: 0, failures: {} });
    expect(good.allocated).toBeGreaterThan(0);
    const bad = await bench(server.uri("udp"), { ...ALICE, credential: "no", allocate: true, flows: 2, seconds: 0.2 });
    if (bad.kind !== "allocations") throw new TypeError("Expected a report of allocations");
    expect(bad.allocated).toBe(0);
    expect(Object.values(bad.failures)).toEqual([bad.failed]);
    expect(formatBenchReport(bad, { color: false })).toContain("doesn't accept the user name and credential");
    expect(server.server.allocationCount).toBe(0);
  });

  test.each([
    ["turn", "tcp", "tcp"],
    ["turn", "tls", "tls"],
    ["turn", "dtls", "dtls"],
    ["turns", "udp", "dtls"],
    ["turns", "tcp", "tls"],
    ["turns", "ws", "wss"],
  ] as const)("%s: with the transport %s goes by %s: a secure URI stays secure", async (scheme, transport, used) => {
    const { port } = server.listening.get(used)!;
    const report = await bench(`${scheme}:127.0.0.1:${port}`, { ...ALICE, tls, transport, seconds: 0.1 });
    expect(report.transport).toBe(used);
  });

  test("an allocation that can't be had ends it; an abort too; both leave nothing", async () => {
    await expect(bench(server.uri("udp"), { ...ALICE, credential: "no", flows: 3 })).rejects.toMatchObject({
      code: "unauthenticated",
    });
    const controller = new AbortController();
    const running = bench(server.uri("udp"), {
      ...ALICE,
      flows: 2,
      seconds: 60,
      signal: controller.signal,
      onProgress: ({ phase }) => phase === "sending" && controller.abort(new Error("enough")),
    });
    await expect(running).rejects.toThrow("enough");
    expect(server.server.allocationCount).toBe(0);
  });

  test.each([
    { flows: 0 },
    { flows: 1.5 },
    { size: 19 },
    { size: 65_508 },
    { rate: 0 },
    { seconds: 0 },
    { seconds: Number.NaN },
    { flows: 10_000, rate: 100_000, seconds: 3600 },
  ])("refuses %j", async (options) => {
    await expect(bench(server.uri("udp"), { ...ALICE, ...options })).rejects.toThrow(RangeError);
  });
});

test("the progress line", () => {
  expect(formatBenchProgress({ phase: "sending", fraction: 0.5, sent: 10, received: 9 })).toBe(
    "sending    [###############---------------]  50 %  sent 10  received 9",
  );
});
