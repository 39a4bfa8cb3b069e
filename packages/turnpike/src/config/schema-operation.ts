import { z } from "zod";
import { checkedText } from "./checked-text.ts";
import { settings } from "./setting.ts";
import { checkServerAddress } from "./values.ts";

/** Keys of `[relay]` for those who run it: where its addresses come from, where clients go, how it ends. */
export const operationKeys = {
  nonce_lifetime: z.int().min(10).max(3600).prefault(600).register(settings, {
    flag: "--nonce-lifetime",
    value: "SECONDS",
    description: "how long a nonce is good before clients are told another (RFC 8489 §9.2)",
  }),
  discover_addresses: z
    .enum(["gce_metadata", "aws_ec2_metadata"])
    .optional()
    .register(settings, {
      flag: "--discover-addresses",
      value: "METHOD",
      description: "asks the cloud's metadata service at the start for the public addresses, if none are named",
      defaultText: "nobody is asked",
      aliases: ["LISTEN_ADDRESS_DISCOVERY_METHOD"],
    }),
  alternate_servers: z.array(checkedText(checkServerAddress)).prefault([]).register(settings, {
    flag: "--alternate-server",
    value: "ADDRESS:PORT",
    description: "a relay that clients are sent to by 300 (Try Alternate), one after the other",
  }),
  alternate_domain: z.string().min(1).max(255).optional().register(settings, {
    flag: "--alternate-domain",
    value: "NAME",
    description: "the name in the certificates of those relays (ALTERNATE-DOMAIN, RFC 8489 §14.16)",
  }),
  redirect: z.enum(["draining", "always"]).prefault("draining").register(settings, {
    flag: "--redirect",
    value: "WHEN",
    description: "when clients are sent there: while this relay drains, or always",
  }),
  drain_timeout: z.int().min(0).max(86_400).prefault(3600).register(settings, {
    flag: "--drain-timeout",
    value: "SECONDS",
    description: "how long the first SIGTERM lets allocations live on before they are ended",
  }),
};
