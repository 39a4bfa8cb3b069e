/** Every route of the portal, with every kind of credential that must not open it; refused calls change nothing. */
import { type Portal, PERMISSIONS, type Role, ROLES } from "@turnpike/portal";
import { describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { internal, startTestPortal, type TestPortal } from "../support/portal.ts";

interface Sample {
  readonly path: string;
  readonly body?: unknown;
}

/** A request for each route: what would change something if it were let through. */
const ROUTES: Readonly<Record<string, Sample>> = {
  "POST /v1/credentials": { path: "/v1/credentials", body: {} },
  "POST /v1/credentials/:username/revoke": { path: "/v1/credentials/1900000000:alice/revoke" },
  "POST /v1/turn/keys/:id/credentials/generate-ice-servers": {
    path: "/v1/turn/keys/x/credentials/generate-ice-servers",
    body: {},
  },
  "GET /v1/turn-rest": { path: "/v1/turn-rest?service=turn" },
  "GET /v1/relays": { path: "/v1/relays" },
  "POST /v1/relays": { path: "/v1/relays", body: { name: "new" } },
  "POST /v1/fleet/secret/rotate": { path: "/v1/fleet/secret/rotate", body: {} },
  "DELETE /v1/relays/:id": { path: "/v1/relays/RELAY" },
  "POST /v1/relays/:id/drain": { path: "/v1/relays/RELAY/drain" },
  "GET /v1/allocations": { path: "/v1/allocations" },
  "DELETE /v1/allocations/:id": { path: "/v1/allocations/a1" },
  "GET /v1/events": { path: "/v1/events" },
  "GET /v1/whoami": { path: "/v1/whoami" },
  "GET /v1/tokens": { path: "/v1/tokens" },
  "POST /v1/tokens": { path: "/v1/tokens", body: { label: "new" } },
  "DELETE /v1/tokens/:id": { path: "/v1/tokens/TOKEN" },
  "GET /v1/sessions": { path: "/v1/sessions" },
  "DELETE /v1/sessions/:id": { path: "/v1/sessions/x" },
  "DELETE /v1/sessions": { path: "/v1/sessions" },
  "GET /v1/users": { path: "/v1/users" },
  "GET /v1/users/:id": { path: "/v1/users/victim" },
  "POST /v1/users": { path: "/v1/users", body: { id: "new", roles: ["admin"] } },
  "PATCH /v1/users/:id": { path: "/v1/users/victim", body: { roles: ["admin"] } },
  "DELETE /v1/users/:id": { path: "/v1/users/victim" },
  "GET /v1/external-auth/cache": { path: "/v1/external-auth/cache" },
  "PATCH /v1/external-auth/cache": { path: "/v1/external-auth/cache", body: { enabled: false } },
  "DELETE /v1/external-auth/cache": { path: "/v1/external-auth/cache" },
  "DELETE /v1/external-auth/cache/:user": { path: "/v1/external-auth/cache/alice" },
  "GET /v1/audit": { path: "/v1/audit" },
};

/** Routes that everybody may use, each with its reason in the code. */
const PUBLIC = [
  "POST /v1/login",
  "POST /v1/logout",
  "GET /",
  "GET /page.css",
  "GET /page.js",
  "GET /sign-in",
  "GET /sign-in.js",
  "GET /healthz",
  "GET /readyz",
  "GET /openapi.json",
];

/** All that is stored, but for the times of use. */
async function contents(portal: Portal): Promise<string> {
  const db = portal.services.store.reader(internal);
  const tables = ["users", "tokens", "sessions", "relays", "credentials", "audit", "outbox", "settings"] as const;
  const rows = await Promise.all(tables.map((table) => db.selectFrom(table).selectAll().execute()));
  return JSON.stringify(rows, (key, value: unknown) => (key === "last_used_at" ? undefined : value));
}

async function setUp(): Promise<{ test: TestPortal; samples: [string, Sample][] }> {
  const test = await startTestPortal();
  const relay = await test.portal.services.relays.create(internal, "eu-1");
  const token = await test.userToken("victim", ["viewer"]);
  const [own] = await test.portal.services.tokens.list(internal, { actorId: "victim" });
  expect(token).toMatch(/^tp_/);
  const fill = (path: string): string => path.replace("RELAY", relay.id).replace("TOKEN", own!.id);
  const samples = Object.entries(ROUTES).map(([route, sample]): [string, Sample] => [
    route,
    { ...sample, path: fill(sample.path) },
  ]);
  return { test, samples };
}

describe("every route", () => {
  it("is listed here", async () => {
    const { portal } = await startTestPortal();
    const served = portal.routes.map(({ method, url }) => `${method} ${url}`);
    expect(served.toSorted()).toEqual([...Object.keys(ROUTES), ...PUBLIC].toSorted());
    expect(
      portal.routes
        .filter(({ access }) => access.kind === "public")
        .map(({ method, url }) => `${method} ${url}`)
        .toSorted(),
    ).toEqual(PUBLIC.toSorted());
  });

  it("refuses no, bad, unknown, expired and revoked credentials, and changes nothing", async () => {
    const { test, samples } = await setUp();
    const { tokens, relayTokens } = test.portal.services;
    const actor = { kind: "user", id: "admin", roles: ["admin"] } as const;
    const expired = (await tokens.create(internal, { actor, label: "expired", lifetimeSeconds: 0.001 })).token.reveal();
    const revoked = await tokens.create(internal, { actor, label: "revoked" });
    await tokens.revoke(internal, revoked.accessToken.id);
    const relays = await test.portal.services.relays.list(internal);
    const relay = await relayTokens.create(internal, { actor: { kind: "relay", id: relays[0]!.id }, label: "relay" });
    const credentials: Record<string, { token: string; headers?: Record<string, string>; status: number }> = {
      none: { token: "", status: 401 },
      bad: { token: "tp_bad", status: 400 },
      unknown: { token: `tp_${"x".repeat(43)}`, status: 401 },
      expired: { token: expired, status: 401 },
      revoked: { token: revoked.token.reveal(), status: 401 },
      "a relay's": { token: relay.token.reveal(), status: 401 },
      "another kind": { token: "eyJhbGciOiJub25lIn0.e30.", status: 401 },
      "an unknown session": { token: "", headers: { cookie: `turnpike-session=${"x".repeat(43)}` }, status: 401 },
    };
    const before = await contents(test.portal);
    for (const [route, { path, body }] of samples) {
      for (const [kind, { token, headers = {}, status }] of Object.entries(credentials)) {
        const answer = await test.request(route.split(" ")[0]!, path, { token, body, headers });
        expect([route, kind, answer.status]).toEqual([route, kind, status]);
        expect(answer.headers.get("content-type")).toBe("application/problem+json");
        if (status === 401) expect(answer.headers.get("www-authenticate")).toMatch(/^Cookie .*, Bearer /);
      }
    }
    expect(await contents(test.portal)).toBe(before);
  });

  it("refuses every role that the table doesn't name, and changes nothing", async () => {
    const { test, samples } = await setUp();
    const byRole = new Map<string, string>();
    for (const role of ROLES) byRole.set(role, await test.userToken(`a-${role}`, [role]));
    byRole.set("nothing", await test.userToken("a-nothing", []));
    const before = await contents(test.portal);
    let refused = 0;
    for (const [route, { path, body }] of samples) {
      const { access } = test.portal.routes.find(({ method, url }) => `${method} ${url}` === route)!;
      const allowed: readonly Role[] = access.kind === "permission" ? PERMISSIONS[access.permission] : [];
      for (const [role, token] of byRole) {
        if (allowed.some((each) => each === role)) continue;
        const answer = await test.request(route.split(" ")[0]!, path, { token, body });
        expect([route, role, answer.status]).toEqual([route, role, 403]);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(60);
    expect(await contents(test.portal)).toBe(before);
  });
});

describe("what the role alone doesn't say", () => {
  it("a viewer's tokens, and nobody else's, are theirs to revoke", async () => {
    const { test } = await setUp();
    const viewer = await test.userToken("viewer", ["viewer"]);
    const [theirs] = await test.portal.services.tokens.list(internal, { actorId: "victim" });
    expect((await test.request("DELETE", `/v1/tokens/${theirs!.id}`, { token: viewer })).status).toBe(404);
    expect(
      (await test.request("POST", "/v1/tokens", { token: viewer, body: { label: "x", user: "admin" } })).status,
    ).toBe(403);
    const listed = await test.request("GET", "/v1/tokens", { token: viewer });
    expect(listed.body.tokens.map(({ actor }) => actor)).toEqual(["user:viewer"]);
  });

  it("a minter revokes what it minted, and nothing else", async () => {
    const { test } = await setUp();
    const [one, two] = [await test.userToken("one", ["minter"]), await test.userToken("two", ["minter"])];
    const { credentials } = test.portal.services;
    await credentials.insert(internal, [
      { username: "1900000000:one.x", actor: "one", label: "l", expiresAtUnixMs: 1_900_000_000_000 },
    ]);
    expect((await test.request("POST", "/v1/credentials/1900000000:one.x/revoke", { token: two })).status).toBe(404);
    expect((await test.request("POST", "/v1/credentials/1900000000:one.x/revoke", { token: one })).status).toBe(204);
    expect((await test.request("POST", "/v1/credentials/1900000000:bob/revoke", { token: one })).status).toBe(404);
    expect((await test.request("POST", "/v1/credentials/1900000000:bob/revoke")).status).toBe(204);
    expect((await test.request("POST", "/v1/credentials/bob/revoke")).status).toBe(404);
  });

  it("the relays' door takes relays' tokens only", async () => {
    const { test } = await setUp();
    const statusOf = (url: string, headers: Record<string, string>): Promise<number> => {
      const { promise, resolve } = Promise.withResolvers<number>();
      const socket = new WebSocket(url.replace("http", "ws"), { headers });
      socket.on("unexpected-response", (request, response) => {
        resolve(response.statusCode ?? 0);
        request.destroy();
      });
      socket.on("open", () => {
        resolve(101);
        socket.terminate();
      });
      socket.on("error", () => {});
      return promise;
    };
    const endpoint = `${test.portal.url}/relay/websocket`;
    const token = await test.portal.createRelayToken(internal, "eu-2");
    expect(await statusOf(endpoint, {})).toBe(401);
    expect(await statusOf(endpoint, { "x-authorization": `Bearer ${test.admin}` })).toBe(401);
    expect(await statusOf(endpoint, { cookie: `turnpike-session=${"x".repeat(43)}` })).toBe(401);
    expect(await statusOf(endpoint, { "x-authorization": `Bearer tr_${"x".repeat(43)}` })).toBe(401);
    expect(await statusOf(`${test.portal.url}/relay/elsewhere`, { "x-authorization": `Bearer ${token}` })).toBe(404);
    expect(await statusOf(`${endpoint}?vsn=9`, { "x-authorization": `Bearer ${token}` })).toBe(400);
    expect(await statusOf(endpoint, { "x-authorization": `Bearer ${token}` })).toBe(101);
    expect(await statusOf(`${endpoint}?token=${token}`, {})).toBe(101);
  });
});
