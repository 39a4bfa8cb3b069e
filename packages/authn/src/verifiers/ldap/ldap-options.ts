import type { SecureContextOptions } from "node:tls";
import { Filter, FilterParser } from "ldapts";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { Secret } from "../../core/secret.ts";
import { hostOf, isLoopbackHost } from "../hosts.ts";
import { escapeDnValue, parseDn } from "./distinguished-name.ts";

/** Where to look for a user's entry. */
export interface LdapUserSearch {
  readonly baseDn: string;
  /** `{username}` stands for the escaped name. Default: `(uid={username})`; for Active Directory `(sAMAccountName={username})`. */
  readonly filter?: string;
  /** Who searches, if the user can't: a service account. Default: the user if `userDn` is given, else anonymous. */
  readonly bindDn?: string;
  readonly bindPassword?: Secret;
}

/** Where to look for the groups of a user, besides the user's own `memberOf`. */
export interface LdapGroupSearch {
  readonly baseDn: string;
  /**
   * `{dn}` and `{username}` stand for the escaped values. Default: `(member={dn})`; groups within groups of Active
   * Directory: `(member:1.2.840.113556.1.4.1941:={dn})`.
   */
  readonly filter?: string;
  /** Whose rights count. `service` needs `search.bindDn`. Default: `user`. */
  readonly as?: "user" | "service";
}

/** How to ask an LDAP server or Active Directory. */
export interface LdapVerifierOptions {
  /** Names the provider in keys, logs and events. Default: `ldap`. */
  readonly provider?: string;
  /** `ldaps://host[:port]` or `ldap://host[:port]`; several are tried in order. */
  readonly url: string | readonly string[];
  /** Makes `ldap://` secure before anything is said (RFC 4511 §4.14). Default: false. */
  readonly startTls?: boolean;
  /** Lets passwords go unencrypted to a host that isn't this one. Default: false. */
  readonly allowPlaintext?: boolean;
  /** Certificates to trust (`ca`), a client certificate (`cert`, `key`). Default: those that Node trusts. */
  readonly tls?: Pick<SecureContextOptions, "ca" | "cert" | "key" | "minVersion">;
  /**
   * The name to bind with, in which `{username}` stands for the escaped name: `uid={username},ou=people,dc=example`, or
   * for Active Directory `{username}@example.org` or `EXAMPLE\{username}`. Without it `search` finds the name.
   */
  readonly userDn?: string;
  readonly search?: LdapUserSearch;
  readonly groups?: LdapGroupSearch;
  /**
   * From a group to what it may do here: the key is the group's whole DN, or just its name, the value of its first RDN.
   * Prefer the DN where not everybody who may make groups may hand out roles.
   */
  readonly roles?: Readonly<Record<string, string | readonly string[]>>;
  /** What identifies a user for ever, such as `entryUUID` or `objectGUID`. Default: the DN. */
  readonly subjectAttribute?: string;
  /** Default: `displayName`. */
  readonly displayNameAttribute?: string;
  /** Whether names that differ in case are different users. Default: false. */
  readonly caseSensitive?: boolean;
  /** For a connection, and for each answer. Default: 5,000. */
  readonly timeoutMs?: number;
  /** For everything together, the wait for a free connection included. Default: 10,000. */
  readonly deadlineMs?: number;
  /** Default: 8. */
  readonly maxConnections?: number;
  /** How many may wait for a connection; beyond, the answer is `unavailable`. Default: 256. */
  readonly maxQueued?: number;
  /** When an unused connection is closed. Default: 30,000. */
  readonly idleMs?: number;
  readonly clock?: Clock;
}

/** A server, read from its URL. */
export interface LdapServer {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
}

/** Options after the check, with their defaults. */
export interface LdapSettings extends Required<
  Omit<LdapVerifierOptions, "url" | "userDn" | "search" | "groups" | "roles" | "subjectAttribute" | "allowPlaintext">
> {
  readonly servers: readonly LdapServer[];
  readonly userDn: string | undefined;
  /** Whether the bind name is a DN; else a logon name. */
  readonly bindsByDn: boolean;
  readonly search: (LdapUserSearch & { readonly filter: string }) | undefined;
  readonly groups: Required<LdapGroupSearch> | undefined;
  readonly roles: Readonly<Record<string, string | readonly string[]>>;
  readonly subjectAttribute: string | undefined;
}

