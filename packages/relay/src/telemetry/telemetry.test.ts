import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { OUTCOME } from "@turnpike/xdp";
import { afterEach, describe, expect, it, vi } from "vitest";
import { PlaneCounters } from "../planes/counters.ts";
import type { RelayStats } from "../relay.ts";
import { startHealth } from "./health.ts";
import { discoverMachine, parseMetadataMethod } from "./metadata.ts";
import { EVENT_REASONS, EVENT_TYPES, METRICS, metricsReference } from "./metric-table.ts";
import { RelayMetrics } from "./relay-metrics.ts";
import {
  otlpFromEnvironment,
  startTelemetry,
  startWhenScraped,
  type Telemetry,
  type TelemetryOptions,
} from "./telemetry.ts";

const clean: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of clean.splice(0).toReversed()) await each();
  vi.unstubAllEnvs();
});

function stats(): RelayStats {
  return {
    allocations: 3,
    draining: false,
    relaySockets: 3,
    reservedPorts: 1,
    portsInUse: 4,
    portsSetAside: 0,
    suppressedReplies: 7,
    internalErrors: 0,
    traffic: { ...new PlaneCounters().snapshot(), packetsFromClients: 11, bytesToPeers: 1_200, oversized: 2 },
    kernel: {
      interfaces: [],
      maps: [],
      channels: 1,
      maxChannels: 4,
      refused: 0,
      hops: { known: 2, unusable: 0 },
      traffic: { packetsToPeer: 100, bytesToPeer: 17_200, packetsToClient: 0, bytesToClient: 0 },
      outcomes: { ...OUTCOME },
    },
    events: { handlerErrors: 21, handlersRunning: 22, handlerDrops: 23, streamDrops: 24 },
    penalties: { failures: 31, discarded: 32, automaticBans: 33, waiting: 34, sources: 35, bans: 36 },
    heldBack: { requests: 41, challenges: 42, allocations: 43 },
    streams: {
      connections: 51,
      accepted: 52,
      refused: 53,
      failedHandshakes: 54,
      malformed: 55,
      idle: 56,
      droppedDatagrams: 57,
      unread: 58,
      peerConnections: 59,
    },
  };
}

