import { inspect } from "node:util";
import {
  CachedVerifier,
  CredentialCache,
  type CredentialVerifier,
  OperationContext,
  Secret,
  type VerifierResult,
} from "@turnpike/authn";
import { LdapVerifier, type LdapVerifierOptions } from "@turnpike/authn/ldap";
import { ManualClock, RecordingLogger } from "@turnpike/authn/testing";
import { Attribute, Change, Client } from "ldapts";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  ADMIN_DN,
  ADMIN_PASSWORD,
  BASE_DN,
  group,
  person,
  SERVICE_DN,
  SERVICE_PASSWORD,
  type Slapd,
  startSlapd,
} from "./support/slapd.ts";

const PEOPLE = `ou=people,${BASE_DN}`;
const GROUPS = `ou=groups,${BASE_DN}`;
const USER_DN = `uid={username},${PEOPLE}`;
const logger = new RecordingLogger();
const ctx = OperationContext.internal("test", { logger });

let slapd: Slapd;
let open: LdapVerifier[] = [];

beforeAll(async () => {
  const people = ["ann", "bob", "cid", "dee", "eve", "fay", "gus", "hal", "ida"];
  slapd = await startSlapd({
    ldif: [
      ...people.map((uid) => person(uid, { password: `${uid}-password` })),
      person("nul", { password: "x" }).replace("userPassword: x\n", ""),
      person("o\\,brien", { password: "brien-password" }).replaceAll(": o\\,brien\n", ": o,brien\n"),
      group("turn-admins", ["ann", "o\\,brien"]),
      group("staff", ["ann", "bob"]),
    ].join("\n"),
  });
});

afterEach(async () => {
  await Promise.all(open.map((verifier) => verifier.close()));
  open = [];
});

afterAll(async () => {
  await slapd.remove();
});

function make(options: Partial<LdapVerifierOptions> = {}): LdapVerifier {
  const verifier = new LdapVerifier({
    url: slapd.url,
    userDn: USER_DN,
    groups: { baseDn: GROUPS },
    roles: { [`CN=Turn-Admins, ${GROUPS}`]: ["admin", "operator"], staff: "viewer" },
    ...options,
  });
  open.push(verifier);
  return verifier;
}

/** Finds users by a service account. */
function makeSearching(options: Partial<LdapVerifierOptions> = {}): LdapVerifier {
  const search = { baseDn: BASE_DN, bindDn: SERVICE_DN, bindPassword: new Secret(SERVICE_PASSWORD) };
  const verifier = new LdapVerifier({ url: slapd.url, search, ...options });
  open.push(verifier);
  return verifier;
}

function login(verifier: CredentialVerifier, username: string, password: string): Promise<VerifierResult> {
  return verifier.verify(ctx, { username, password: new Secret(password) });
}

async function asAdmin(work: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({ url: slapd.url });
  try {
    await client.bind(ADMIN_DN, ADMIN_PASSWORD);
    await work(client);
  } finally {
    await client.unbind();
  }
}

async function changePassword(uid: string, { from, to }: { from: string; to: string }): Promise<void> {
  const client = new Client({ url: slapd.url });
  const modification = new Attribute({ type: "userPassword", values: [to] });
  try {
    await client.bind(`uid=${uid},${PEOPLE}`, from);
    await client.modify(`uid=${uid},${PEOPLE}`, new Change({ operation: "replace", modification }));
  } finally {
    await client.unbind();
  }
}

