import { z } from "zod";
import { checkedText } from "./checked-text.ts";
import { settings } from "./setting.ts";
import { checkAddressPrefix, advertisedProblem, checkRelayUri, checkTorTarget, invertedFlag } from "./values.ts";

/** Where hints lead, and what they may reveal: the table `[hints]`. */
export const hints = z.strictObject({
  tcp: z.enum(["tcp", "tor", "disabled"]).prefault("tcp").register(settings, {
    flag: "--via",
    value: "WAY",
    description: "how TCP leaves for tcp:, tls:, ws: and wss: hints and for the relay of turn: hints",
  }),
  override: z
    .array(
      z.strictObject({
        target: z.string().min(1).register(settings, { description: "`host`, `host:port` or `*.domain`" }),
        route: z.enum(["tcp", "tor", "disabled"]).register(settings, { description: "`tcp`, `tor` or `disabled`" }),
      }),
    )
    .prefault([])
    .register(settings, { description: "exceptions from hints.tcp; the first that matches decides" }),
  listen: z.array(z.string().min(1)).prefault([]).register(settings, {
    description: "what turnpike listen listens on if it is given no SPEC; a port that :0 found is kept",
  }),
  advertise: z
    .union([z.literal("AUTO"), z.array(z.string())], { error: 'must be "AUTO" or a list of hints' })
    .transform((value, context) => {
      if (typeof value === "string" || value.includes("AUTO")) return "AUTO";
      for (const [index, hint] of value.entries()) {
        const problem = advertisedProblem(hint);
        if (problem !== undefined) context.addIssue({ code: "custom", path: [index], message: problem });
      }
      return value;
    })
    .prefault("AUTO")
    .register(settings, {
      flag: "--advertise",
      value: "HINT",
      description: "hints to give to others in place of those that listeners find (AUTO)",
    }),
  reveal_ip_address: z.boolean().prefault(true).register(settings, {
    flag: "--hide-ip",
    description: "refuse to start with anything that would reveal this machine's address (the key says so by false)",
    fromText: invertedFlag,
  }),
  private_addresses: z.enum(["refused", "literal", "allowed"]).prefault("literal").register(settings, {
    flag: "--private-addresses",
    value: "WHICH",
    description: "which private addresses hints may reach; literal: those that a hint spells, no name leads there",
  }),
  allow: z.array(checkedText(checkAddressPrefix)).prefault([]).register(settings, {
    flag: "--allow-address",
    value: "CIDR",
    description: "addresses that hints may reach, through Tor and relays too, whatever the rest says",
  }),
  deny: z.array(checkedText(checkAddressPrefix)).prefault([]).register(settings, {
    flag: "--deny-address",
    value: "CIDR",
    description: "addresses that hints may not reach, unless allowed",
  }),
  ca_file: z.string().min(1).optional().register(settings, {
    flag: "--ca",
    value: "FILE",
    description: "certificates to trust in place of the system's (PEM), for tls:, wss: and the relay of turn: hints",
  }),
  tor: z
    .strictObject({
      socks: checkedText(checkTorTarget).optional().register(settings, {
        flag: "--tor-socks",
        value: "ADDRESS:PORT",
        description: "Tor's SOCKS port; unix:/path too",
        defaultText: "`127.0.0.1:9050`, then `127.0.0.1:9150`",
      }),
      control: checkedText(checkTorTarget).optional().register(settings, {
        flag: "--tor-control",
        value: "ADDRESS:PORT",
        description: "Tor's control port, which onion: needs; unix:/path too",
      }),
      password: z.string().min(1).optional().register(settings, {
        description: "password of the control port; default: its cookie",
        secret: true,
      }),
      cookie_file: z.string().min(1).optional().register(settings, {
        description: "cookie of the control port, if it is not where Tor says",
      }),
      launch: z.boolean().prefault(false).register(settings, {
        flag: "--tor-launch",
        description: "launch a tor, in place of those of socks and control",
      }),
      executable: z.string().min(1).optional().register(settings, {
        flag: "--tor-executable",
        value: "FILE",
        description: "the tor to launch",
        defaultText: "`tor` in `$PATH`",
      }),
      data_dir: z.string().min(1).optional().register(settings, {
        flag: "--tor-data-dir",
        value: "DIR",
        description: "what a launched tor keeps; needed with launch",
      }),
    })
    .prefault({}),
  turn: z
    .strictObject({
      relay: checkedText(checkRelayUri).optional().register(settings, {
        flag: "--turn-relay",
        value: "URI",
        description: "the relay of turn: hints, over TCP or TLS, such as turns:relay.example",
      }),
      username: z.string().min(1).optional().register(settings, {
        flag: "--turn-username",
        value: "NAME",
        description: "user name at that relay",
      }),
      credential: z.string().min(1).optional().register(settings, {
        description: "its credential",
        secret: true,
      }),
      credential_file: z.string().min(1).optional().register(settings, {
        flag: "--turn-credential-file",
        value: "FILE",
        description: "file with the credential in its first line",
      }),
    })
    .refine(
      ({ credential, credential_file: file }) => credential === undefined || file === undefined,
      "needs one of credential and credential_file, not both",
    )
    .refine(
      ({ username, credential, credential_file: file }) =>
        (username === undefined) === (credential === undefined && file === undefined),
      "username and credential (or credential_file) go together",
    )
    .prefault({}),
});
