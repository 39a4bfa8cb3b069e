import { z } from "zod";
import { checkedText, portNumber, secretText } from "./checked-text.ts";
import { hints } from "./hints-schema.ts";
import { externalAuth, externalAuthCache } from "./schema-external-auth.ts";
import { authn, oauth, penalties, webhook } from "./schema-authn.ts";
import { portal } from "./schema-portal.ts";
import { protocolKeys, streams } from "./schema-protocol.ts";
import { operationKeys } from "./schema-operation.ts";
import { redirect } from "./schema-redirect.ts";
import { settings } from "./setting.ts";
import {
  checkAddress,
  checkEventType,
  checkExternalAddress,
  checkListenSpec,
  checkPeerRange,
  checkStoredKey,
  listenOnPort,
  parseUser,
} from "./values.ts";

const relay = z.strictObject({
  plane: z
    .enum(["auto", "portable", "batched", "kernel"])
    .prefault("auto")
    .register(settings, {
      flag: "--plane",
      value: "WHAT",
      description:
        "how UDP is forwarded: batched (many packets a system call, on threads; Linux x64 with glibc), kernel (batched, " +
        "and channels in the kernel by XDP or TCX; needs --interface, CAP_BPF and CAP_NET_ADMIN), portable, or auto: batched if " +
        "this machine passes its self-test",
    }),
  interface: z.string().min(1).max(15).optional().register(settings, {
    flag: "--interface",
    value: "NAME",
    description: "with --plane kernel: the Ethernet interface that clients and peers come by",
    defaultText: "none",
  }),
  kernel_mode: z
    .enum(["auto", "native", "tcx", "generic"])
    .prefault("auto")
    .register(settings, {
      flag: "--kernel-mode",
      value: "MODE",
      description:
        "with --plane kernel: how packets reach its program: native (in the driver, by XDP), tcx (behind the driver; " +
        "Linux 6.6 or later), generic (as tcx, but by XDP, with more copies), or auto: the first of them that the " +
        "interface can do, on veth not native",
    }),
  threads: z.int().min(1).max(64).optional().register(settings, {
    flag: "--threads",
    value: "N",
    description: "threads of the batched plane",
    defaultText: "as many as the process may use cores",
  }),
  coalesce_us: z.int().min(0).max(200).prefault(0).register(settings, {
    flag: "--coalesce-us",
    value: "MICROSECONDS",
    description: "latency that the batched plane may add at middle loads to save CPU",
  }),
  listen: z
    .array(checkedText(checkListenSpec))
    .min(1)
    .optional()
    .register(settings, {
      flag: "--listen",
      value: "SPEC",
      description:
        "where clients are served: TRANSPORT:ADDRESS:PORT (udp, tcp, tls, dtls, ws, wss); port 0: any free one",
      aliases: ["LISTEN_PORT"],
      fromAliases: ([port = ""]) => listenOnPort(port),
      defaultText: "udp and tcp on `0.0.0.0:3478`, and on `[::]:3478` where the machine has IPv6",
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
  external_addresses: z
    .array(checkedText(checkExternalAddress))
    .prefault([])
    .register(settings, {
      flag: "--external-address",
      value: "PUBLIC[/PRIVATE]",
      description: "what clients are told in place of a relay address, behind a one-to-one NAT",
      aliases: ["PUBLIC_IP4_ADDR", "PUBLIC_IP6_ADDR"],
    }),
  port_range: z
    .tuple([
      portNumber()
        .prefault(49_152)
        .register(settings, {
          flag: "--min-port",
          value: "PORT",
          description: "first port for relayed transport addresses",
          aliases: ["LOWEST_PORT"],
        }),
      portNumber()
        .prefault(65_535)
        .register(settings, {
          flag: "--max-port",
          value: "PORT",
          description: "last port for relayed transport addresses",
          aliases: ["HIGHEST_PORT"],
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
  ...operationKeys,
  ...protocolKeys,
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

const telemetry = z.strictObject({
  otlp_endpoint: z.string().min(1).optional().register(settings, {
    flag: "--otlp-endpoint",
    value: "URL",
    description:
      "where metrics and traces go by OTLP over gRPC; OTLP_GRPC_ENDPOINT and OTEL_EXPORTER_OTLP_* are read too",
    defaultText: "nowhere",
  }),
  metrics: z.string().min(1).optional().register(settings, {
    flag: "--metrics",
    value: "ADDRESS:PORT",
    description: "where /metrics of relay and portal is served for Prometheus; off for nowhere",
    defaultText: "`127.0.0.1:9641`, if the port is free",
  }),
  health: z.string().min(1).optional().register(settings, {
    flag: "--health",
    value: "ADDRESS:PORT",
    description: "where a relay's /healthz and /readyz are served; off for nowhere",
    defaultText: "`127.0.0.1:8081`, if the port is free",
  }),
});

const bandwidth = () => z.int().min(1000).max(1e12).optional();
const perSecond = () => z.int().min(1).max(1_000_000).optional();
const count = () => z.int().min(1).max(1_000_000).optional();

const quota = z.strictObject({
  user: count().register(settings, {
    flag: "--user-quota",
    value: "N",
    description: "allocations that one user may have at once; more are refused with 486",
    defaultText: "any number",
  }),
  total: count().register(settings, {
    flag: "--total-quota",
    value: "N",
    description: "allocations of all users together",
    defaultText: "any number",
  }),
  address: count().register(settings, {
    flag: "--address-quota",
    value: "N",
    description: "allocations from one IPv4 address or IPv6 /64",
    defaultText: "any number",
  }),
  user_bandwidth: bandwidth().register(settings, {
    flag: "--user-bandwidth",
    value: "BYTES/S",
    description: "what all allocations of one user relay together, each way; at least 1000",
    defaultText: "no limit",
  }),
  allocation_bandwidth: bandwidth().register(settings, {
    flag: "--allocation-bandwidth",
    value: "BYTES/S",
    description: "what one allocation relays, each way; at least 1000",
    defaultText: "no limit",
  }),
  total_bandwidth: bandwidth().register(settings, {
    flag: "--total-bandwidth",
    value: "BYTES/S",
    description: "what the relay relays, each way; users share it fairly; at least 1000",
    defaultText: "no limit",
  }),
  requests_per_second: perSecond().register(settings, {
    description: "requests that one network (/24, /56) may send; more get silence",
    defaultText: "no limit",
  }),
  challenges_per_second: perSecond().register(settings, {
    description: "challenges (401, 438) that one network is sent",
    defaultText: "no limit",
  }),
  allocations_per_second: perSecond().register(settings, {
    description: "allocations that one network may make; more are refused with 486",
    defaultText: "no limit",
  }),
  store: z
    .string()
    .regex(/^rediss?:\/\//, "expected redis://HOST:PORT or rediss://HOST:PORT")
    .optional()
    .register(settings, {
      flag: "--quota-store",
      value: "URL",
      description: "Redis or Valkey in which the relays of a fleet count together",
      defaultText: "each relay counts alone",
      secret: true,
    }),
});

const control = z.strictObject({
  socket: z.string().min(1).optional().register(settings, {
    flag: "--control-socket",
    value: "PATH",
    description: "Unix domain socket for turnpike ctl, with mode 0600",
    defaultText: "`turnpike.sock` in `XDG_RUNTIME_DIR`, none without that",
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
  events: z.array(checkedText(checkEventType)).prefault([]).register(settings, {
    flag: "--log-event",
    value: "TYPE",
    description: "type of event that is logged at info, with the client's address; all: every one",
  }),
});

const tls = z.strictObject({
  cert: z.string().min(1).optional().register(settings, {
    flag: "--cert",
    value: "FILE",
    description: "PEM file of the certificate and its chain, for tls:, dtls: and wss:; read again when it changes",
    defaultText: "none",
  }),
  key: z.string().min(1).optional().register(settings, {
    flag: "--key",
    value: "FILE",
    description: "PEM file of the certificate's private key; read again when it changes",
    defaultText: "none",
  }),
});

/** The one description of the configuration: types, checks, `--help` and the reference page come from it. */
export const configurationSchema = z
  .strictObject({
    relay: relay.prefault({}),
    tls: tls.prefault({}),
    streams: streams.prefault({}),
    authn: authn.prefault({}),
    external_auth: externalAuth.prefault({}),
    external_auth_cache: externalAuthCache.prefault({}),
    turn: turn.prefault({}),
    penalties: penalties.prefault({}),
    peers: peers.prefault({}),
    hints: hints.prefault({}),
    portal: portal.prefault({}),
    telemetry: telemetry.prefault({}),
    quota: quota.prefault({}),
    redirect: redirect.prefault({}),
    control: control.prefault({}),
    log: log.prefault({}),
  })
  .refine(({ redirect: { least_loaded: wanted }, quota: { store } }) => !wanted || store !== undefined, {
    path: ["redirect", "least_loaded"],
    message: "needs quota.store: the relays of a fleet tell each other by it how full they are",
  })
  .superRefine((configuration, context) => {
    if (configuration.authn.schemes_external.includes("basic") && configuration.external_auth.kind === undefined) {
      const message = '"basic" needs external_auth.kind: nobody else knows the passwords';
      context.addIssue({ code: "custom", path: ["authn", "schemes_external"], message });
    }
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