describe("LdapVerifier against slapd", () => {
  it("tells right passwords from wrong ones, and maps groups to roles", async () => {
    const verifier = make();
    expect(await login(verifier, "ann", "ann-password")).toEqual({
      kind: "verified",
      subject: `uid=ann,${PEOPLE}`,
      displayName: "Person ann",
      groups: expect.arrayContaining([`cn=turn-admins,${GROUPS}`, `cn=staff,${GROUPS}`]),
      roles: ["admin", "operator", "viewer"],
    });
    expect(await login(verifier, "bob", "bob-password")).toMatchObject({ roles: ["viewer"] });
    expect(await login(verifier, "cid", "cid-password")).toMatchObject({ groups: [], roles: [] });
    expect(await login(verifier, "ann", "Ann-password")).toEqual({ kind: "rejected", reason: "badCredentials" });
    expect(await login(verifier, "nobody", "x")).toMatchObject({ kind: "rejected" });
    expect(await login(verifier, "nul", "x")).toMatchObject({ kind: "rejected" });
  });

  it("finds users by a service account, with a subject that outlives a name", async () => {
    const verifier = makeSearching({ subjectAttribute: "entryUUID", groups: { baseDn: GROUPS, as: "service" } });
    expect(await login(verifier, "ANN", "ann-password")).toMatchObject({
      kind: "verified",
      subject: expect.stringMatching(/^[0-9a-f-]{36}$/u),
      groups: expect.arrayContaining([`cn=staff,${GROUPS}`]),
    });
    expect(await login(verifier, "ann", "wrong")).toMatchObject({ reason: "badCredentials" });
    expect(await login(verifier, "nobody", "x")).toEqual({ kind: "rejected", reason: "unknownUser" });
    // The service account is misconfigured: nobody's password is wrong.
    const search = { baseDn: BASE_DN, bindDn: SERVICE_DN, bindPassword: new Secret("not it") };
    expect(await login(makeSearching({ search }), "ann", "ann-password")).toMatchObject({ kind: "unavailable" });
    expect(await login(make({ subjectAttribute: "employeeNumber" }), "ann", "ann-password")).toMatchObject({
      kind: "unavailable",
    });
  });

  it("reads the groups that the server keeps with the user", async () => {
    const modification = new Attribute({ type: "member", values: [`uid=cid,${PEOPLE}`] });
    await asAdmin((client) => client.modify(`cn=staff,${GROUPS}`, new Change({ operation: "add", modification })));
    const verifier = makeSearching({ roles: { STAFF: "viewer" } });
    expect(await login(verifier, "cid", "cid-password")).toMatchObject({
      groups: [`cn=staff,${GROUPS}`],
      roles: ["viewer"],
    });
  });

  it("never takes an empty password, which the server would accept as an anonymous bind", async () => {
    for (const verifier of [make(), makeSearching()]) {
      expect(await login(verifier, "ann", "")).toMatchObject({ kind: "rejected", reason: "badCredentials" });
    }
  });

  it("keeps names that hold syntax of DNs and filters apart from it", async () => {
    const names = ["*", "ann)(uid=*", "a*", "ann,ou=people", "ann+cn=ann", "\\61nn", "ann#", " ann\\", "ann\u0000"];
    for (const verifier of [make(), makeSearching({ groups: { baseDn: GROUPS } })]) {
      for (const name of names) {
        expect(await login(verifier, name, "ann-password")).toMatchObject({ kind: "rejected" });
      }
      expect(await login(verifier, "o,brien", "brien-password")).toMatchObject({
        kind: "verified",
        groups: [`cn=turn-admins,${GROUPS}`],
      });
    }
    // A name with spaces around it is the same to the directory, and to the cache.
    expect(make().normalizeUsername(" Ann ")).toBe("ann");
  });

  it("says that an account is locked, though the password is right", async () => {
    for (const verifier of [make(), makeSearching()]) {
      const uid = verifier === open[0] ? "dee" : "eve";
      for (let i = 0; i < 5; i++) expect(await login(verifier, uid, "guess")).toMatchObject({ kind: "rejected" });
      expect(await login(verifier, uid, `${uid}-password`)).toMatchObject({ kind: "rejected", reason: "locked" });
    }
  });

  it("refuses a password that must be changed first", async () => {
    const modification = new Attribute({ type: "userPassword", values: ["given-by-admin"] });
    await asAdmin((client) => client.modify(`uid=ida,${PEOPLE}`, new Change({ operation: "replace", modification })));
    expect(await login(make(), "ida", "given-by-admin")).toMatchObject({ kind: "rejected", reason: "locked" });
    expect(await login(make(), "ida", "ida-password")).toMatchObject({ reason: "badCredentials" });
  });

  it("knows a renamed user by the new name only, cached or not, and by the same subject", async () => {
    const clock = new ManualClock();
    const slow = makeSearching({ subjectAttribute: "entryUUID" });
    const cache = new CredentialCache({ enabled: true, expirySeconds: 30, clock });
    const verifier = new CachedVerifier({ verifier: slow, cache });
    const before = await login(verifier, "fay", "fay-password");
    await asAdmin((client) => client.modifyDN(`uid=fay,${PEOPLE}`, "uid=faye"));
    expect(await login(verifier, "fay", "fay-password")).toEqual({ ...before, source: "cache" });
    clock.advance(30_000);
    expect(await login(verifier, "fay", "fay-password")).toMatchObject({ kind: "rejected", reason: "unknownUser" });
    expect(await login(verifier, "faye", "fay-password")).toEqual(before);
  });

  it("refuses a changed password's predecessor when its time is over, or at once after a flush", async () => {
    const clock = new ManualClock();
    const cache = new CredentialCache({ enabled: true, expirySeconds: 30, clock });
    const verifier = new CachedVerifier({ verifier: make(), cache });
    expect(await login(verifier, "gus", "gus-password")).toMatchObject({ kind: "verified" });
    await changePassword("gus", { from: "gus-password", to: "second" });
    clock.advance(29_999);
    expect(await login(verifier, "gus", "gus-password")).toMatchObject({ kind: "verified", source: "cache" });
    clock.advance(1);
    expect(await login(verifier, "gus", "gus-password")).toMatchObject({ kind: "rejected" });
    expect(await login(verifier, "gus", "second")).toMatchObject({ kind: "verified" });
    await changePassword("gus", { from: "second", to: "third" });
    await cache.flush(ctx, { username: "GUS" });
    expect(await login(verifier, "gus", "second")).toMatchObject({ kind: "rejected" });
    // The new one is accepted at once, and from then on the old one refused.
    expect(await login(verifier, "gus", "third")).toMatchObject({ kind: "verified" });
    await changePassword("gus", { from: "third", to: "fourth" });
    expect(await login(verifier, "gus", "fourth")).toMatchObject({ kind: "verified" });
    expect(await login(verifier, "gus", "third")).toMatchObject({ kind: "rejected" });
  });

  it.each([
    ["ldaps", () => ({ url: slapd.secureUrl, tls: { ca: slapd.ca } })],
    ["StartTLS", () => ({ url: slapd.url, startTls: true, tls: { ca: slapd.ca } })],
  ])("speaks %s, with kept connections", async (_name, options) => {
    const verifier = make(options());
    for (let i = 0; i < 3; i++) {
      expect(await login(verifier, "ann", "ann-password")).toMatchObject({ roles: ["admin", "operator", "viewer"] });
      expect(await login(verifier, "ann", "wrong")).toMatchObject({ reason: "badCredentials" });
    }
    expect(verifier.connectionCount).toBe(1);
  });

  it.each([
    ["ldaps whose signer nobody trusts", () => ({ url: slapd.secureUrl })],
    ["StartTLS whose signer nobody trusts", () => ({ url: slapd.url, startTls: true })],
    ["ldaps on a port that speaks ldap", () => ({ url: slapd.url.replace("ldap:", "ldaps:"), timeoutMs: 500 })],
    ["ldap on a port that speaks ldaps", () => ({ url: slapd.secureUrl.replace("ldaps:", "ldap:"), timeoutMs: 500 })],
    [
      "ldaps in another's name",
      () => ({ url: slapd.secureUrl.replace("localhost", "127.0.0.1"), tls: { ca: slapd.ca } }),
    ],
    ["a port where nobody is", () => ({ url: "ldap://127.0.0.1:1" })],
  ])("is unavailable, and sends no password, with %s", async (_name, options) => {
    expect(await login(make(options()), "ann", "ann-password")).toMatchObject({ kind: "unavailable" });
  });

  it("tries servers in order", async () => {
    expect(await login(make({ url: ["ldap://127.0.0.1:1", slapd.url] }), "ann", "ann-password")).toMatchObject({
      kind: "verified",
    });
  });

  it("keeps within its number of connections, however many ask", async () => {
    const verifier = make({ maxConnections: 2 });
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) => login(verifier, "hal", i % 10 === 0 ? "hal-password" : "")),
    );
    expect(results.filter(({ kind }) => kind === "verified")).toHaveLength(5);
    expect(verifier.connectionCount).toBeLessThanOrEqual(2);
    const crowded = make({ maxConnections: 1, maxQueued: 1 });
    const kinds = await Promise.all(Array.from({ length: 4 }, () => login(crowded, "ann", "ann-password")));
    expect(kinds.map(({ kind }) => kind).toSorted()).toEqual(["unavailable", "unavailable", "verified", "verified"]);
  });

  it.each([false, true])(
    "is unavailable while the server is away, and back when it is (StartTLS: %s)",
    async (startTls) => {
      const verifier = make({ startTls, tls: { ca: slapd.ca } });
      const cached = new CachedVerifier({ verifier, cache: new CredentialCache({ enabled: true }) });
      expect(await login(verifier, "ann", "ann-password")).toMatchObject({ kind: "verified" });
      expect(await login(cached, "bob", "bob-password")).toMatchObject({ kind: "verified" });
      await slapd.stop();
      try {
        expect(await login(verifier, "ann", "ann-password")).toMatchObject({ kind: "unavailable" });
        expect(await login(verifier, "ann", "wrong")).toMatchObject({ kind: "unavailable" });
        expect(await login(cached, "ann", "ann-password")).toMatchObject({ kind: "unavailable" });
        expect(await login(cached, "bob", "wrong")).toMatchObject({ kind: "unavailable" });
        expect(await login(cached, "bob", "bob-password")).toMatchObject({ kind: "verified", source: "cache" });
      } finally {
        await slapd.start();
      }
      expect(await login(verifier, "ann", "ann-password")).toMatchObject({ kind: "verified" });
      expect(await login(verifier, "ann", "wrong")).toMatchObject({ kind: "rejected" });
    },
  );

  it("doesn't wait for ever for a server that answers nothing, on kept and on fresh connections", async () => {
    const kept = make({ timeoutMs: 200 });
    expect(await login(kept, "ann", "ann-password")).toMatchObject({ kind: "verified" });
    slapd.pause();
    try {
      for (const verifier of [kept, make({ timeoutMs: 200 }), make({ timeoutMs: 5000, deadlineMs: 200 })]) {
        expect(await login(verifier, "ann", "ann-password")).toMatchObject({ kind: "unavailable" });
        expect(verifier.connectionCount).toBe(0);
      }
      const secure = make({ timeoutMs: 200, url: slapd.secureUrl, tls: { ca: slapd.ca } });
      expect(await login(secure, "ann", "ann-password")).toMatchObject({ kind: "unavailable" });
    } finally {
      slapd.resume();
    }
    expect(await login(kept, "ann", "ann-password")).toMatchObject({ kind: "verified" });
  });

  it("ends with its signal, and when it is closed", async () => {
    const verifier = make();
    const password = new Secret("ann-password");
    expect(await verifier.verify(ctx, { username: "ann", password, signal: AbortSignal.abort() })).toMatchObject({
      kind: "unavailable",
    });
    const abort = new AbortController();
    const pending = verifier.verify(ctx, { username: "ann", password, signal: abort.signal });
    abort.abort();
    expect(await pending).toMatchObject({ kind: "unavailable" });
    expect(await login(verifier, "ann", "ann-password")).toMatchObject({ kind: "verified" });
    await verifier.close();
    expect(await login(verifier, "ann", "ann-password")).toMatchObject({ kind: "unavailable" });
    expect(verifier.connectionCount).toBe(0);
  });

  it("prints no password, in results and logs", async () => {
    const results = [
      await login(make(), "ann", "secret-guess"),
      await login(make({ url: "ldap://127.0.0.1:1" }), "ann", "secret-guess"),
      await login(makeSearching({ search: { baseDn: "dc=no" } }), "ann", "secret-guess"),
    ];
    const shown = inspect([results, logger.lines, open], { depth: 20, showHidden: true });
    expect(shown).not.toMatch(/secret-guess|service-password/u);
  });
});
