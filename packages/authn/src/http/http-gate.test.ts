import { describe, expect, test } from "vitest";
import type { DecisionEvent } from "../core/decision.ts";
import { OperationContext } from "../core/operation-context.ts";
import type { SchemeResult } from "../core/scheme.ts";
import { Penalties } from "../penalties/penalties.ts";
import { httpRequest } from "../testing/http-request.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import type { Credentials, CredentialVerifier, VerifierResult } from "../verifiers/verifier.ts";
import { AccessTokens } from "./access-token.ts";
import { MemoryAccessTokenStore } from "./access-token-store.ts";
import { BasicScheme } from "./basic.ts";
import { BearerScheme } from "./bearer.ts";
import { ClientCertificateScheme } from "./client-certificate.ts";
import { type HttpAdmission, HttpGate } from "./http-gate.ts";
import { HttpSignatureScheme } from "./http-signature.ts";
import { MemorySessionStore } from "./memory-session-store.ts";
import { Sessions } from "./session-cookie.ts";
import { SpoofScheme } from "./spoof.ts";

const ctx = OperationContext.internal("test");
const alice = { kind: "user", id: "alice", roles: [] } as const;

/** Alice has the password "right"; the provider takes no time but for what the test says. */
const passwords: CredentialVerifier = {
  provider: "table",
  async verify(_ctx: OperationContext, { username, password }: Credentials): Promise<VerifierResult> {
    if (username === "down") return { kind: "unavailable", cause: new Error("no route to ldap.internal") };
    if (username !== "alice") return { kind: "rejected", reason: "unknownUser", detail: "no such entry" };
    if (password.reveal() !== "right") return { kind: "rejected", reason: "badCredentials" };
    return { kind: "verified", subject: "alice", groups: [], roles: [] };
  },
};

const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;
const from = (authorization: string, remoteAddress = "192.0.2.1") =>
  httpRequest({ headers: { authorization }, remoteAddress, target: "/v1/x?token=secret" });

function statusOf(admission: HttpAdmission): number | string {
  return admission.kind === "rejected" ? admission.rejection.status : admission.kind;
}

