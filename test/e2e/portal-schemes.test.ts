/** Other ways to authenticate to the portal's API, by the configuration of `turnpike serve`. */
import { createSecretKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contentDigest, signRequest } from "@turnpike/authn";
import { afterAll, expect, it } from "vitest";
import { runChild } from "../support/child.ts";
import { keep } from "../support/relay.ts";
import { ServedPortal } from "../support/served-portal.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-schemes-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function serve(toml: string, files: Readonly<Record<string, string>> = {}): Promise<ServedPortal> {
  const place = mkdtempSync(join(folder, "serve-"));
  writeFileSync(join(place, "turnpike.toml"), `${toml}\n[penalties]\ndelay = "none"\n`);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(place, name), text);
  return ServedPortal.start(place, { more: ["--metrics=off"] });
}

/** As the administrator of the first start. */
async function createUser(portal: ServedPortal, id: string, roles: readonly string[]): Promise<void> {
  const token = /tp_[\w-]{43}/.exec(portal.child.stdout())?.[0] ?? "";
  const headers = { authorization: `Bearer ${token}` };
  expect((await portal.request("POST", "/v1/users", { headers, body: { id, roles } })).status).toBe(201);
}

/** An OpenID Connect provider on loopback. */
async function startIssuer() {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keys = [{ ...publicKey.export({ format: "jwk" }), kid: "k1", alg: "ES256", use: "sig" }];
  const server = createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(request.url === "/keys" ? { keys } : { issuer: url, jwks_uri: `${url}/keys` }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server's address is no string
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  keep({
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString("base64url");
  const tokenOf = (claims: Readonly<Record<string, unknown>>): string => {
    const exp = Math.floor(Date.now() / 1_000) + 3_600;
    const text = `${encode({ alg: "ES256", kid: "k1" })}.${encode({ iss: url, aud: "turnpike", exp, ...claims })}`;
    return `${text}.${sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
  return { url, tokenOf };
}

it("bearer: a token of the issuer speaks for the portal's user whom it names, with that one's roles", async () => {
  const issuer = await startIssuer();
  const portal = await serve(`
[authn]
schemes_external = ["access-token", "bearer"]
[[authn.bearer]]
issuer = "${issuer.url}"
audience = ["turnpike"]
user_claim = "preferred_username"
`);
  await createUser(portal, "ann", ["minter"]);
  const as = (claims: Readonly<Record<string, unknown>>, method = "GET", path = "/v1/whoami", body?: unknown) =>
    portal.request(method, path, { headers: { authorization: `Bearer ${issuer.tokenOf(claims)}` }, body });
  const ann = { sub: "0001", preferred_username: "ann" };
  expect((await as(ann)).body).toMatchObject({ id: "ann", roles: ["minter"], scheme: "bearer" });
  expect((await as(ann, "POST", "/v1/credentials", { ttl: 60 })).status).toBe(201);
  expect((await as(ann, "GET", "/v1/users")).status).toBe(403);
  const refused = await as({ sub: "0002", preferred_username: "bob" });
  expect(refused.status).toBe(401);
  expect(refused.headers.get("www-authenticate")).toContain("Bearer ");
  expect((await as({ ...ann, aud: "others" })).status).toBe(401);
  expect((await as({ sub: "ann" })).status).toBe(401);
});

it("http-signature: a signed request is its key's user's, once", async () => {
  const ed25519 = generateKeyPairSync("ed25519");
  const secret = Buffer.alloc(32, 7);
  const toml = `
[authn]
schemes_external = ["access-token", "http-signature"]
[[authn.signature_key]]
id = "billing-1"
user = "billing"
algorithm = "ed25519"
key_file = "billing.pem"
[[authn.signature_key]]
id = "shop-1"
user = "shop"
algorithm = "hmac-sha256"
key = "${secret.toString("base64")}"
`;
  const portal = await serve(toml, {
    "billing.pem": ed25519.publicKey.export({ type: "spki", format: "pem" }),
  });
  await createUser(portal, "billing", ["minter"]);
  const { host } = new URL(portal.url);
  const signed = (keyid: string, key: KeyObject, body?: unknown): Record<string, string> => {
    const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers = bytes === undefined ? {} : { "content-digest": contentDigest(bytes) };
    const request = {
      method: body === undefined ? "GET" : "POST",
      protocol: "http",
      authority: host,
      target: body === undefined ? "/v1/whoami" : "/v1/credentials",
      headers,
      remoteAddress: "",
    } as const;
    const fields = signRequest(request, {
      algorithm: keyid === "shop-1" ? "hmac-sha256" : "ed25519",
      key,
      components: ["@method", "@target-uri", ...Object.keys(headers)],
      parameters: { created: Math.floor(Date.now() / 1_000), keyid, nonce: randomUUID() },
    });
    return { ...headers, ...fields };
  };
  const headers = signed("billing-1", ed25519.privateKey);
  const first = await portal.request("GET", "/v1/whoami", { headers });
  expect(first.body).toMatchObject({ id: "billing", roles: ["minter"], scheme: "http-signature" });
  expect((await portal.request("GET", "/v1/whoami", { headers })).status).toBe(401);
  const body = { ttl: 60 };
  const minting = signed("billing-1", ed25519.privateKey, body);
  expect((await portal.request("POST", "/v1/credentials", { headers: minting, body: { ttl: 61 } })).status).toBe(400);
  const again = signed("billing-1", ed25519.privateKey, body);
  expect((await portal.request("POST", "/v1/credentials", { headers: again, body })).status).toBe(201);
  // Its user isn't there, until there is one.
  const shop = (): Record<string, string> => signed("shop-1", createSecretKey(secret));
  expect((await portal.request("GET", "/v1/whoami", { headers: shop() })).status).toBe(401);
  await createUser(portal, "shop", ["viewer"]);
  expect((await portal.request("GET", "/v1/whoami", { headers: shop() })).body).toMatchObject({ id: "shop" });
  expect(portal.child.stderr()).not.toContain(secret.toString("base64"));
});

it("what is missing is named", async () => {
  const place = mkdtempSync(join(folder, "check-"));
  const check = async (toml: string): Promise<string> => {
    writeFileSync(join(place, "turnpike.toml"), toml);
    const ran = await runChild({ command: "turnpike", args: ["config", "check"], cwd: place, timeoutMs: 60_000 });
    expect(ran.code).toBe(2);
    return ran.stderr;
  };
  const listed = (name: string): string => `[authn]\nschemes_external = ["${name}"]\n`;
  expect(await check(listed("bearer"))).toContain('"bearer" needs at least one [[authn.bearer]]');
  expect(await check(listed("http-signature"))).toContain(
    '"http-signature" needs at least one [[authn.signature_key]]',
  );
  const unused = '[[authn.bearer]]\nissuer = "https://id.example"\naudience = ["turnpike"]\n';
  expect(await check(unused)).toContain('has no effect unless authn.schemes_external lists "bearer"');
  const key = '[[authn.signature_key]]\nid = "a"\nuser = "b"\nalgorithm = "hmac-sha256"\nkey = "c2hvcnQ="\n';
  expect(await check(`${listed("http-signature")}${key}`)).toMatch(
    /authn\.signature_key.*key: must be at least 32 bytes/,
  );
});