async function start(options: Partial<TelemetryOptions>): Promise<Telemetry> {
  const telemetry = await startTelemetry({ version: "0.1.0", exportMs: 50, ...options });
  clean.push(() => telemetry.stop());
  return telemetry;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** What {@link stats} says of connections, and of what was denied or missed. */
const DENIALS = [
  'events_dropped_total{receiver="handler"} 23',
  'events_dropped_total{receiver="stream"} 24',
  "events_handler_errors_total 21",
  "authentication_failures_total 31",
  "authentication_discarded_total 32",
  "authentication_waiting 34",
  "penalties_sources 35",
  "bans 36",
  "bans_automatic_total 33",
  'requests_held_back_total{kind="request"} 41',
  'requests_held_back_total{kind="challenge"} 42',
  'requests_held_back_total{kind="allocation"} 43',
  "streams 51",
  "streams_accepted_total 52",
  'streams_closed_total{reason="refused"} 53',
  'streams_closed_total{reason="failed_handshake"} 54',
  'streams_closed_total{reason="malformed"} 55',
  'streams_closed_total{reason="idle"} 56',
  'streams_closed_total{reason="unread"} 58',
  'drops_total{reason="stream_full"} 57',
  "peer_connections 59",
] as const;

describe("Prometheus", () => {
  it("gets every metric of the table, and no label that the table doesn't name", async () => {
    const port = await freePort();
    const { meter } = await start({ prometheus: { host: "127.0.0.1", port } });
    let reads = 0;
    const metrics = new RelayMetrics({
      meter,
      stats: () => {
        reads++;
        return stats();
      },
      monotonicMs: () => 0,
      isLinkUp: () => true,
    });
    const base = { method: "allocate", fiveTuple: {} as never, atUnixMs: 0 };
    metrics.handleEvent({ ...base, type: "authFailed", reason: "badCredentials", username: "mallory" });
    metrics.handleEvent({
      ...base,
      type: "allocationRefused",
      code: 486,
      reason: "mallory",
      username: "mallory",
      actor: "mallory",
    });
    metrics.handleEvent({ type: "trafficReport" } as never);
    const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const text = await scrape();
    await scrape();
    expect(reads).toBe(1);
    expect(text).toContain("turnpike_relay_allocations 3");
    expect(text).toContain('turnpike_relay_packets_total{direction="from_client"} 111');
    expect(text).toContain('turnpike_relay_bytes_total{direction="from_client"} 17600');
    expect(text).toContain('turnpike_relay_bytes_total{direction="to_peer"} 18400');
    expect(text).toContain('turnpike_relay_drops_total{reason="oversized"} 2');
    expect(text).toContain("turnpike_relay_link_up 1");
    expect(text).toContain('turnpike_relay_events_total{type="authFailed",reason="badCredentials"} 1');
    expect(text).toContain('turnpike_relay_events_total{type="other",reason="none"} 1');
    for (const line of DENIALS) expect(text).toContain(`turnpike_relay_${line}\n`);
    expect(text).not.toContain("mallory");
    const page = metricsReference();
    const names = [...text.matchAll(/^# TYPE (turnpike_\w+)/gm)].map(([, name]) => name!);
    expect(names).toHaveLength(Object.keys(METRICS).length);
    for (const name of names) expect(page).toContain(`\`${name}\``);
  });

  it("tries again at the next scrape if the first could not start it, and stops all the same", async () => {
    let starts = 0;
    const port = await freePort();
    const listener = await startWhenScraped({
      version: "1.0.0",
      prometheus: { host: "127.0.0.1", port },
      onStart: () => {
        if (++starts % 2 === 1) throw new Error("no memory");
      },
    });
    clean.push(() => listener.stop());
    const scrape = async (): Promise<number> => (await fetch(`http://127.0.0.1:${port}/metrics`)).status;
    expect(await scrape()).toBe(500);
    expect(await scrape()).toBe(200);
    expect(await scrape()).toBe(200);
    expect(starts).toBe(2);
    const another = await freePort();
    const failing = await startWhenScraped({
      version: "1.0.0",
      prometheus: { host: "127.0.0.1", port: another },
      onStart: () => {
        throw new Error("no memory");
      },
    });
    expect((await fetch(`http://127.0.0.1:${another}/metrics`)).status).toBe(500);
    await failing.stop();
  });

  it("has a bounded number of series, whatever happens", () => {
    expect(EVENT_TYPES.length * EVENT_REASONS.length).toBeLessThan(200);
  });
});

describe("OTLP", () => {
  it("goes over HTTP, metrics and traces, with the resource", async () => {
    vi.stubEnv("OTEL_SERVICE_NAME", "relay-eu");
    vi.stubEnv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test");
    const got = new Map<string, string>();
    const server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.on("end", () => {
        got.set(request.url ?? "", Buffer.concat(parts).toString("latin1"));
        response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    clean.push(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const telemetry = await start({ otlp: { url, protocol: "http" } });
    expect(telemetry.resource).toMatchObject({ "service.name": "relay-eu", "deployment.environment": "test" });
    expect(new RelayMetrics({ meter: telemetry.meter, stats, monotonicMs: () => 0 })).toBeDefined();
    telemetry.tracer.startSpan("portal.revoke").end();
    await expect.poll(() => got.get("/v1/metrics") ?? "").toContain("turnpike.relay.allocations");
    expect(got.get("/v1/metrics")).toContain("relay-eu");
    await telemetry.stop();
    expect(got.get("/v1/traces")).toContain("portal.revoke");
  });

  it("goes over gRPC", async () => {
    const got = new Map<string, string>();
    const server = createHttp2Server();
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      const parts: Buffer[] = [];
      stream.on("data", (part: Buffer) => parts.push(part));
      stream.on("end", () => {
        got.set(String(headers[":path"]), Buffer.concat(parts).toString("latin1"));
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(Buffer.from([0, 0, 0, 0, 0]));
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    clean.push(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const telemetry = await start({ otlp: { url, protocol: "grpc" } });
    expect(new RelayMetrics({ meter: telemetry.meter, stats, monotonicMs: () => 0 })).toBeDefined();
    await expect
      .poll(() => got.get("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export") ?? "")
      .toContain("turnpike.relay.allocations");
  });

  it("is found in the environment, by the original's name first", () => {
    const generic = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318" };
    expect(otlpFromEnvironment({})).toBeUndefined();
    expect(otlpFromEnvironment({ ...generic, OTLP_GRPC_ENDPOINT: "c:4317" })).toEqual({
      url: "http://c:4317",
      protocol: "grpc",
    });
    expect(otlpFromEnvironment(generic)).toEqual({ url: "http://c:4318", protocol: "http" });
    expect(otlpFromEnvironment({ ...generic, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" })?.protocol).toBe("grpc");
    expect(() => otlpFromEnvironment({ ...generic, OTEL_EXPORTER_OTLP_PROTOCOL: "x" })).toThrow(TypeError);
  });
});

describe("discovery, against recorded metadata servers", () => {
  /** Answers as the clouds' documentation has it. */
  async function metadataServer(
    answers: Readonly<Record<string, string>>,
    header: readonly [string, string],
  ): Promise<string> {
    const server = createServer((request, response) => {
      const isToken = request.method === "PUT" && request.url === "/latest/api/token";
      if (!isToken && request.headers[header[0]] !== header[1]) {
        response.writeHead(403).end();
        return;
      }
      const answer = answers[`${request.method} ${request.url}`];
      response.writeHead(answer === undefined ? 404 : 200).end(answer ?? "not found");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    clean.push(() => server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it("reads GCE", async () => {
    const instance = "GET /computeMetadata/v1/instance";
    const baseUrl = await metadataServer(
      {
        [`${instance}/id`]: "4520031799277581759",
        [`${instance}/network-interfaces/0/access-configs/0/external-ip`]: "203.0.113.7",
        [`${instance}/network-interfaces/0/ipv6s`]: "2600:1900:4000:1:0:0:0:0\n",
      },
      ["metadata-flavor", "Google"],
    );
    const options = { method: "gce_metadata", baseUrl } as const;
    expect(await discoverMachine(options)).toEqual({
      instanceId: "4520031799277581759",
      publicIpv4: "203.0.113.7",
      publicIpv6: "2600:1900:4000:1:0:0:0:0",
    });
    expect((await start({ discovery: options })).resource).toMatchObject({
      "service.instance.id": "4520031799277581759",
    });
  });

  it("reads EC2 by session tokens", async () => {
    const baseUrl = await metadataServer(
      {
        "PUT /latest/api/token": "AQAEAJ==",
        "GET /latest/meta-data/instance-id": "i-1234567890abcdef0",
        "GET /latest/meta-data/public-ipv4": "203.0.113.8",
      },
      ["x-aws-ec2-metadata-token", "AQAEAJ=="],
    );
    expect(await discoverMachine({ method: "aws_ec2_metadata", baseUrl })).toEqual({
      instanceId: "i-1234567890abcdef0",
      publicIpv4: "203.0.113.8",
    });
  });

  it("fails when nobody answers, in bounded time, and asks nobody unless told to", async () => {
    const baseUrl = `http://127.0.0.1:${await freePort()}`;
    await expect(discoverMachine({ method: "gce_metadata", baseUrl })).rejects.toThrow(/does not answer/);
    const silent = createServer(() => {});
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    clean.push(
      () => silent.closeAllConnections(),
      () => silent.close(),
    );
    const slow = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    await expect(discoverMachine({ method: "aws_ec2_metadata", baseUrl: slow, timeoutMs: 20 })).rejects.toThrow(
      /does not answer/,
    );
    expect(() => parseMetadataMethod("azure")).toThrow(TypeError);
    expect((await start({})).resource).not.toHaveProperty("service.instance.id");
  });
});

describe("health", () => {
  it("keeps alive and ready apart", async () => {
    let reason: string | undefined = "the portal link is away";
    const health = await startHealth({ host: "127.0.0.1", port: 0, notReadyBecause: () => reason });
    clean.push(() => health.stop());
    const ask = async (path: string, method = "GET"): Promise<[number, string]> => {
      const response = await fetch(`http://127.0.0.1:${health.address.port}${path}`, { method });
      return [response.status, await response.text()];
    };
    expect(await ask("/healthz")).toEqual([200, '{"status":"alive"}\n']);
    expect(await ask("/readyz")).toEqual([503, '{"status":"the portal link is away"}\n']);
    reason = undefined;
    expect(await ask("/readyz")).toEqual([200, '{"status":"ready"}\n']);
    expect((await ask("/metrics"))[0]).toBe(404);
    expect((await ask("/healthz", "POST"))[0]).toBe(405);
  });
});
