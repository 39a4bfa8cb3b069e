import { randomUUID } from "node:crypto";
import { type Client, type Entry, PasswordPolicyControl } from "ldapts";
import type { OperationContext } from "../../core/operation-context.ts";
import {
  type Credentials,
  type CredentialVerifier,
  foldUsername,
  type Rejected,
  rejectImpossible,
  unavailable,
  type VerifierResult,
} from "../verifier.ts";
import { normalizeDn, parseDn } from "./distinguished-name.ts";
import { interpretBindError, isHidden, rejectedByPolicy, resultCodeOf } from "./ldap-answers.ts";
import { type LdapConnection, LdapConnections } from "./ldap-connections.ts";
import {
  bindNameOf,
  fillFilter,
  type LdapSettings,
  type LdapVerifierOptions,
  parseLdapOptions,
} from "./ldap-options.ts";

const UNKNOWN: Rejected = { kind: "rejected", reason: "unknownUser" };
const MAX_GROUPS = 1000;
/** Active Directory: 100 ns since 1601; 0 and the largest number mean never. */
const ACCOUNT_EXPIRES = "accountExpires";
const NEVER = 2n ** 63n - 1n;
const UNIX_EPOCH_IN_MS_SINCE_1601 = 11_644_473_600_000n;

/**
 * Asks an LDAP server or Active Directory by binding as the user. A user's groups come from `memberOf` and, if told, a
 * search; referrals are never followed, since the password would go along.
 *
 * @example
 * const verifier = new LdapVerifier({
 *   url: "ldaps://ldap.example.org",
 *   userDn: "uid={username},ou=people,dc=example,dc=org",
 *   groups: { baseDn: "ou=groups,dc=example,dc=org" },
 *   roles: { "cn=turn-admins,ou=groups,dc=example,dc=org": "admin" },
 * });
 */
export class LdapVerifier implements CredentialVerifier {
  readonly provider: string;
  readonly #settings: LdapSettings;
  readonly #connections: LdapConnections;
  readonly #roles: ReadonlyMap<string, readonly string[]>;

