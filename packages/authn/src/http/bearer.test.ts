import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { httpRequest } from "../testing/http-request.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { type BearerOptions, BearerScheme, type OidcIssuer } from "./bearer.ts";

const ctx = OperationContext.internal("test");
const START_SECONDS = 1_700_000_000;

interface Key {
  readonly kid: string;
  readonly publicJwk: JWK;
  readonly privateKey: CryptoKey;
}

async function createKey(kid: string): Promise<Key> {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  return { kid, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256" } };
}

/** An issuer on loopback, with discovery and a key set. */
class Issuer {
  url = "";
  keys: Key[] = [];
  down = false;
  discoveredIssuer: string | undefined;
  requests: string[] = [];
  readonly #server: Server = createServer((request, response) => {
    this.requests.push(request.url ?? "");
    if (this.down) {
      response.writeHead(503).end();
      return;
    }
    response.setHeader("content-type", "application/json");
    response.end(
      request.url === "/keys"
        ? JSON.stringify({ keys: this.keys.map((key) => key.publicJwk) })
        : JSON.stringify({ issuer: this.discoveredIssuer ?? this.url, jwks_uri: `${this.url}/keys` }),
    );
  });

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server's address is no string
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

let issuer: Issuer;
let clock: ManualClock;
let key: Key;

beforeEach(async () => {
  // The key set's age is measured by the library's own clock.
  vi.useFakeTimers({ toFake: ["Date"], now: START_SECONDS * 1_000 });
  clock = new ManualClock({ unixMs: START_SECONDS * 1_000 });
  issuer = new Issuer();
  await issuer.start();
  key = await createKey("k1");
  issuer.keys = [key];
});

afterEach(async () => {
  vi.useRealTimers();
  await issuer.stop();
});

function advance(ms: number): void {
  clock.advance(ms);
  vi.setSystemTime(clock.unixMs());
}

function create(options: Partial<BearerOptions> = {}, rest: Partial<OidcIssuer> = {}): BearerScheme {
  return new BearerScheme({ issuers: [{ issuer: issuer.url, audience: "turnpike", ...rest }], clock, ...options });
}

interface Claims {
  readonly iss?: string;
  readonly aud?: string | string[];
  readonly exp?: number;
  readonly nbf?: number;
  readonly typ?: string;
  readonly extra?: Record<string, unknown>;
}

async function mint(
  by: Key,
  { iss = issuer.url, aud = "turnpike", exp, nbf, typ, extra = {} }: Claims = {},
): Promise<string> {
  const jwt = new SignJWT({ sub: "248289", jti: "t-1", ...extra })
    .setProtectedHeader({ alg: "ES256", kid: by.kid, ...(typ === undefined ? {} : { typ }) })
    .setIssuer(iss)
    .setAudience(aud)
    .setExpirationTime(exp ?? START_SECONDS + 86_400);
  return (nbf === undefined ? jwt : jwt.setNotBefore(nbf)).sign(by.privateKey);
}

async function ask(scheme: BearerScheme, token: string) {
  return scheme.authenticate(ctx, httpRequest({ headers: { authorization: `Bearer ${token}` } }));
}

async function kindFor(scheme: BearerScheme, token: string): Promise<string> {
  const result = await ask(scheme, token);
  return result.kind === "failed" ? result.reason.kind : result.kind;
}

