import { CachedVerifier, CredentialCache, type CredentialVerifier, OperationContext, Secret } from "@turnpike/authn";
import { LdapVerifier } from "@turnpike/authn/ldap";
import { USERS, verifierContract, type VerifierUnderTest } from "../contract/support/verifier-contract.ts";
import { BASE_DN, person, SERVICE_DN, SERVICE_PASSWORD, type Slapd, startSlapd } from "./support/slapd.ts";

async function ldap(make: (slapd: Slapd) => CredentialVerifier): Promise<VerifierUnderTest> {
  const people = Object.entries(USERS).map(([uid, password]) =>
    // Base64, as LDIF wants what isn't ASCII (RFC 2849).
    person(uid, { password: "x" }).replace(
      "userPassword: x",
      `userPassword:: ${Buffer.from(password).toString("base64")}`,
    ),
  );
  const slapd = await startSlapd({ ldif: people.join("\n"), lockout: false });
  return {
    verifier: make(slapd),
    another: () => make(slapd),
    stop: () => slapd.stop(),
    start: () => slapd.start(),
    remove: () => slapd.remove(),
  };
}

const byTemplate = ({ url }: Slapd): LdapVerifier =>
  new LdapVerifier({ url, userDn: `uid={username},ou=people,${BASE_DN}` });

const bySearch = ({ secureUrl, ca }: Slapd): LdapVerifier =>
  new LdapVerifier({
    url: secureUrl,
    tls: { ca },
    search: { baseDn: BASE_DN, bindDn: SERVICE_DN, bindPassword: new Secret(SERVICE_PASSWORD) },
  });

verifierContract("ldap by template", () => ldap(byTemplate));
verifierContract("ldaps by search", () => ldap(bySearch));
verifierContract("cached ldap", async () => {
  const cache = new CredentialCache({ enabled: true });
  const slow = await ldap((slapd) => new CachedVerifier({ verifier: byTemplate(slapd), cache }));
  return { ...slow, forget: async () => void (await cache.flush(OperationContext.internal("test"))) };
});
