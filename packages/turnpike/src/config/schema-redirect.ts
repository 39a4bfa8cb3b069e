import { z } from "zod";
import { checkedText } from "./checked-text.ts";
import { settings } from "./setting.ts";
import { checkPeerRange, checkRedirectServer } from "./values.ts";

const server = () => checkedText(checkRedirectServer);

const rule = z.strictObject({
  servers: z.array(server()).min(1).register(settings, {
    description: "where to: ADDRESS:PORT of one or more servers; a client is told one of its address family",
  }),
  domain: z.string().min(1).max(255).optional().register(settings, {
    description: "the name in that server's certificate (ALTERNATE-DOMAIN)",
  }),
  users: z.array(z.string().min(1)).optional().register(settings, { description: "only these users" }),
  prefixes: z.array(checkedText(checkPeerRange)).optional().register(settings, {
    description: "only clients of these addresses, CIDR prefixes or A-B ranges",
  }),
  min_allocations: z.int().min(0).optional().register(settings, {
    description: "only from so many living allocations on",
  }),
  draining: z.boolean().optional().register(settings, { description: "true: only while this relay drains" }),
});

/** `[redirect]`: who is sent to another relay (300, Try Alternate). */
export const redirect = z
  .strictObject({
    rule: z
      .array(rule)
      .prefault([])
      .register(settings, { description: "sends clients elsewhere; the first rule of which all holds" }),
    least_loaded: z.boolean().prefault(false).register(settings, {
      description:
        "whether a relay that is fuller than others of its fleet, or drains, sends clients to the emptiest; needs quota.store and advertise",
    }),
    advertise: z.array(server()).prefault([]).register(settings, {
      description: "ADDRESS:PORT where the others of the fleet send clients for this relay; one of each address family",
    }),
    domain: z.string().min(1).max(255).optional().register(settings, {
      description: "the name in this relay's certificate, told with advertise",
    }),
  })
  .refine((given) => !given.least_loaded || given.advertise.length > 0, {
    path: ["least_loaded"],
    message: "needs redirect.advertise: where the others send clients for this relay",
  });
