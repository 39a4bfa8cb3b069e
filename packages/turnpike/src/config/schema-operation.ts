import { z } from "zod";
import { settings } from "./setting.ts";

/** Keys of `[relay]` for those who run it: where its addresses come from, how it ends. */
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
  drain_timeout: z.int().min(0).max(86_400).prefault(3600).register(settings, {
    flag: "--drain-timeout",
    value: "SECONDS",
    description: "how long the first SIGTERM lets allocations live on before they are ended",
  }),
};