  /** @throws TypeError or RangeError if an option is wrong */
  constructor(options: LdapVerifierOptions) {
    this.#settings = parseLdapOptions(options);
    this.provider = this.#settings.provider;
    this.#connections = new LdapConnections(this.#settings);
    this.#roles = new Map(
      Object.entries(this.#settings.roles).map(([group, roles]) => [
        normalizeDn(group) ?? foldUsername(group),
        typeof roles === "string" ? [roles] : roles,
      ]),
    );
  }

  /** How many connections are open. */
  get connectionCount(): number {
    return this.#connections.count;
  }

  normalizeUsername(username: string): string {
    return this.#settings.caseSensitive ? username : foldUsername(username);
  }

  async verify(ctx: OperationContext, credentials: Credentials): Promise<VerifierResult> {
    const impossible = rejectImpossible(credentials);
    if (impossible !== undefined) return impossible;
    const deadline = AbortSignal.timeout(this.#settings.deadlineMs);
    const given = credentials.signal ?? ctx.signal;
    const signal = given === undefined ? deadline : AbortSignal.any([given, deadline]);
    try {
      return await this.#connections.run((connection) => this.#ask(ctx, connection, credentials), signal);
    } catch (error) {
      return unavailable(`LDAP provider "${this.provider}" gave no answer`, error);
    }
  }

  async close(): Promise<void> {
    this.#connections.close();
  }

  async #ask(ctx: OperationContext, { client }: LdapConnection, credentials: Credentials): Promise<VerifierResult> {
    const { username, password } = credentials;
    const { userDn, search } = this.#settings;
    let entry: Entry | undefined;
    let bindName = bindNameOf(this.#settings, username);
    if (userDn === undefined) {
      await this.#bindService(client);
      entry = await this.#findEntry(client, username);
      bindName = entry?.dn;
    }
    if (bindName === undefined) {
      // An unknown user costs the server one bind too.
      const base = search?.baseDn;
      if (base !== undefined) await client.bind(`cn=${randomUUID()},${base}`, randomUUID()).catch(throwUnlessAnswer);
      return UNKNOWN;
    }
    const policy = new PasswordPolicyControl();
    try {
      await client.bind(bindName, password.reveal(), policy);
    } catch (error) {
      // Without a code it is the connection that failed, not the bind.
      if (resultCodeOf(error) === undefined) throw error;
      const answer = interpretBindError(error);
      return answer.kind === "rejected" ? (rejectedByPolicy(policy.value?.error) ?? answer) : answer;
    }
    const closed = rejectedByPolicy(policy.value?.error);
    if (closed !== undefined) return closed;
    entry = (await this.#readEntry(ctx, client, { username, bindName, found: entry })) ?? entry;
    return await this.#describe(ctx, client, { username, bindName, entry, policy });
  }

  /** The entry as its owner sees it; `undefined` if there is none to be seen. */
  async #readEntry(
    ctx: OperationContext,
    client: Client,
    { username, bindName, found }: { username: string; bindName: string; found: Entry | undefined },
  ): Promise<Entry | undefined> {
    const { bindsByDn, search } = this.#settings;
    try {
      if (found === undefined && !bindsByDn)
        return search === undefined ? undefined : await this.#findEntry(client, username);
      const { searchEntries } = await client.search(found?.dn ?? bindName, { scope: "base", ...this.#attributes() });
      return searchEntries[0];
    } catch (error) {
      if (!isHidden(error)) throw error;
      ctx.logger.debug({ requestId: ctx.requestId, provider: this.provider }, "a user may not read their own entry");
      return undefined;
    }
  }

  async #describe(
    ctx: OperationContext,
    client: Client,
    user: { username: string; bindName: string; entry: Entry | undefined; policy: PasswordPolicyControl },
  ): Promise<VerifierResult> {
    const { subjectAttribute, displayNameAttribute, bindsByDn } = this.#settings;
    const { username, entry, policy } = user;
    const dn = entry?.dn ?? (bindsByDn ? user.bindName : undefined);
    const subject =
      subjectAttribute === undefined ? (dn ?? this.normalizeUsername(username)) : valuesOf(entry, subjectAttribute)[0];
    if (subject === undefined) {
      return unavailable(
        `LDAP provider "${this.provider}" shows no ${subjectAttribute} of a user: set another subject`,
      );
    }
    const groups = [...new Set([...valuesOf(entry, "memberOf"), ...(await this.#searchGroups(client, username, dn))])];
    if (groups.length > MAX_GROUPS) {
      ctx.logger.warn(
        { requestId: ctx.requestId, provider: this.provider, groups: groups.length },
        "too many groups: cut",
      );
      groups.length = MAX_GROUPS;
    }
    const displayName = valuesOf(entry, displayNameAttribute)[0];
    const expiresAtUnixMs = this.#expiryOf(entry, policy);
    return {
      kind: "verified",
      subject,
      ...(displayName === undefined ? {} : { displayName }),
      groups,
      roles: this.#rolesOf(groups),
      ...(expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs }),
    };
  }

  async #bindService(client: Client): Promise<void> {
    const { search } = this.#settings;
    // Without a service account the search is anonymous; what was bound before on this connection must not count.
    await client.bind(search?.bindDn ?? "", search?.bindPassword?.reveal() ?? "");
  }

  async #findEntry(client: Client, username: string): Promise<Entry | undefined> {
    const { search } = this.#settings;
    if (search === undefined) return undefined;
    const filter = fillFilter(search.filter, { username });
    const { searchEntries } = await client.search(search.baseDn, {
      scope: "sub",
      filter,
      sizeLimit: 2,
      ...this.#attributes(),
    });
    if (searchEntries.length > 1) throw new Error("several entries have that user name: make the filter narrower");
    return searchEntries[0];
  }

  async #searchGroups(client: Client, username: string, dn: string | undefined): Promise<readonly string[]> {
    const { groups } = this.#settings;
    if (groups === undefined || dn === undefined) return [];
    if (groups.as === "service") await this.#bindService(client);
    const filter = fillFilter(groups.filter, { username, dn });
    const options = { scope: "sub", filter, sizeLimit: MAX_GROUPS } as const;
    const { searchEntries } = await client.search(groups.baseDn, { ...options, attributes: ["1.1"] });
    return searchEntries.map((entry) => entry.dn);
  }

  #attributes(): { attributes: string[]; explicitBufferAttributes: string[] } {
    const { subjectAttribute, displayNameAttribute } = this.#settings;
    const subject = subjectAttribute === undefined ? [] : [subjectAttribute];
    return {
      attributes: ["memberOf", ACCOUNT_EXPIRES, displayNameAttribute, ...subject],
      explicitBufferAttributes: subject.filter((name) => name.toLowerCase() === "objectguid"),
    };
  }

  #rolesOf(groups: readonly string[]): readonly string[] {
    const roles = groups.flatMap((group) => {
      const name = parseDn(group)?.[0]?.[0]?.value;
      return [
        ...(this.#roles.get(normalizeDn(group) ?? foldUsername(group)) ?? []),
        ...(name === undefined ? [] : (this.#roles.get(foldUsername(name)) ?? [])),
      ];
    });
    return [...new Set(roles)].toSorted();
  }

  #expiryOf(entry: Entry | undefined, policy: PasswordPolicyControl): number | undefined {
    const ends: number[] = [];
    const seconds = policy.value?.timeBeforeExpiration;
    if (seconds !== undefined) ends.push(this.#settings.clock.unixMs() + seconds * 1000);
    const account = valuesOf(entry, ACCOUNT_EXPIRES)[0] ?? "0";
    const fileTime = /^\d{1,19}$/u.test(account) ? BigInt(account) : 0n;
    if (fileTime > 0n && fileTime < NEVER) ends.push(Number(fileTime / 10_000n - UNIX_EPOCH_IN_MS_SINCE_1601));
    return ends.length === 0 ? undefined : Math.min(...ends);
  }
}

/** The values of an attribute, whatever the case of its name; bytes as hex. */
function valuesOf(entry: Entry | undefined, attribute: string): readonly string[] {
  const name = attribute.toLowerCase();
  return Object.entries(entry ?? {})
    .filter(([key]) => key.toLowerCase() === name)
    .flatMap(([, values]) => (Array.isArray(values) ? values : [values]))
    .map((value) => (typeof value === "string" ? value : value.toString("hex")));
}

function throwUnlessAnswer(error: unknown): void {
  if (resultCodeOf(error) === undefined) throw error;
}
