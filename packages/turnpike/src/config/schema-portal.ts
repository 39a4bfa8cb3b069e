import { z } from "zod";
import { checkedText, secretText } from "./checked-text.ts";
import { settings } from "./setting.ts";
import { checkAddressPrefix } from "./values.ts";

/** `[portal]`: the control plane, and a relay's link to it. */
export const portal = z.strictObject({
  url: z
    .string()
    .min(1)
    .optional()
    .register(settings, {
      flag: "--portal",
      value: "URL-OR-HINTS",
      description:
        "the portal that a relay links to: https://HOST, hints such as tor:NAME.onion:80, or a reference; [hints] rules the way; it serves once the portal said init",
      aliases: ["FIREZONE_API_URL"],
      defaultText: "none: the relay stands alone",
    }),
  token: secretText().optional().register(settings, {
    flag: "--token",
    value: "TOKEN",
    description: "what a relay links with (tr_…); FIREZONE_TOKEN is read as well",
    secret: true,
  }),
  token_file: z.string().min(1).optional().register(settings, {
    flag: "--token-file",
    value: "FILE",
    description: "a file that holds it",
  }),
  name: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .register(settings, {
      flag: "--name",
      value: "NAME",
      description: "what a relay calls itself when it links",
      aliases: ["FIREZONE_NAME"],
    }),
  listen: z.string().min(1).prefault("127.0.0.1:8080").register(settings, {
    flag: "--portal-listen",
    value: "ADDRESS:PORT",
    description: "where the portal of `serve` and `portal` listens; port 0 takes any free one",
  }),
  store: z.string().min(1).optional().register(settings, {
    flag: "--store",
    value: "PATH-OR-URL",
    description: "the portal's database: a SQLite file, or postgres://…",
    defaultText: "`turnpike.db` in the data directory",
    secret: true,
  }),
  data_dir: z.string().min(1).optional().register(settings, {
    flag: "--data-dir",
    value: "DIRECTORY",
    description: "where the portal keeps its files, and turnpike listen its identity, ports and keys of onion services",
    defaultText: "`$XDG_DATA_HOME/turnpike`, or `~/.local/share/turnpike`",
  }),
  fleet: z.string().min(1).optional().register(settings, {
    flag: "--fleet",
    value: "URL",
    description: "redis://… that the portals of one fleet share",
    defaultText: "none: there is one portal",
    secret: true,
  }),
  audit_days: z.int().min(0).max(36_500).prefault(365).register(settings, {
    flag: "--audit-days",
    value: "DAYS",
    description: "how long the portal keeps the entries of its audit log; 0 keeps them for ever",
  }),
  trusted_proxies: z.array(checkedText(checkAddressPrefix)).prefault([]).register(settings, {
    flag: "--portal-trusted-proxy",
    value: "CIDR",
    description: "a reverse proxy before the portal, whose X-Forwarded-For is believed: an address or prefix",
  }),
  public_url: z.string().min(1).optional().register(settings, {
    flag: "--public-url",
    value: "URL",
    description: "how browsers reach the portal",
    defaultText: "from `--portal-listen`",
  }),
});
