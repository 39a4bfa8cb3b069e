/** `[external_auth]` of `turnpike serve` with Debian's slapd. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { expectToServe } from "../support/external-auth.ts";
import { ServedPortal } from "../support/served-portal.ts";
import { BASE_DN, group, person, type Slapd, startSlapd } from "./support/slapd.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-ldap-portal-"));
let slapd: Slapd;
beforeAll(async () => {
  const people = [person("ann", { password: "ann-password" }), person("bob", { password: "bob-password" })];
  slapd = await startSlapd({ ldif: [...people, group("admins", ["ann"])].join("\n") });
});
afterAll(async () => {
  await slapd.remove();
  rmSync(folder, { recursive: true });
});

it("lets who is in a directory mint, sign in and look after the cache", async () => {
  const configuration = `
[authn]
schemes_external = ["basic", "session-cookie", "access-token"]
[penalties]
delay = "none"
[external_auth]
kind = "ldap"
url = "${slapd.url}"
user_dn = "uid={username},ou=people,${BASE_DN}"
group_base_dn = "ou=groups,${BASE_DN}"
[[external_auth.role]]
name = "admins"
roles = ["admin"]
[external_auth_cache]
enabled = true
expiry = 30.0
size = 10
`;
  const place = mkdtempSync(join(folder, "serve-"));
  writeFileSync(join(place, "turnpike.toml"), configuration);
  const portal = await ServedPortal.start(place, { more: ["--metrics=off"] });
  await expectToServe(portal, { user: "ann", password: "ann-password" });
  expect((await portal.basic("bob", "bob-password", "GET", "/v1/whoami")).status).toBe(401);
  expect((await portal.basic("ann", "wrong", "GET", "/v1/whoami")).status).toBe(401);
  // A directory that doesn't answer is no wrong password. Of bob the cache knows.
  await slapd.stop();
  const away = await portal.basic("carol", "carol-password", "GET", "/v1/whoami");
  expect(away.status).toBe(503);
  expect(away.headers.get("www-authenticate")).toBeNull();
});
