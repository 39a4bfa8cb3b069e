import { OperationContext } from "@turnpike/authn";
import { describe, expect, it } from "vitest";
import { BOB, keep, serverOf } from "../support/relay.ts";
import { type IceServer, internal, startLinkedRelay, startTestPortal, type TestPortal } from "../support/portal.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";
import { transportAddress } from "@turnpike/stun";

async function link(test: TestPortal, name = "eu-1") {
  const token = await test.portal.createRelayToken(internal, name);
  const linked = await startLinkedRelay(test.portal.url, token);
  await expect
    .poll(
      async () => (await test.portal.services.fleet.relays()).filter(({ presence }) => presence !== undefined).length,
    )
    .toBeGreaterThan(0);
  return linked;
}

/** A client with the first credential of a list of ICE servers. */
async function clientOf(iceServers: readonly IceServer[]): Promise<UdpTurnClient> {
  const { urls, username = "", credential = "" } = iceServers.find((each) => each.credential !== undefined)!;
  const [, address = "", port = ""] = /^turn:([\d.]+):(\d+)/.exec(urls[0]!) ?? [];
  return keep(await UdpTurnClient.open(transportAddress(address, Number(port)), { username, password: credential }));
}

describe("a portal and its relay", () => {
  it("mint in all three shapes, each of which allocates", async () => {
    const test = await startTestPortal();
    await link(test);
    const minted = await test.request("POST", "/v1/credentials", { body: { ttl: 600, user: "Alice" } });
    expect(minted.status).toBe(201);
    expect(Date.parse(minted.body.expiresAt) - Date.now()).toBeLessThanOrEqual(600_000);
    expect(minted.body.iceServers[0]?.username).toMatch(/^\d+:Alice\.[\w-]+$/);
    expect(typeof (await (await clientOf(minted.body.iceServers)).allocate())).toBe("object");

    const [key] = await test.portal.services.tokens.list(internal);
    const path = `/v1/turn/keys/${key!.id}/credentials/generate-ice-servers`;
    const generated = await test.request("POST", path, { body: { ttl: 86_400 } });
    expect(generated.status).toBe(201);
    expect(typeof (await (await clientOf(generated.body.iceServers)).allocate())).toBe("object");
    expect((await test.request("POST", path.replace(key!.id, "other"), { body: {} })).status).toBe(404);

    const rest = await test.request("GET", `/v1/turn-rest?service=turn&username=carol&ttl=60&key=${test.admin}`, {
      token: "",
    });
    expect(rest.status).toBe(200);
    expect(rest.body).toMatchObject({
      ttl: 60,
      uris: [expect.stringMatching(/^turn:127\.0\.0\.1:\d+\?transport=udp$/)],
    });
    const { username, password, uris } = rest.body;
    const client = await clientOf([{ urls: uris, username, credential: password }]);
    expect(typeof (await client.allocate())).toBe("object");

    await expect.poll(async () => (await test.request("GET", "/v1/allocations")).body.allocations.length).toBe(3);
    const { allocations } = (await test.request("GET", "/v1/allocations?user=alice")).body;
    expect(allocations).toMatchObject([{ user: "alice", scheme: "portal", transport: "udp" }]);
    const { relays } = (await test.request("GET", "/v1/relays")).body;
    expect(relays).toMatchObject([{ name: "eu-1", linked: true, draining: false, load: 0.1 }]);
  });

  it("revoke all of a user's label on every relay, and nothing else", async () => {
    const test = await startTestPortal();
    const linked = [await link(test, "eu-1"), await link(test, "eu-2")];
    const mint = async (label: string): Promise<readonly IceServer[]> =>
      (await test.request("POST", "/v1/credentials", { body: { user: "alice", label } })).body.iceServers;
    const [one, two, other] = [await mint("phone"), await mint("phone"), await mint("laptop")];
    const names = [...one, ...two].map(({ username }) => username!);
    const client = await clientOf(one);
    await client.allocate();
    const living = (): number => linked.reduce((sum, { relay }) => sum + relay.stats().allocations, 0);
    expect(living()).toBe(1);
    expect((await test.request("POST", `/v1/credentials/${names[0]}/revoke`)).status).toBe(204);
    await expect.poll(living, { timeout: 20_000 }).toBe(0);
    expect(await client.refresh(600)).not.toBe("success");
    for (const { revoked } of linked) await expect.poll(() => revoked.toSorted()).toEqual(names.toSorted());
    expect(await (await clientOf(two)).allocate()).toBe(401);
    expect(typeof (await (await clientOf(other)).allocate())).toBe("object");
  });

  it("end one allocation, all of a disabled user, and drain a relay", async () => {
    const test = await startTestPortal();
    const linked = await link(test);
    await test.request("POST", "/v1/users", { body: { id: "carol", roles: [] } });
    for (const user of ["alice", "carol"]) {
      const { body } = await test.request("POST", "/v1/credentials", { body: { user } });
      await (await clientOf(body.iceServers)).allocate();
    }
    const listed = async (user: string) => (await test.request("GET", `/v1/allocations?user=${user}`)).body.allocations;
    await expect.poll(async () => (await listed("alice")).length).toBe(1);
    const [allocation] = await listed("alice");
    expect((await test.request("DELETE", "/v1/allocations/other")).status).toBe(404);
    expect((await test.request("DELETE", `/v1/allocations/${allocation!.id}`)).status).toBe(202);
    await expect.poll(() => linked.relay.stats().allocations, { timeout: 20_000 }).toBe(1);
    await test.request("PATCH", "/v1/users/carol", { body: { disabled: true } });
    await expect.poll(() => linked.relay.stats().allocations, { timeout: 20_000 }).toBe(0);
    await expect.poll(async () => (await listed("carol")).length).toBe(0);
    const { body } = await test.request("POST", "/v1/credentials", { body: { user: "dave" } });
    const [relay] = (await test.request("GET", "/v1/relays")).body.relays;
    expect((await test.request("POST", `/v1/relays/${relay!.id}/drain`)).status).toBe(202);
    await expect.poll(() => linked.messages).toContain("drain");
    expect(await (await clientOf(body.iceServers)).allocate()).toBe(508);
  });

  it("hold a user to a quota, however many credentials they are minted", async () => {
    const test = await startTestPortal({ defaultMaxAllocations: 1 });
    await test.request("POST", "/v1/users", { body: { id: "alice", roles: [], maxAllocations: 3 } });
    const linked = await link(test);
    const mint = async (user: string, label = "phone"): Promise<readonly IceServer[]> =>
      (await test.request("POST", "/v1/credentials", { body: { user, label } })).body.iceServers;
    const allocate = async (user: string, label?: string): Promise<unknown> =>
      (await clientOf(await mint(user, label))).allocate();
    const isAllocation = expect.objectContaining({ family: 4 });
    // A name that differs in case is the same user's.
    const outcomes = [];
    for (const user of ["alice", "ALICE", "alice", "Alice", "alice"]) outcomes.push(await allocate(user));
    expect(outcomes).toEqual([isAllocation, isAllocation, isAllocation, 486, 486]);
    expect([await allocate("bob"), await allocate("bob")]).toEqual([isAllocation, 486]);

    await test.request("PATCH", "/v1/users/alice", { body: { maxAllocations: 4 } });
    await expect.poll(() => linked.messages.filter((event) => event === "quota").length).toBe(3);
    expect([await allocate("alice", "laptop"), await allocate("alice")]).toEqual([isAllocation, 486]);
    const phone = await mint("alice");
    expect((await test.request("POST", `/v1/credentials/${phone[0]!.username}/revoke`)).status).toBe(204);
    const living = async (): Promise<readonly string[]> =>
      (await linked.relay.allocations()).map(({ context }) => context.actor).toSorted();
    await expect.poll(living).toEqual(["alice", "bob"]);
    expect(await allocate("alice", "laptop")).toEqual(isAllocation);

    await test.request("DELETE", "/v1/users/alice");
    await expect.poll(living).toEqual(["bob"]);
    await expect.poll(() => linked.messages.filter((event) => event === "quota").length).toBe(4);
  });

  it("replays what is revoked to a relay before it serves", async () => {
    const test = await startTestPortal();
    await link(test, "eu-1");
    const minted = await test.request("POST", "/v1/credentials", { body: {} });
    await test.request("POST", `/v1/credentials/${minted.body.iceServers[0]?.username}/revoke`);
    const token = await test.portal.createRelayToken(internal, "eu-2");
    const late = await startLinkedRelay(test.portal.url, token);
    expect(late.revoked).toEqual([minted.body.iceServers[0]?.username]);
    expect(late.messages.slice(0, 3)).toEqual(["revoke", "quota", "fleet_secrets"]);
  });

  it("tells of events as they come, by type and user", async () => {
    const test = await startTestPortal();
    await link(test);
    const abort = new AbortController();
    const response = await fetch(`${test.portal.url}/v1/events?user=alice&type=allocationCreated`, {
      headers: { authorization: `Bearer ${test.admin}` },
      signal: abort.signal,
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader.read()).value).toBe(": open\n\n");
    for (const user of ["bob", "alice"]) {
      const { body } = await test.request("POST", "/v1/credentials", { body: { user } });
      await (await clientOf(body.iceServers)).allocate();
    }
    const { value = "" } = await reader.read();
    expect(value).toMatch(/^event: allocationCreated\ndata: \{.*\}\n\n$/);
    expect(JSON.parse(value.split("data: ")[1]!)).toMatchObject({ user: "alice", type: "allocationCreated" });
    abort.abort();
  });

  it("lets what was minted allocate and refresh while the portal is away", async () => {
    const first = await startTestPortal();
    const linked = await link(first);
    const { body } = await first.request("POST", "/v1/credentials", { body: {} });
    await first.portal.stop();
    await expect.poll(() => linked.link.isUp).toBe(false);
    const client = await clientOf(body.iceServers);
    expect(typeof (await client.allocate())).toBe("object");
    expect(await client.refresh(600)).toBe("success");
    const wrong = keep(await UdpTurnClient.open(serverOf(linked.relay), BOB));
    expect(await wrong.allocate()).toBe(401);
  });

  it("ends the link when the relay is removed", async () => {
    const test = await startTestPortal();
    const linked = await link(test);
    const { relays } = (await test.request("GET", "/v1/relays")).body;
    expect((await test.request("DELETE", `/v1/relays/${relays[0]?.id}`)).status).toBe(204);
    expect((await test.request("POST", "/v1/relays", { body: { name: "eu-1" } })).body.token).toMatch(/^tr_/);
    await expect.poll(() => linked.link.isUp, { timeout: 15_000 }).toBe(false);
    await expect(linked.link.ready).resolves.toBeUndefined();
  });
});