const USERNAME = "{username}";
const DN = "{dn}";
// Separators and wildcards of Active Directory's logon names: none of them can be part of one.
const NOT_IN_LOGON_NAME = /["/\\[\]:;|=,+*?<>@\s]/u;

/**
 * Checks options and fills in defaults.
 *
 * @throws TypeError or RangeError that says which option is wrong, and the way out
 */
export function parseLdapOptions(options: LdapVerifierOptions): LdapSettings {
  const { userDn, search, groups, startTls = false } = options;
  const urls = typeof options.url === "string" ? [options.url] : options.url;
  if (urls.length === 0)
    throw new TypeError('Cannot use LDAP without a server: set url, as "ldaps://ldap.example.org"');
  const servers = urls.map((url) => parseServer(url, startTls, options.allowPlaintext ?? false));
  if (userDn === undefined && search === undefined) {
    throw new TypeError('Cannot name users to LDAP: set user_dn, as "uid={username},ou=people,dc=example", or search');
  }
  const bindsByDn = userDn === undefined || checkUserDn(userDn);
  if ((search?.bindDn === undefined) !== (search?.bindPassword === undefined)) {
    throw new TypeError("Cannot search with half a service account: set both its bind DN and its password");
  }
  if (search?.bindDn !== undefined) checkDn("the service account", search.bindDn);
  if (search?.bindPassword?.reveal() === "") {
    throw new TypeError("Cannot use an empty password for the service account: servers take it for an anonymous bind");
  }
  if (search !== undefined) checkDn("the base of the user search", search.baseDn);
  if (groups !== undefined) checkDn("the base of the group search", groups.baseDn);
  if (groups?.as === "service" && search?.bindDn === undefined) {
    throw new TypeError("Cannot search groups as the service account: there is none; set search.bindDn");
  }
  const filter = checkFilter("user", search?.filter ?? `(uid=${USERNAME})`, [USERNAME]);
  const groupFilter = checkFilter("group", groups?.filter ?? `(member=${DN})`, [DN, USERNAME]);
  return {
    provider: options.provider ?? "ldap",
    servers,
    startTls,
    tls: options.tls ?? {},
    userDn,
    bindsByDn,
    search: search === undefined ? undefined : { ...search, filter },
    groups: groups === undefined ? undefined : { baseDn: groups.baseDn, filter: groupFilter, as: groups.as ?? "user" },
    roles: options.roles ?? {},
    subjectAttribute: options.subjectAttribute,
    displayNameAttribute: options.displayNameAttribute ?? "displayName",
    caseSensitive: options.caseSensitive ?? false,
    timeoutMs: positive("timeoutMs", options.timeoutMs ?? 5000),
    deadlineMs: positive("deadlineMs", options.deadlineMs ?? 10_000),
    maxConnections: positive("maxConnections", options.maxConnections ?? 8),
    maxQueued: positive("maxQueued", options.maxQueued ?? 256),
    idleMs: positive("idleMs", options.idleMs ?? 30_000),
    clock: options.clock ?? systemClock,
  };
}

/** The name to bind with; `undefined` if nobody can have such a name. */
export function bindNameOf({ userDn, bindsByDn }: LdapSettings, username: string): string | undefined {
  if (userDn === undefined) return undefined;
  if (bindsByDn) return userDn.replaceAll(USERNAME, () => escapeDnValue(username));
  return NOT_IN_LOGON_NAME.test(username) ? undefined : userDn.replaceAll(USERNAME, () => username);
}

/** A filter with its values in place, escaped (RFC 4515 §3). */
export function fillFilter(filter: string, { username, dn = "" }: { username: string; dn?: string }): string {
  return filter.replaceAll(/\{(?:username|dn)\}/gu, (name) => Filter.escape(name === USERNAME ? username : dn));
}

function parseServer(url: string, startTls: boolean, allowPlaintext: boolean): LdapServer {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const secure = parsed?.protocol === "ldaps:";
  if (parsed === undefined || !(secure || parsed.protocol === "ldap:") || parsed.hostname === "") {
    throw new TypeError(`Cannot use "${url}" as an LDAP server: write "ldaps://host" or "ldap://host"`);
  }
  if (parsed.username !== "" || !["", "/"].includes(parsed.pathname) || parsed.search !== "") {
    throw new TypeError("Cannot use an LDAP URL with more than a host and a port: set the rest by its own options");
  }
  if (secure && startTls) throw new TypeError(`Cannot use StartTLS with "${url}": ldaps is secure from the start`);
  const host = hostOf(parsed);
  if (!secure && !startTls && !allowPlaintext && !isLoopbackHost(host)) {
    throw new TypeError(`Cannot send passwords to "${url}" unencrypted: use ldaps://, or set start_tls`);
  }
  return { url, host, port: parsed.port === "" ? (secure ? 636 : 389) : Number(parsed.port), secure };
}

/** Whether it is a DN (else: a logon name of Active Directory). */
function checkUserDn(userDn: string): boolean {
  if (!userDn.includes(USERNAME))
    throw new TypeError(`Cannot tell users apart by user_dn "${userDn}": it lacks ${USERNAME}`);
  const around = userDn.replaceAll(USERNAME, "");
  if (around.includes("=")) {
    checkDn("user_dn", userDn.replaceAll(USERNAME, "x"));
    return true;
  }
  // A bare name could be that of a SASL mechanism, which is asked otherwise.
  if (/[@\\]/u.test(around)) return false;
  throw new TypeError(`Cannot bind as "${userDn}": use a DN, "${USERNAME}@domain" or "DOMAIN\\${USERNAME}"`);
}

function checkDn(what: string, dn: string): void {
  if (parseDn(dn) === undefined) throw new TypeError(`Cannot use "${dn}" for ${what}: it is not a distinguished name`);
}

function checkFilter(what: string, filter: string, names: readonly string[]): string {
  if (!names.some((name) => filter.includes(name))) {
    throw new TypeError(`Cannot use the ${what} filter "${filter}": it lacks ${names.join(" and ")}`);
  }
  try {
    FilterParser.parseString(fillFilter(filter, { username: "x", dn: "x=y" }));
  } catch (error) {
    throw new TypeError(`Cannot read the ${what} filter "${filter}"`, { cause: error });
  }
  return filter;
}

function positive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1)
    throw new RangeError(`Cannot use ${value} as ${name}: it must be 1 or more`);
  return value;
}
