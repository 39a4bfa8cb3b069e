/** What operators see of `turnpike serve`: OTLP and Prometheus, of relay and portal, without a name of anybody. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { freePorts } from "../support/free-ports.ts";
import type { IceServer } from "../support/portal.ts";
import { keep } from "../support/relay.ts";
import { ServedPortal } from "../support/served-portal.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-telemetry-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("sends metrics and traces of what was done to the collector, and shows the metrics to Prometheus", async () => {
  const got = new Map<string, string>();
  const collector = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const path = request.url ?? "";
      got.set(path, (got.get(path) ?? "") + Buffer.concat(parts).toString("latin1"));
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
  });
  collector.listen(0, "127.0.0.1");
  await once(collector, "listening");
  keep({
    async [Symbol.asyncDispose]() {
      collector.closeAllConnections();
      collector.close();
    },
  });
  const metricsPort = await freePorts(1);
  const portal = await ServedPortal.start(mkdtempSync(join(folder, "serve-")), {
    more: [`--metrics=127.0.0.1:${metricsPort}`],
    environment: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}` },
  });
  const token = /tp_[\w-]{43}/.exec(portal.child.stdout())?.[0] ?? "";
  const headers = { authorization: `Bearer ${token}` };
  const minted = await portal.request("POST", "/v1/credentials", { headers, body: { user: "mallory" } });
  const [{ username, credential }] = minted.body["iceServers"] as [Required<IceServer>];
  const path = `/v1/credentials/${encodeURIComponent(username)}/revoke`;
  expect((await portal.request("POST", path, { headers })).status).toBe(204);
  expect((await portal.request("POST", "/v1/login", { body: { code: "x".repeat(43) } })).status).toBe(401);
  const scraped = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  expect(scraped).toContain("turnpike_relay_allocations 0");
  expect(scraped).toContain("turnpike_portal_relays_linked 1");
  expect(scraped).toContain("turnpike_portal_credentials_minted_total 2");
  expect(scraped).toMatch(
    /http_server_request_duration_count\{[^}]*http_route="\/v1\/credentials\/:username\/revoke"[^}]*\} 1/,
  );
  // What waits is sent at the end.
  portal.child.signal("SIGTERM");
  portal.child.signal("SIGINT");
  expect(await portal.child.ended).toBe(0);
  const [traces = "", metrics = ""] = [got.get("/v1/traces"), got.get("/v1/metrics")];
  const spans = ["POST /v1/credentials", "POST /v1/credentials/:username/revoke", "POST /v1/login", "relay.link"];
  for (const name of [...spans, "portal.link", "portal.revoke", "portal.quota"]) expect(traces).toContain(name);
  expect(metrics).toContain("turnpike.portal.authentications");
  expect(metrics).toContain("turnpike.relay.link.up");
  for (const secret of [token, "mallory", credential]) {
    for (const text of [traces, metrics, scraped]) expect(text).not.toContain(secret);
  }
});
