import { describe, expect, it } from "vitest";
import { Secret } from "../../core/secret.ts";
import { bindNameOf, fillFilter, type LdapVerifierOptions, parseLdapOptions } from "./ldap-options.ts";

const url = "ldaps://ldap.example.org";
const userDn = "uid={username},ou=people,dc=example";
const baseDn = "dc=example";

describe("parseLdapOptions", () => {
  it.each<[RegExp, LdapVerifierOptions]>([
    [/without a server/u, { url: [], userDn }],
    [/as an LDAP server/u, { url: "https://ldap.example.org", userDn }],
    [/as an LDAP server/u, { url: "ldap.example.org", userDn }],
    [/more than a host and a port/u, { url: "ldaps://ldap.example.org/dc=example", userDn }],
    [/more than a host and a port/u, { url: "ldaps://admin:pw@ldap.example.org", userDn }],
    [/unencrypted/u, { url: "ldap://ldap.example.org", userDn }],
    [/unencrypted/u, { url: ["ldaps://a", "ldap://127.evil.example"], userDn }],
    [/StartTLS/u, { url, startTls: true, userDn }],
    [/user_dn/u, { url }],
    [/lacks \{username\}/u, { url, userDn: "uid=ann,dc=example" }],
    [/user_dn/u, { url, userDn: "uid={username},nonsense" }],
    [/Cannot bind as/u, { url, userDn: "{username}" }],
    [/half a service account/u, { url, search: { baseDn, bindDn: "cn=s,dc=example" } }],
    [/empty password/u, { url, search: { baseDn, bindDn: "cn=s,dc=example", bindPassword: new Secret("") } }],
    [/user search/u, { url, search: { baseDn: "example" } }],
    [/lacks \{username\}/u, { url, search: { baseDn, filter: "(uid=ann)" } }],
    [/Cannot read the user filter/u, { url, search: { baseDn, filter: "(uid={username}" } }],
    [/lacks \{dn\}/u, { url, userDn, groups: { baseDn, filter: "(cn=x)" } }],
    [/as the service account/u, { url, userDn, groups: { baseDn, as: "service" } }],
    [/timeoutMs/u, { url, userDn, timeoutMs: 0 }],
    [/maxConnections/u, { url, userDn, maxConnections: Number.NaN }],
  ])("says %s", (message, options) => {
    expect(() => parseLdapOptions(options)).toThrow(message);
  });

  it("knows hosts, ports and what is secure", () => {
    const { servers } = parseLdapOptions({
      url: [url, "ldap://[::1]:1389", "ldap://127.0.0.1", "ldaps://h:6360"],
      userDn,
    });
    expect(servers.map(({ host, port, secure }) => [host, port, secure])).toEqual([
      ["ldap.example.org", 636, true],
      ["::1", 1389, false],
      ["127.0.0.1", 389, false],
      ["h", 6360, true],
    ]);
  });
});

describe("the bind name", () => {
  it("is a DN in which a name stays a value", () => {
    const settings = parseLdapOptions({ url, userDn });
    expect(bindNameOf(settings, "ann,ou=admins")).toBe("uid=ann\\,ou\\=admins,ou=people,dc=example");
    expect(bindNameOf(settings, "$&$1")).toBe("uid=$&$1,ou=people,dc=example");
  });

  it.each(["{username}@example.org", "EXAMPLE\\{username}"])(
    "is a logon name by %s, of nothing but a name",
    (userDn) => {
      const settings = parseLdapOptions({ url, userDn });
      expect(bindNameOf(settings, "ann.b-c$1")).toBe(userDn.replace("{username}", () => "ann.b-c$1"));
      for (const username of ["ann@evil.org", "EVIL\\ann", "a=b", "a b", "a/b", "a,b", "a*"]) {
        expect(bindNameOf(settings, username)).toBeUndefined();
      }
    },
  );
});

describe("fillFilter", () => {
  it("escapes values, and fills none into another", () => {
    expect(fillFilter("(|(uid={username})(member={dn}))", { username: "*)(uid=*\0\\{dn}", dn: "cn=(x)" })).toBe(
      "(|(uid=\\2a\\29\\28uid=\\2a\\00\\5c{dn})(member=cn=\\28x\\29))",
    );
  });
});
