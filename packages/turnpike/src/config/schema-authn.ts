import { z } from "zod";
import { checkedText, secretText } from "./checked-text.ts";
import { settings } from "./setting.ts";
import { checkHttpUrl } from "./values.ts";

/** In the order in which they are tried unless `schemes_turn` says otherwise. */
const TURN_SCHEMES = ["portal", "static", "shared-secret", "oauth", "webhook"] as const;

/** Those that the portal may be told to try; the first two it tries unless told otherwise. */
const EXTERNAL_SCHEMES = ["session-cookie", "access-token", "basic", "bearer", "http-signature"] as const;

const isEachOnce = (names: readonly string[]): boolean => new Set(names).size === names.length;

const issuer = z.strictObject({
  issuer: checkedText(checkHttpUrl).register(settings, {
    description: "whose tokens are taken, as they name it to the letter; https:, or http: on loopback",
  }),
  audience: z
    .array(z.string().min(1))
    .min(1)
    .register(settings, { description: "whom the tokens must be for: one of these" }),
  jwks: checkedText(checkHttpUrl).optional().register(settings, {
    description: "where the issuer's public keys are (found by OpenID Connect Discovery unless given)",
  }),
  user_claim: z.string().min(1).max(64).prefault("sub").register(settings, {
    description:
      "the claim that holds the id of a user of the portal, whose roles count (`sub`); `email` only if it is verified",
  }),
});

const signatureKey = z
  .strictObject({
    id: z.string().min(1).max(128).register(settings, { description: "names the key: `keyid` of a signature" }),
    user: z
      .string()
      .min(1)
      .max(64)
      .register(settings, { description: "the user of the portal whose requests these are" }),
    algorithm: z.enum(["ed25519", "hmac-sha256"]).register(settings, { description: "`ed25519` or `hmac-sha256`" }),
    key: secretText().optional().register(settings, {
      description: "the public key as PEM, or for hmac-sha256 the secret in base64, at least 32 bytes",
      secret: true,
    }),
    key_file: z.string().min(1).optional().register(settings, { description: "a file that holds it" }),
  })
  .refine(
    (entry) => (entry.key === undefined) !== (entry.key_file === undefined),
    "needs exactly one of key, key_file",
  );

/** `[authn]`: who is asking. */
export const authn = z
  .strictObject({
    bearer: z
      .array(issuer)
      .refine((list) => new Set(list.map((each) => each.issuer)).size === list.length, "names an issuer a second time")
      .optional()
      .register(settings, { description: "an OpenID Connect provider whose JWT access tokens the portal's API takes" }),
    signature_key: z
      .array(signatureKey)
      .refine((list) => new Set(list.map(({ id }) => id)).size === list.length, "names a key id a second time")
      .optional()
      .register(settings, {
        description: "a key that requests to the portal's API are signed with (RFC 9421)",
        secret: true,
      }),
    schemes_external: z
      .array(z.enum(EXTERNAL_SCHEMES))
      .min(1)
      .refine(isEachOnce, "names a scheme a second time")
      .prefault(["session-cookie", "access-token"])
      .register(settings, {
        flag: "--schemes-external",
        value: "NAME",
        description: `how the portal's API may be authenticated to, first match decides (${EXTERNAL_SCHEMES.join(", ")}); basic needs external_auth, bearer authn.bearer, http-signature authn.signature_key`,
      }),
    schemes_turn: z
      .array(z.enum(TURN_SCHEMES))
      .min(1)
      .refine(isEachOnce, "names a scheme a second time")
      .prefault([...TURN_SCHEMES])
      .register(settings, {
        flag: "--schemes-turn",
        value: "NAME",
        description: `how TURN clients may authenticate, first match decides (${TURN_SCHEMES.join(", ")}); what is not configured is passed over`,
      }),
  })
  .superRefine((entry, context) => {
    for (const [scheme, key] of [
      ["bearer", "bearer"],
      ["http-signature", "signature_key"],
    ] as const) {
      const isListed = entry.schemes_external.includes(scheme);
      const isConfigured = (entry[key] ?? []).length > 0;
      if (isListed === isConfigured) continue;
      const message = isListed
        ? `"${scheme}" needs at least one [[authn.${key}]]`
        : `has no effect unless authn.schemes_external lists "${scheme}"`;
      context.addIssue({ code: "custom", path: [isListed ? "schemes_external" : key], message });
    }
  });