describe("signing in", () => {
  const login = (test: TestPortal, body: unknown, headers: Record<string, string> = {}) =>
    test.request("POST", "/v1/login", { token: "", body, headers });

  it("by the link of the first start, once; changes need the CSRF token of the same site", async () => {
    const test = await startTestPortal();
    const url = new URL(test.portal.firstStart!.signInUrl);
    expect((await test.request("GET", url.pathname, { token: "" })).status).toBe(200);
    const code = url.hash.slice(1);
    expect((await login(test, { code }, { "sec-fetch-site": "cross-site" })).status).toBe(403);
    expect((await login(test, { code }, { origin: "https://evil.example" })).status).toBe(403);
    const planted = `turnpike-session=${"p".repeat(43)}`;
    const signedIn = await login(test, { code }, { cookie: planted });
    expect(signedIn.status).toBe(200);
    const setCookie = signedIn.headers.get("set-cookie")!;
    expect(setCookie).toMatch(/HttpOnly/);
    expect(setCookie).toMatch(/SameSite=Lax/);
    expect(setCookie).not.toContain("ppppp");
    expect((await login(test, { code })).status).toBe(401);
    const cookie = setCookie.split(";")[0]!;
    const asBrowser = (method: string, path: string, headers: Record<string, string> = {}, body?: unknown) =>
      test.request(method, path, { token: "", headers: { cookie, ...headers }, body });
    const { body } = await asBrowser("GET", "/v1/whoami");
    expect(body).toMatchObject({ id: "admin", scheme: "session-cookie", csrfToken: signedIn.body.csrfToken });
    const unproven = await asBrowser("POST", "/v1/users", {}, { id: "eve", roles: [] });
    expect(unproven.status).toBe(403);
    expect(unproven.headers.get("content-type")).toMatch(/^application\/problem\+json/);
    expect(unproven.body).toEqual({
      type: "about:blank",
      title: "Forbidden",
      status: 403,
      detail: "Cannot tell who wants this: a change needs the header x-csrf-token",
    });
    expect(unproven.headers.get("set-cookie")).toBeNull();
    const csrf = { "x-csrf-token": signedIn.body.csrfToken };
    expect(
      (await asBrowser("POST", "/v1/users", { ...csrf, "sec-fetch-site": "cross-site" }, { id: "eve", roles: [] }))
        .status,
    ).toBe(403);
    expect((await asBrowser("POST", "/v1/users", csrf, { id: "eve", roles: [] })).status).toBe(201);
    expect((await asBrowser("POST", "/v1/logout")).status).toBe(204);
    expect((await asBrowser("GET", "/v1/whoami")).status).toBe(401);
  });

  it("by password; unknown users and wrong passwords look the same; a changed one ends sessions", async () => {
    const test = await startTestPortal();
    await test.request("POST", "/v1/users", { body: { id: "ann", roles: ["viewer"], password: "correct horse" } });
    const right = await login(test, { username: "ann", password: "correct horse" });
    expect(right.status).toBe(200);
    const wrong = await login(test, { username: "ann", password: "wrong" });
    const unknown = await login(test, { username: "nobody", password: "wrong" });
    expect([wrong.status, wrong.body]).toEqual([unknown.status, unknown.body]);
    expect(wrong.headers.get("www-authenticate")).toMatch(/^Cookie /);
    const cookie = right.headers.get("set-cookie")!.split(";")[0]!;
    await test.request("PATCH", "/v1/users/ann", { body: { password: "battery staple" } });
    expect((await test.request("GET", "/v1/whoami", { token: "", headers: { cookie } })).status).toBe(401);
  });

  it("says who did what in the audit log, with scheme and credential", async () => {
    const test = await startTestPortal();
    await test.request("POST", "/v1/relays", { body: { name: "eu-1" } });
    const { entries } = (await test.request("GET", "/v1/audit")).body;
    const made = entries.find(({ action }) => action === "relay.created");
    expect(made).toMatchObject({ actor: "user:admin", scheme: "access-token", credentialId: expect.any(String) });
    expect(JSON.stringify(entries)).not.toMatch(/t[pr]_[\w-]{43}/);
  });
});