describe("BearerScheme", () => {
  test("a token of the issuer makes a user of that issuer, without roles", async () => {
    const token = await mint(key, { extra: { roles: ["admin"] } });
    expect(await ask(create(), token)).toEqual({
      kind: "authenticated",
      actor: { kind: "user", id: `${issuer.url}#248289`, roles: [] },
      details: { expiresAtUnixMs: (START_SECONDS + 86_400) * 1_000, credentialId: "t-1" },
    });
    expect(issuer.requests).toEqual(["/.well-known/openid-configuration", "/keys"]);
  });

  test("the embedder says who a subject is, or that it is nobody", async () => {
    const token = await mint(key);
    const actor = { kind: "service", id: "shop", roles: ["mint"] } as const;
    expect(await ask(create({}, { actorOf: () => actor }), token)).toMatchObject({ kind: "authenticated", actor });
    expect(await kindFor(create({}, { actorOf: () => undefined }), token)).toBe("unknownActor");
  });

  test.each<[string, Claims, string]>([
    ["for another audience", { aud: "other" }, "badCredentials"],
    ["for several audiences", { aud: ["other", "turnpike"] }, "authenticated"],
    ["of another issuer", { iss: "https://evil.example.org" }, "unknownActor"],
    ["expired", { exp: START_SECONDS - 31 }, "expired"],
    ["expired within the tolerance", { exp: START_SECONDS - 29 }, "authenticated"],
    ["not valid yet", { nbf: START_SECONDS + 31 }, "badCredentials"],
    ["valid within the tolerance", { nbf: START_SECONDS + 29 }, "authenticated"],
  ])("a token %s: %s", async (_, claims, expected) => {
    expect(await kindFor(create(), await mint(key, claims))).toBe(expected);
  });

  test("a type can be required", async () => {
    const scheme = create({ tokenType: "at+jwt" });
    expect(await kindFor(scheme, await mint(key, { typ: "at+jwt" }))).toBe("authenticated");
    expect(await kindFor(scheme, await mint(key, { typ: "JWT" }))).toBe("badCredentials");
    expect(await kindFor(scheme, await mint(key))).toBe("badCredentials");
  });

  test("signatures by others, by shared secrets and by none are refused", async () => {
    const scheme = create();
    expect(await kindFor(scheme, await mint({ ...(await createKey("k2")), kid: "k1" }))).toBe("badCredentials");
    const [, claims = ""] = (await mint(key)).split(".");
    const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    expect(await kindFor(scheme, `${none}.${claims}.AA`)).toBe("badCredentials");
    const secret = new TextEncoder().encode(JSON.stringify(key.publicJwk));
    const mac = await new SignJWT({ sub: "x" })
      .setProtectedHeader({ alg: "HS256", kid: "k1" })
      .setIssuer(issuer.url)
      .setAudience("turnpike")
      .setExpirationTime(START_SECONDS + 60)
      .sign(secret);
    expect(await kindFor(scheme, mac)).toBe("badCredentials");
  });

  test.each([
    ["tp_abc", "notRequested"],
    ["a.b", "notRequested"],
    ["a.b.c.d", "notRequested"],
    ["!.b.c", "notRequested"],
    ["a.b.c", "badFormat"],
    [`a.${Buffer.from("[]").toString("base64url")}.c`, "badFormat"],
    [`${"a".repeat(20_000)}.b.c`, "badFormat"],
  ])("%.30s is %s", async (token, expected) => {
    expect(await kindFor(create(), token)).toBe(expected);
    expect(issuer.requests).toEqual([]);
  });

  test("follows a rotation: a new key is fetched once the cool-down allows it, and a removed key goes with its age", async () => {
    const scheme = create({ cooldownMs: 30_000, keysMaxAgeMs: 600_000 });
    const old = await mint(key);
    expect(await kindFor(scheme, old)).toBe("authenticated");
    const next = await createKey("k2");
    issuer.keys = [next];
    const fresh = await mint(next);
    expect(await kindFor(scheme, fresh)).toBe("badCredentials");
    expect(issuer.requests.filter((path) => path === "/keys")).toHaveLength(1);
    expect(await kindFor(scheme, old)).toBe("authenticated");
    advance(30_000);
    expect(await kindFor(scheme, fresh)).toBe("authenticated");
    expect(await kindFor(scheme, old)).toBe("badCredentials");
    expect(issuer.requests.filter((path) => path === "/keys")).toHaveLength(2);
  });

  test("a key set that can't be had is unavailable, asked for again after a pause, and then back", async () => {
    const scheme = create({ retryAfterMs: 2_000 });
    const token = await mint(key);
    issuer.down = true;
    for (let attempt = 0; attempt < 20; attempt++) expect(await kindFor(scheme, token)).toBe("unavailable");
    expect(issuer.requests).toHaveLength(1);
    issuer.down = false;
    expect(await kindFor(scheme, token)).toBe("unavailable");
    advance(2_000);
    expect(await kindFor(scheme, token)).toBe("authenticated");
  });

  test("known keys go on working while the issuer is down; unknown ones are neither right nor wrong", async () => {
    const scheme = create({ cooldownMs: 30_000 });
    const token = await mint(key);
    expect(await kindFor(scheme, token)).toBe("authenticated");
    await issuer.stop();
    advance(60_000);
    expect(await kindFor(scheme, await mint(await createKey("k2")))).toBe("unavailable");
    expect(await kindFor(scheme, token)).toBe("authenticated");
    advance(600_000);
    expect(await kindFor(scheme, token)).toBe("unavailable");
    await issuer.start();
  });

  test("an issuer can't speak for another", async () => {
    issuer.discoveredIssuer = "https://other.example.org";
    expect(await kindFor(create(), await mint(key))).toBe("unavailable");
    expect(issuer.requests).not.toContain("/keys");
  });

  test("a key set whose place is known needs no discovery", async () => {
    expect(await kindFor(create({}, { jwksUri: `${issuer.url}/keys` }), await mint(key))).toBe("authenticated");
    expect(issuer.requests).toEqual(["/keys"]);
  });

  test.each<[string, BearerOptions["issuers"]]>([
    ["no issuer", []],
    ["plain http", [{ issuer: "http://idp.example.org", audience: "a" }]],
    ["no URL", [{ issuer: "idp", audience: "a" }]],
    [
      "keys by plain http",
      [{ issuer: "https://idp.example.org", audience: "a", jwksUri: "http://idp.example.org/keys" }],
    ],
    ["an issuer twice", [1, 2].map(() => ({ issuer: "https://idp.example.org", audience: "a" }))],
  ])("refuses %s", (_, issuers) => {
    expect(() => new BearerScheme({ issuers })).toThrow(TypeError);
  });
});
