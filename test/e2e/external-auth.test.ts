/** Passwords that somebody else knows: `[external_auth]` of `turnpike serve`, by a file of htpasswd. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hash } from "bcryptjs";
import { afterAll, expect, it } from "vitest";
import { runChild } from "../support/child.ts";
import { expectToServe } from "../support/external-auth.ts";
import { ServedPortal } from "../support/served-portal.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-external-"));
afterAll(() => rmSync(folder, { recursive: true }));

const CONFIGURATION = `
[authn]
schemes_external = ["session-cookie", "access-token", "basic"]
[penalties]
delay = "none"
[external_auth]
kind = "htpasswd"
path = "people"
[[external_auth.role]]
name = "ann"
roles = ["admin"]
[external_auth_cache]
enabled = true
expiry = 30.0
size = 10
`;

it("lets who stands in an htpasswd file mint, sign in and look after the cache", async () => {
  const place = mkdtempSync(join(folder, "serve-"));
  writeFileSync(join(place, "turnpike.toml"), CONFIGURATION);
  const lines = [`ann:${await hash("ann-password", 4)}`, `bob:${await hash("bob-password", 4)}`];
  writeFileSync(join(place, "people"), `${lines.join("\n")}\n`);
  const portal = await ServedPortal.start(place, { more: ["--metrics=off"] });
  await expectToServe(portal, { user: "ann", password: "ann-password" });
  // Known there, without a role: nobody here.
  const bob = await portal.basic("bob", "bob-password", "GET", "/v1/whoami");
  expect(bob.status).toBe(401);
  expect(bob.headers.get("www-authenticate")).toContain("Basic ");
  const token = /tp_[\w-]{43}/.exec(portal.child.stdout())?.[0] ?? "";
  const asAdmin = { headers: { authorization: `Bearer ${token}` } };
  expect(
    (await portal.request("POST", "/v1/users", { ...asAdmin, body: { id: "bob", roles: ["viewer"] } })).status,
  ).toBe(201);
  expect((await portal.basic("bob", "bob-password", "GET", "/v1/whoami")).body).toMatchObject({ roles: ["viewer"] });
  // With a password of the portal's own, the other one is good no more.
  await portal.request("PATCH", "/v1/users/bob", { ...asAdmin, body: { password: "own-password" } });
  expect((await portal.basic("bob", "bob-password", "GET", "/v1/whoami")).status).toBe(401);
});

it("names what is missing", async () => {
  const place = mkdtempSync(join(folder, "check-"));
  const check = async (toml: string): Promise<string> => {
    writeFileSync(join(place, "turnpike.toml"), toml);
    const ran = await runChild({ command: "turnpike", args: ["config", "check"], cwd: place, timeoutMs: 30_000 });
    expect(ran.code).toBe(2);
    return ran.stderr;
  };
  expect(await check('[authn]\nschemes_external = ["basic"]\n')).toContain("external_auth.kind");
  expect(await check('[external_auth]\nkind = "http"\nurl = "https://x"\ntoken_file = "none"\n')).toMatch(
    /external_auth\.token_file: .*none can't be read: no such file/,
  );
});