/** `[turn.webhook]`: somebody else who knows the keys. */
export const webhook = z
  .strictObject({
    url: checkedText(checkHttpUrl).optional().register(settings, {
      flag: "--webhook-url",
      value: "URL",
      description: "who is asked for the key of a user; https:, or http: on loopback",
    }),
    token: secretText().optional().register(settings, {
      flag: "--webhook-token",
      value: "TOKEN",
      description: "sent to it as a bearer token",
      secret: true,
    }),
    token_file: z.string().min(1).optional().register(settings, {
      flag: "--webhook-token-file",
      value: "FILE",
      description: "file whose first line is that token",
    }),
    timeout: z.number().positive().max(30).optional().register(settings, {
      flag: "--webhook-timeout",
      value: "SECONDS",
      description: "until its answer must be complete; fractions allowed",
      defaultText: "`5`",
    }),
    status_on_error: z
      .literal([401, 500])
      .optional()
      .register(settings, {
        flag: "--webhook-status-on-error",
        value: "CODE",
        description: "what clients get when there is no answer: 500 (try again) or 401 (as if the password were wrong)",
        defaultText: "`500`",
        fromText: (text) => (/^\d{3}$/.test(text) ? Number(text) : text),
      }),
    allow_plain_http: z.boolean().optional().register(settings, {
      flag: "--webhook-allow-plain-http",
      value: "BOOLEAN",
      description: "whether it may be asked by http: at another host, where whoever is between learns the keys",
      defaultText: "`false`",
    }),
    resolves_userhash: z.boolean().optional().register(settings, {
      flag: "--webhook-resolves-userhash",
      value: "BOOLEAN",
      description: "whether it finds the user of a USERHASH (RFC 8489 §14.4)",
      defaultText: "`false`",
    }),
  })
  .superRefine((entry, context) => {
    if (entry.url === undefined) refuseOrphans(entry, "turn.webhook.url", context);
    if (entry.token !== undefined && entry.token_file !== undefined) {
      context.addIssue({ code: "custom", path: ["token_file"], message: "give this or token, not both" });
    }
  });

const oauthKey = z
  .strictObject({
    kid: z.string().min(1).max(508).register(settings, { description: "names the key: clients send it as USERNAME" }),
    key: secretText().optional().register(settings, {
      description: "the key in base64: 32 bytes, or 16 for A128GCM",
      secret: true,
    }),
    key_file: z.string().min(1).optional().register(settings, {
      description: "a file whose first line is the key",
    }),
    algorithm: z.enum(["A256GCM", "A128GCM"]).prefault("A256GCM").register(settings, {
      description: "how tokens are encrypted: A256GCM (the default) or A128GCM",
    }),
    actor: z.string().min(1).max(508).optional().register(settings, {
      description: "whom its tokens count for in quotas and events (`server_name` unless given)",
    }),
  })
  .refine(
    (entry) => (entry.key === undefined) !== (entry.key_file === undefined),
    "needs exactly one of key, key_file",
  );

/** `[turn.oauth]`: third-party authorization (RFC 7635). */
export const oauth = z
  .strictObject({
    server_name: z.string().min(1).max(255).optional().register(settings, {
      flag: "--oauth-server-name",
      value: "NAME",
      description:
        "the relay's name that tokens are bound to, told to clients by THIRD-PARTY-AUTHORIZATION (RFC 7635 §6.1)",
    }),
    key: z
      .array(oauthKey)
      .refine((keys) => new Set(keys.map(({ kid }) => kid)).size === keys.length, "names a key id a second time")
      .optional()
      .register(settings, {
        description: "a key that authorization server and relay share",
        secret: true,
      }),
    issuer: checkedText(checkHttpUrl).optional().register(settings, {
      flag: "--oauth-issuer",
      value: "URL",
      description: "issuer of access tokens that are JSON Web Tokens; the keys open what is encrypted in them",
    }),
    audience: z.array(z.string().min(1)).min(1).optional().register(settings, {
      flag: "--oauth-audience",
      value: "NAME",
      description: "whom such tokens must be for",
      defaultText: "`server_name`",
    }),
    jwks: checkedText(checkHttpUrl).optional().register(settings, {
      flag: "--oauth-jwks",
      value: "URL",
      description: "where the issuer's public keys are",
      defaultText: "found by OpenID Connect Discovery",
    }),
  })
  .superRefine((entry, context) => {
    if (entry.server_name === undefined) {
      refuseOrphans(entry, "turn.oauth.server_name", context);
    } else if ((entry.key ?? []).length === 0) {
      context.addIssue({ code: "custom", path: ["server_name"], message: "needs at least one [[turn.oauth.key]]" });
    }
    if (entry.issuer === undefined) {
      const { audience, jwks } = entry;
      refuseOrphans({ audience, jwks }, "turn.oauth.issuer", context);
    }
  });

/** `[penalties]`: what wrong credentials cost. */
export const penalties = z.strictObject({
  delay: z.enum(["constant", "growing", "none"]).prefault("constant").register(settings, {
    flag: "--penalty-delay",
    value: "WHAT",
    description: "how late wrong credentials are answered: after 4 to 5 s, after 2 s growing to 15 s, or at once",
  }),
  ban_failures: z.int().min(0).max(1_000_000).prefault(100).register(settings, {
    flag: "--ban-failures",
    value: "N",
    description: "failures within ban_window that shut an address out; 0 never does",
  }),
  ban_window: z.int().min(1).max(86_400).prefault(600).register(settings, {
    flag: "--ban-window",
    value: "SECONDS",
    description: "in which time failures are counted",
  }),
  ban_time: z.int().min(1).max(31_536_000).prefault(600).register(settings, {
    flag: "--ban-time",
    value: "SECONDS",
    description: "how long an address is shut out",
  }),
});

/** A key that does nothing without another is a mistake. */
function refuseOrphans(
  entry: Readonly<Record<string, unknown>>,
  missing: string,
  context: z.core.$RefinementCtx,
): void {
  for (const [name, value] of Object.entries(entry)) {
    if (value === undefined) continue;
    context.addIssue({ code: "custom", path: [name], message: `has no effect without ${missing}` });
  }
}
