import type { Secret } from "@turnpike/authn";
import type { ExternalAuth, ExternalVerifierConfig } from "@turnpike/authn/external";
import { z } from "zod";
import { secretText } from "./checked-text.ts";
import { settings } from "./setting.ts";

/** Which keys of `[external_auth]` mean something for which kind, `kind` itself aside. */
const KEYS_OF: Readonly<Record<ExternalAuth["kind"], readonly string[]>> = {
  ldap: [
    "url",
    "user_dn",
    "start_tls",
    "allow_plaintext",
    "ca_file",
    "search_base_dn",
    "search_filter",
    "bind_dn",
    "bind_password",
    "bind_password_file",
    "group_base_dn",
    "group_filter",
    "subject_attribute",
    "role",
    "timeout",
  ],
  http: ["url", "token", "token_file", "allow_plaintext", "ca_file", "timeout"],
  htpasswd: ["path", "role"],
};

/** Without these a kind can't work. */
const NEEDED: Readonly<Record<ExternalAuth["kind"], readonly string[]>> = {
  ldap: ["url"],
  http: ["url"],
  htpasswd: ["path"],
};

const text = (description: string) => z.string().min(1).optional().register(settings, { description });
const secret = (description: string) => secretText().optional().register(settings, { description, secret: true });
const flag = (description: string) =>
  z.boolean().optional().register(settings, { description, defaultText: "`false`" });

const role = z.strictObject({
  name: z.string().min(1).register(settings, { description: "the group's DN or name (ldap), or the user (htpasswd)" }),
  roles: z.array(z.string().min(1)).min(1).register(settings, { description: "what it may do here" }),
});

/** `[external_auth]`: the slow verifier behind Basic and login. */
export const externalAuth = z
  .strictObject({
    kind: z.enum(["ldap", "http", "htpasswd"]).optional().register(settings, {
      flag: "--external-auth",
      value: "KIND",
      description: "who checks passwords, behind basic and login",
    }),
    url: text("ldaps://HOST[:PORT] or ldap://HOST[:PORT] (ldap), or where to POST (http)"),
    user_dn: text("the name to bind with; {username} stands for the escaped user name"),
    start_tls: flag("makes ldap:// secure before anything is said"),
    allow_plaintext: flag("lets passwords go unencrypted to another host"),
    ca_file: text("a file of certificates to trust, in PEM"),
    search_base_dn: text("where to look for a user's entry, without or beside user_dn"),
    search_filter: text("how to look for it; {username} stands for the escaped user name"),
    bind_dn: text("who searches, if the user can't"),
    bind_password: secret("the password of bind_dn"),
    bind_password_file: text("a file whose first line is that password"),
    group_base_dn: text("where to look for the groups of a user"),
    group_filter: text("how to look for them; {dn} and {username} stand for the escaped values"),
    subject_attribute: text("what identifies a user for ever, such as entryUUID or objectGUID"),
    role: z.array(role).optional().register(settings, { description: "from a group to what it may do here" }),
    token: secret("sent as a bearer token, so that the service knows who asks"),
    token_file: text("a file whose first line is that token"),
    path: text("a file as htpasswd -B makes it"),
    timeout: z.number().positive().max(60).optional().register(settings, {
      description: "seconds for an answer, fractions allowed",
      defaultText: "`5`",
    }),
  })
  .superRefine((entry, context) => {
    const problem = (name: string, message: string): void => {
      context.addIssue({ code: "custom", path: [name], message });
    };
    const { kind } = entry;
    for (const [name, value] of Object.entries(entry)) {
      if (name === "kind" || value === undefined) continue;
      if (kind === undefined) problem(name, "has no effect without external_auth.kind");
      else if (!KEYS_OF[kind].includes(name)) problem(name, `has no effect with kind = "${kind}"`);
    }
    if (kind === undefined) return;
    const given = new Map<string, unknown>(Object.entries(entry));
    for (const name of NEEDED[kind]) {
      if (given.get(name) === undefined) problem("kind", `"${kind}" needs ${name}`);
    }
    for (const [name, file] of [
      ["token", "token_file"],
      ["bind_password", "bind_password_file"],
    ] as const) {
      if (entry[name] !== undefined && entry[file] !== undefined) problem(file, `give this or ${name}, not both`);
    }
  });