/** Lets everything go on that waits for nothing but its turn. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe("answers", () => {
  const gate = (): HttpGate => new HttpGate({ name: "api", schemes: [new BasicScheme({ verifier: passwords })] });

  test.each([
    ["alice:right", "admitted"],
    ["alice:wrong", 401],
    ["nobody:wrong", 401],
    ["down:x", 503],
    ["no colon", 400],
  ])("%s: %s", async (credentials, expected) => {
    expect(statusOf(await gate().admit(from(basic(credentials))))).toBe(expected);
  });

  test("an unknown user and a wrong password get the same answer, to the byte", async () => {
    const unknown = await gate().admit(from(basic("nobody:wrong")));
    const wrong = await gate().admit(from(basic("alice:wrong")));
    expect(unknown).toEqual(wrong);
    expect(wrong).toEqual({
      kind: "rejected",
      rejection: {
        status: 401,
        headers: {
          "content-type": "application/problem+json",
          "cache-control": "no-store",
          "www-authenticate": ['Basic realm="turnpike", charset="UTF-8"'],
        },
        body: '{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The credentials are wrong or have expired."}',
      },
    });
  });

  test("nothing of schemes, actors and causes reaches the client", async () => {
    for (const credentials of ["alice:wrong", "nobody:wrong", "down:x"]) {
      const admission = await gate().admit(from(basic(credentials)));
      const text = JSON.stringify(admission).replace("Basic realm", "");
      for (const word of ["alice", "nobody", "down", "table", "ldap", "basic", "entry", 'wrong"']) {
        expect(text).not.toContain(word);
      }
    }
  });

  test("without credentials: turned away where they are required, let through where not", async () => {
    expect(statusOf(await gate().admit(httpRequest()))).toBe(401);
    const admission = await gate().admit(httpRequest(), { required: false });
    expect(admission).toMatchObject({ kind: "admitted", authentication: { kind: "unauthenticated" } });
    if (admission.kind !== "admitted") throw new Error(admission.kind);
    expect(admission.context.actor).toBeUndefined();
    expect(OperationContext.isGenuine(admission.context)).toBe(true);
  });

  test("credentials that are wrong are turned away even where none are required", async () => {
    expect(statusOf(await gate().admit(from(basic("alice:wrong")), { required: false }))).toBe(401);
  });

  test("secrets don't reach log or event", async () => {
    const logger = new RecordingLogger();
    const events: DecisionEvent[] = [];
    const gate = new HttpGate({
      name: "api",
      schemes: [new BasicScheme({ verifier: passwords })],
      logger,
      onDecision: (event) => void events.push(event),
    });
    for (const password of ["right", "wrong"]) await gate.admit(from(basic(`alice:${password}`)));
    expect(events.map((event) => event.source)).toEqual(
      ["right", "wrong"].map(() => ({ address: "192.0.2.1", operation: "GET /v1/x" })),
    );
    const printed = JSON.stringify([logger.lines, events]);
    for (const secret of ["right", "wrong", basic("alice:right"), "token=", "secret"]) {
      expect(printed).not.toContain(secret);
    }
    expect(JSON.stringify(logger.lines)).not.toContain("192.0.2.1");
  });
});

describe("configuration", () => {
  const sessions = new Sessions({ store: new MemorySessionStore(), secure: true });
  const tokens = new AccessTokens({ store: new MemoryAccessTokenStore(), prefix: "tp_" });
  const all = new HttpGate({
    name: "api",
    realm: 'the "road"',
    schemes: [
      sessions,
      tokens,
      new HttpSignatureScheme({ findKey: () => undefined }),
      new BasicScheme({ verifier: passwords }),
      new BearerScheme({ issuers: [{ issuer: "https://idp.example.org", audience: "turnpike" }] }),
      new ClientCertificateScheme({ actorOf: () => undefined }),
      new SpoofScheme({ listeners: [{ address: "127.0.0.1" }] }),
    ],
  });

  test("WWW-Authenticate names every scheme that has a challenge, in order", async () => {
    const admission = await all.admit(httpRequest());
    const realm = String.raw`realm="the \"road\""`;
    expect(admission.kind === "rejected" && admission.rejection.headers["www-authenticate"]).toEqual([
      `Cookie ${realm}, cookie-name="__Host-turnpike-session"`,
      `Bearer ${realm}`,
      `Signature ${realm}`,
      `Basic ${realm}, charset="UTF-8"`,
      `Bearer ${realm}`,
      `Spoof ${realm}`,
    ]);
  });

  test("without a challenge to name, a 401 would be malformed", async () => {
    const gate = new HttpGate({ name: "mtls", schemes: [new ClientCertificateScheme({ actorOf: () => undefined })] });
    expect(statusOf(await gate.admit(httpRequest()))).toBe(403);
  });

  test("OpenAPI gets a security scheme for each", () => {
    expect(all.openApiSecuritySchemes).toMatchObject({
      sessionCookie: { type: "apiKey", in: "cookie", name: "__Host-turnpike-session" },
      accessToken: { type: "http", scheme: "bearer", bearerFormat: "tp_…" },
      httpSignature: { type: "apiKey", in: "header", name: "Signature" },
      basic: { type: "http", scheme: "basic" },
      bearer: {
        type: "openIdConnect",
        openIdConnectUrl: "https://idp.example.org/.well-known/openid-configuration",
      },
      clientCertificate: { type: "mutualTLS" },
      spoof: { type: "apiKey", in: "header" },
    });
    expect(all.openApiSecurity).toHaveLength(7);
    expect(all.openApiSecurity[1]).toEqual({ accessToken: [] });
  });

  test("a session cookie, and a user's token, can't open what only relay tokens may", async () => {
    const store = new MemoryAccessTokenStore();
    const users = new AccessTokens({ store, prefix: "tp_" });
    const relays = new AccessTokens({ store, prefix: "tpr_" });
    const api = new HttpGate({ name: "api", schemes: [sessions, users] });
    const link = new HttpGate({ name: "relay-link", schemes: [relays] });
    const started = await sessions.start(ctx, httpRequest(), alice);
    const cookie = started.setCookie.split(";", 1)[0] ?? "";
    const user = await users.create(ctx, { actor: alice, label: "laptop" });
    const relay = await relays.create(ctx, { actor: { kind: "relay", id: "r1" }, label: "r1" });
    const withCookie = httpRequest({ headers: { cookie } });
    const withToken = from(`Bearer ${user.token.reveal()}`);
    const withRelayToken = from(`Bearer ${relay.token.reveal()}`);
    for (const request of [withCookie, withToken]) {
      expect(statusOf(await api.admit(request))).toBe("admitted");
      expect(statusOf(await link.admit(request))).toBe(401);
    }
    expect(statusOf(await link.admit(withRelayToken))).toBe("admitted");
    expect(statusOf(await api.admit(withRelayToken))).toBe(401);
  });

  test("an access token and a JWT share one field, in either order", async () => {
    const bearer = new BearerScheme({ issuers: [{ issuer: "https://idp.example.org", audience: "turnpike" }] });
    const { token } = await tokens.create(ctx, { actor: alice, label: "laptop" });
    const jwt = `e30.${Buffer.from('{"iss":"https://other.example.org"}').toString("base64url")}.AA`;
    for (const schemes of [
      [tokens, bearer],
      [bearer, tokens],
    ]) {
      const tried: (readonly string[])[] = [];
      const gate = new HttpGate({ name: "api", schemes, onDecision: (event) => void tried.push(event.schemesTried) });
      expect(statusOf(await gate.admit(from(`Bearer ${token.reveal()}`)))).toBe("admitted");
      expect(statusOf(await gate.admit(from(`Bearer ${jwt}`)))).toBe(401);
      expect(statusOf(await gate.admit(from("Bearer rubbish")))).toBe(401);
      expect(tried.map((each) => each.length).toSorted((a, b) => a - b)).toEqual([1, 2, 2]);
    }
  });
});

describe("a dead cookie", () => {
  test("is taken back with the refusal", async () => {
    const clock = new ManualClock();
    const sessions = new Sessions({ store: new MemorySessionStore(), secure: true, clock, idleSeconds: 60 });
    const gate = new HttpGate({ name: "api", schemes: [sessions] });
    const { setCookie } = await sessions.start(ctx, httpRequest(), alice);
    clock.advance(60_000);
    const admission = await gate.admit(httpRequest({ headers: { cookie: setCookie.split(";", 1)[0] ?? "" } }));
    expect(admission).toMatchObject({
      rejection: {
        status: 401,
        headers: { "set-cookie": expect.stringMatching(/^__Host-turnpike-session=; Max-Age=0;/) },
      },
    });
  });
});

describe("penalties", () => {
  function setUp(): {
    clock: ManualClock;
    gate: HttpGate;
    answers: (number | string)[];
    send: (text: string, address?: string) => void;
  } {
    const clock = new ManualClock();
    const gate = new HttpGate({
      name: "api",
      schemes: [new BasicScheme({ verifier: passwords })],
      penalties: new Penalties({ clock, scheduler: clock, random: () => 0.5 }),
    });
    const answers: (number | string)[] = [];
    return {
      clock,
      gate,
      answers,
      send: (text, address) => void gate.admit(from(basic(text), address)).then((it) => answers.push(statusOf(it))),
    };
  }

  test("a wrong password is answered after the delay, a right one at once", async () => {
    const { clock, answers, send } = setUp();
    send("alice:right");
    await settle();
    expect(answers).toEqual(["admitted"]);
    send("alice:wrong");
    await settle();
    clock.advance(4_499);
    await settle();
    expect(answers).toEqual(["admitted"]);
    clock.advance(1);
    await settle();
    expect(answers).toEqual(["admitted", 401]);
  });

  test("unknown users and wrong passwords take the same time", async () => {
    for (const credentials of ["alice:wrong", "nobody:wrong"]) {
      const { clock, answers, send } = setUp();
      send(credentials);
      await settle();
      clock.advance(4_499);
      await settle();
      expect(answers).toEqual([]);
      clock.advance(1);
      await settle();
      expect(answers).toEqual([401]);
    }
  });

  test("unavailability and bad form have no penalty", async () => {
    const { answers, send } = setUp();
    send("down:x");
    send("no colon");
    await settle();
    expect(new Set(answers)).toEqual(new Set([400, 503]));
  });

  test("another network isn't slowed down, the same one is, for the same user only", async () => {
    const { clock, answers, send } = setUp();
    send("alice:wrong");
    await settle();
    send("alice:right", "192.0.2.2");
    send("down:x");
    await settle();
    expect(new Set(answers)).toEqual(new Set([503, "admitted"]));
    send("alice:right");
    await settle();
    expect(answers).toHaveLength(2);
    clock.advance(4_500);
    await settle();
    expect(answers.slice(2)).toEqual(expect.arrayContaining([401, "admitted"]));
  });

  test("guesses in parallel gain nothing: the right one among them isn't told earlier", async () => {
    const { clock, answers, send } = setUp();
    for (const guess of ["a", "b", "c", "right", "d", "e", "f", "g", "h"]) send(`alice:${guess}`);
    await settle();
    expect(answers.filter((each) => each !== 429)).toEqual([]);
    clock.advance(4_500 * 3 - 1);
    await settle();
    expect(answers).not.toContain("admitted");
    clock.advance(60_000);
    await settle();
    expect(answers.filter((each) => each === 401)).toHaveLength(6);
    expect(answers.filter((each) => each === 429)).toHaveLength(2);
    expect(answers.filter((each) => each === "admitted")).toHaveLength(1);
  });

  test("a client that goes away while it waits is forgotten", async () => {
    const { gate, clock } = setUp();
    const controller = new AbortController();
    const admission = gate.admit(from(basic("alice:wrong")), { signal: controller.signal });
    await settle();
    expect(clock.pendingCount).toBe(1);
    controller.abort();
    expect(await admission).toEqual({ kind: "aborted" });
    expect(clock.pendingCount).toBe(0);
  });
});

test("who has an expired token had it: no penalty", async () => {
  const clock = new ManualClock();
  const penalties = new Penalties({ clock, scheduler: clock });
  const tokens = new AccessTokens({ store: new MemoryAccessTokenStore(), clock, prefix: "tp_" });
  const gate = new HttpGate({ name: "api", schemes: [tokens], penalties });
  const { token } = await tokens.create(ctx, { actor: alice, label: "CI", lifetimeSeconds: 1 });
  clock.advance(1_000);
  expect(statusOf(await gate.admit(from(`Bearer ${token.reveal()}`)))).toBe(401);
  expect(penalties.counters).toMatchObject({ failures: 0, sources: 0 });
});

test("results of other schemes don't count against the claimed user", async () => {
  const clock = new ManualClock();
  const penalties = new Penalties({ clock, scheduler: clock });
  const sessions = new Sessions({ store: new MemorySessionStore(), secure: true });
  const gate = new HttpGate({ name: "api", schemes: [sessions, new BasicScheme({ verifier: passwords })], penalties });
  const headers = { cookie: `__Host-turnpike-session=${"x".repeat(43)}`, authorization: basic("alice:wrong") };
  expect(statusOf(await gate.admit(httpRequest({ headers })))).toBe(401);
  expect(penalties.counters.failures).toBe(0);
  const result: SchemeResult = await sessions.authenticate(ctx, httpRequest({ headers }));
  expect(result.kind).toBe("failed");
});