describe("the server", () => {
  it("answers with security headers and problem details, and bounds bodies, headers and rates", async () => {
    const test = await startTestPortal({ requestsPerMinute: 20 });
    const { headers } = await test.request("GET", "/v1/whoami");
    expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'/);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    const huge = await test.request("POST", "/v1/users", { body: { id: "x".repeat(70_000), roles: [] } });
    expect([huge.status, huge.headers.get("content-type")]).toEqual([413, "application/problem+json"]);
    expect((await test.request("POST", "/v1/users", { body: "{" })).status).toBe(400);
    expect(
      (await test.request("POST", "/v1/users", { body: "{}", headers: { "content-type": "text/plain" } })).status,
    ).toBe(415);
    expect((await test.request("POST", "/v1/users", { body: { id: "UPPER", roles: ["root"] } })).status).toBe(400);
    let limited = { status: 0, headers: new Headers() };
    for (let count = 0; count < 20; count++) limited = await test.request("GET", "/v1/whoami");
    expect(limited.status).toBe(429);
    expect(limited.headers.get("retry-after")).toMatch(/^\d+$/);
    expect((await test.request("GET", "/healthz")).status).toBe(200);
  });

  it("is not ready when it stops, and refuses a wrong configuration", async () => {
    await expect(startTestPortal({ listen: "nonsense" })).rejects.toThrow(TypeError);
    await expect(startTestPortal({ publicUrl: "ftp://x" })).rejects.toThrow(TypeError);
    await expect(startTestPortal({ regions: { "10.0.0.0": "eu" } })).rejects.toThrow(/address prefix/);
    expect(OperationContext.isGenuine(internal)).toBe(true);
  });
});
