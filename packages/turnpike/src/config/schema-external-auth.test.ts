import { Secret } from "@turnpike/authn";
import { createExternalVerifier } from "@turnpike/authn/external";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { externalAuth, externalAuthCache, externalVerifierConfigOf } from "./schema-external-auth.ts";
import { configurationKeys } from "./setting.ts";
import { parseToml } from "./toml.ts";

const schema = z.strictObject({
  external_auth: externalAuth.prefault({}),
  external_auth_cache: externalAuthCache.prefault({}),
});

function complaints(toml: string): readonly string[] {
  const parsed = schema.safeParse(parseToml(toml).value);
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

describe("[external_auth] and [external_auth_cache]", () => {
  it("are off by default", () => {
    const { external_auth: auth, external_auth_cache: cache } = schema.parse({});
    expect(cache).toEqual({ enabled: false, expiry: 300, size: 50, negative_expiry: 30, stale_if_unavailable: 0 });
    expect(externalVerifierConfigOf(auth, cache, {})).toBeUndefined();
  });

  it("make a verifier of what they say", async () => {
    const toml = `
[external_auth]
kind = "ldap"
url = "ldaps://ad.example.org"
user_dn = "uid={username},ou=people,dc=example,dc=org"
group_base_dn = "ou=groups,dc=example,dc=org"
timeout = 2.5
[[external_auth.role]]
name = "admins"
roles = ["admin"]
[external_auth_cache]
enabled = true
expiry = 30.0
size = 10
`;
    const { external_auth: auth, external_auth_cache: cache } = schema.parse(parseToml(toml).value);
    const config = externalVerifierConfigOf(auth, cache, {});
    expect(config).toMatchObject({
      externalAuth: {
        kind: "ldap",
        url: "ldaps://ad.example.org",
        userDn: "uid={username},ou=people,dc=example,dc=org",
        groups: { baseDn: "ou=groups,dc=example,dc=org" },
        roles: { admins: ["admin"] },
        timeoutMs: 2500,
      },
      externalAuthCache: { enabled: true, expirySeconds: 30, size: 10 },
    });
    if (config === undefined) throw new Error("there is no verifier");
    const { verifier, close } = await createExternalVerifier(config);
    expect(verifier.provider).toBe("ldap");
    await close();
  });

  it("hand secrets on, and never as text", () => {
    const { external_auth: auth, external_auth_cache: cache } = schema.parse({
      external_auth: { kind: "http", url: "https://id.example.org", token: "hook-token" },
    });
    const config = externalVerifierConfigOf(auth, cache, { token: new Secret(auth.token ?? "") });
    expect(config?.externalAuth).toMatchObject({ kind: "http", url: "https://id.example.org" });
    expect(JSON.stringify(config)).not.toContain("hook-token");
  });

  it.each([
    [`[external_auth]\nurl = "ldaps://a"`, "external_auth.url: has no effect without external_auth.kind"],
    [
      `[external_auth]\nkind = "htpasswd"\npath = "p"\nurl = "u"`,
      'external_auth.url: has no effect with kind = "htpasswd"',
    ],
    [`[external_auth]\nkind = "ldap"`, 'external_auth.kind: "ldap" needs url'],
    [
      `[external_auth]\nkind = "http"\nurl = "u"\ntoken = "t"\ntoken_file = "f"`,
      "external_auth.token_file: give this or token, not both",
    ],
  ])("refuse what would do nothing: %j", (toml, complaint) => {
    expect(complaints(toml)).toEqual([complaint]);
  });

  it("describe every key, for the help and the reference", () => {
    const keys = configurationKeys(schema);
    expect(keys.map(({ path }) => path.join("."))).toEqual(
      expect.arrayContaining(["external_auth.kind", "external_auth_cache.expiry", "external_auth.role"]),
    );
    for (const { setting } of keys) expect(setting.description).not.toBe("");
  });
});
