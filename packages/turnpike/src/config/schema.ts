import { z } from "zod";
import { checkedText, secretText } from "./checked-text.ts";
import { authn, oauth, penalties, webhook } from "./schema-authn.ts";
import { settings } from "./setting.ts";
import {
  checkAddress,
  checkExternalAddress,
  checkListenSpec,
  checkPeerRange,
  checkStoredKey,
  parseUser,
} from "./values.ts";

const port = () => z.int().min(1).max(65_535);

const relay = z.strictObject({
  listen: z.array(checkedText(checkListenSpec)).min(1).optional().register(settings, {
    flag: "--listen",
    value: "SPEC",
    description: "where clients are served: udp:ADDRESS:PORT; port 0 takes any free one",
    defaultText: "`udp:0.0.0.0:3478`, and `udp:[::]:3478` where the machine has IPv6",
  }),
  realm: z.string().min(1).max(127).prefault("turnpike").register(settings, {
    flag: "--realm",
    value: "NAME",
    description: "the REALM that clients are told (RFC 8489 §14.9)",
  }),
  relay_addresses: z.array(checkedText(checkAddress)).min(1).optional().register(settings, {
    flag: "--relay-address",
    value: "IP",
    description: "an address of this machine that relayed traffic leaves from",
    defaultText: "found by autodetection",
  }),
  external_addresses: z.array(checkedText(checkExternalAddress)).prefault([]).register(settings, {
    flag: "--external-address",
    value: "PUBLIC[/PRIVATE]",
    description: "what clients are told in place of a relay address, behind a one-to-one NAT",
  }),
  port_range: z
    .tuple([
      port().prefault(49_152).register(settings, {
        flag: "--min-port",
        value: "PORT",
        description: "first port for relayed transport addresses",
      }),
      port().prefault(65_535).register(settings, {
        flag: "--max-port",
        value: "PORT",
        description: "last port for relayed transport addresses",
      }),
    ])
    .refine(([first, last]) => first <= last, "the first port must not be above the last")
    .prefault([49_152, 65_535]),
  max_lifetime: z.int().min(1).max(86_400).prefault(3600).register(settings, {
    flag: "--max-lifetime",
    value: "SECONDS",
    description: "longest lifetime that an allocation is granted at once (RFC 8656 §7.2)",
  }),
  channel_lifetime: z.int().min(300).max(86_400).prefault(600).register(settings, {
    flag: "--channel-lifetime",
    value: "SECONDS",
    description: "how long a channel binding lasts unless refreshed (RFC 8656 §12)",
  }),
});

const user = z
  .strictObject({
    name: z.string().min(1).max(508).register(settings, { description: "the USERNAME" }),
    password: secretText().optional().register(settings, { description: "the password", secret: true }),
    password_file: z.string().min(1).optional().register(settings, {
      description: "a file whose first line is the password",
    }),
    key: checkedText(checkStoredKey).optional().register(settings, {
      description: "the stored key instead of a password: 32 hexadecimal digits (MD5) or 64 (SHA-256)",
      secret: true,
    }),
  })
  .refine(
    (entry) => [entry.password, entry.password_file, entry.key].filter((value) => value !== undefined).length === 1,
    "needs exactly one of password, password_file and key",
  );

const turn = z.strictObject({
  user: z
    .array(user)
    .superRefine((users, context) => {
      const kindOf = ({ key }: { readonly key?: string | undefined }): string => `key of ${key?.length ?? "password"}`;
      for (const [index, entry] of users.entries()) {
        // A user may be there twice with stored keys of both kinds.
        const isSame = (other: (typeof users)[number]): boolean =>
          other.name === entry.name && kindOf(other) === kindOf(entry);
        if (users.findIndex(isSame) === index) continue;
        context.addIssue({ code: "custom", path: [index, "name"], message: "names a user a second time" });
      }
    })
    .prefault([])
    .register(settings, {
      flag: "--user",
      value: "NAME:PASSWORD",
      description: "a static user; NAME:0xKEY gives a stored key (32 hex digits MD5, 64 SHA-256)",
      secret: true,
      fromText: parseUser,
    }),
  shared_secrets: z.array(secretText()).prefault([]).register(settings, {
    flag: "--shared-secret",
    value: "SECRET",
    description: "secret for time-limited credentials; the first one mints, all verify (rotation)",
    secret: true,
  }),
  shared_secrets_file: z.string().min(1).optional().register(settings, {
    flag: "--shared-secret-file",
    value: "FILE",
    description: "file with one such secret a line",
  }),
  on_credential_expiry: z.enum(["keep", "end"]).prefault("keep").register(settings, {
    flag: "--on-credential-expiry",
    value: "WHAT",
    description: "whether an allocation outlives the time-limited credential that made it",
  }),
  webhook: webhook.prefault({}),
  oauth: oauth.prefault({}),
});

const peers = z.strictObject({
  allow: z.array(checkedText(checkPeerRange)).prefault([]).register(settings, {
    flag: "--allow-peer",
    value: "CIDR",
    description: "peers that may be reached besides what is globally routable; A-B ranges too; wins over deny",
  }),
  deny: z.array(checkedText(checkPeerRange)).prefault([]).register(settings, {
    flag: "--deny-peer",
    value: "CIDR",
    description: "peers that may not be reached; A-B ranges too",
  }),
});

const log = z.strictObject({
  level: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).prefault("info").register(settings, {
    flag: "--log-level",
    value: "LEVEL",
    description: "least severe messages that are logged",
  }),
  format: z.enum(["pretty", "json"]).optional().register(settings, {
    flag: "--log-format",
    value: "FORMAT",
    description: "how messages are written to standard error",
    defaultText: "`pretty` on a terminal, `json` otherwise",
  }),
});

/** The one description of the configuration: types, checks, `--help` and the reference page come from it. */
export const configurationSchema = z
  .strictObject({
    relay: relay.prefault({}),
    authn: authn.prefault({}),
    turn: turn.prefault({}),
    penalties: penalties.prefault({}),
    peers: peers.prefault({}),
    log: log.prefault({}),
  })
  .superRefine(({ authn: { schemes_turn: schemes }, turn: configured }, context) => {
    const needs = [
      { path: ["turn", "user"], scheme: "static", isSet: configured.user.length > 0 },
      { path: ["turn", "shared_secrets"], scheme: "shared-secret", isSet: configured.shared_secrets.length > 0 },
      {
        path: ["turn", "shared_secrets_file"],
        scheme: "shared-secret",
        isSet: configured.shared_secrets_file !== undefined,
      },
      { path: ["turn", "webhook", "url"], scheme: "webhook", isSet: configured.webhook.url !== undefined },
      { path: ["turn", "oauth", "server_name"], scheme: "oauth", isSet: configured.oauth.server_name !== undefined },
    ] as const;
    for (const { path, scheme, isSet } of needs) {
      if (!isSet || schemes.includes(scheme)) continue;
      const message = `has no effect, since authn.schemes_turn does not list "${scheme}"`;
      context.addIssue({ code: "custom", path: [...path], message });
    }
  });

/** A checked configuration. */
export type Configuration = z.output<typeof configurationSchema>;