/** `[external_auth_cache]`: what is remembered of its successes. */
export const externalAuthCache = z.strictObject({
  enabled: z.boolean().prefault(false).register(settings, {
    flag: "--external-auth-cache",
    value: "BOOLEAN",
    description: "whether successful sign-ins are remembered for a short time",
  }),
  expiry: z
    .number()
    .positive()
    .max(7 * 86_400)
    .prefault(300)
    .register(settings, {
      flag: "--external-auth-cache-expiry",
      value: "SECONDS",
      description: "for how long; fractions allowed",
    }),
  size: z.int().min(0).max(1_000_000).prefault(50).register(settings, {
    flag: "--external-auth-cache-size",
    value: "N",
    description: "how many; the soonest to expire makes room",
  }),
  negative_expiry: z.number().min(0).max(300).prefault(30).register(settings, {
    description: "for how long a wrong password of a remembered user is refused without asking again",
  }),
  stale_if_unavailable: z.number().min(0).max(3600).prefault(0).register(settings, {
    description: "for how long past its time a success stands in while nobody answers; 0: never",
  }),
});

/** What the files hold that `[external_auth]` names, and the secrets that stand in it. */
export interface ExternalAuthSecrets {
  readonly ca?: string | undefined;
  readonly bindPassword?: Secret | undefined;
  readonly token?: Secret | undefined;
}

/** The checked tables as `createExternalVerifier` takes them; undefined if there is no external verifier. */
export function externalVerifierConfigOf(
  auth: z.output<typeof externalAuth>,
  cache: z.output<typeof externalAuthCache>,
  secrets: ExternalAuthSecrets,
): Pick<ExternalVerifierConfig, "externalAuth" | "externalAuthCache"> | undefined {
  const named = externalAuthOf(auth, secrets);
  if (named === undefined) return undefined;
  return {
    externalAuth: named,
    externalAuthCache: {
      enabled: cache.enabled,
      expirySeconds: cache.expiry,
      size: cache.size,
      negativeExpirySeconds: cache.negative_expiry,
      staleIfUnavailableSeconds: cache.stale_if_unavailable,
    },
  };
}

function externalAuthOf(
  auth: z.output<typeof externalAuth>,
  { ca, bindPassword, token }: ExternalAuthSecrets,
): ExternalAuth | undefined {
  const { kind, url = "", path = "" } = auth;
  const tls = ca === undefined ? {} : { tls: { ca } };
  const allowPlaintext = auth.allow_plaintext ?? false;
  const timeout = auth.timeout === undefined ? {} : { timeoutMs: auth.timeout * 1000 };
  const roles = Object.fromEntries((auth.role ?? []).map((entry) => [entry.name, entry.roles]));
  switch (kind) {
    case undefined:
      return undefined;
    case "htpasswd":
      return { kind, path, roles };
    case "http":
      return { kind, url, allowPlaintext, ...tls, ...timeout, ...(token === undefined ? {} : { token }) };
    case "ldap":
      return {
        kind,
        url,
        allowPlaintext,
        startTls: auth.start_tls ?? false,
        roles,
        ...tls,
        ...timeout,
        ...(auth.user_dn === undefined ? {} : { userDn: auth.user_dn }),
        ...(auth.subject_attribute === undefined ? {} : { subjectAttribute: auth.subject_attribute }),
        ...(auth.search_base_dn === undefined
          ? {}
          : {
              search: {
                baseDn: auth.search_base_dn,
                ...(auth.search_filter === undefined ? {} : { filter: auth.search_filter }),
                ...(auth.bind_dn === undefined ? {} : { bindDn: auth.bind_dn }),
                ...(bindPassword === undefined ? {} : { bindPassword }),
              },
            }),
        ...(auth.group_base_dn === undefined
          ? {}
          : {
              groups: {
                baseDn: auth.group_base_dn,
                ...(auth.group_filter === undefined ? {} : { filter: auth.group_filter }),
              },
            }),
      };
  }
}
