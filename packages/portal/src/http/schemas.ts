import { z } from "zod";
import { ROLES } from "../access/roles.ts";
import { USER_ID } from "../access/user-id.ts";

// Names, lengths and bounds of what the API takes and gives. The OpenAPI document is made of these.

export const time = z.iso.datetime().meta({ description: "RFC 3339, in UTC" });
export const userId = z
  .string()
  .regex(USER_ID)
  .meta({ description: "Lower-case letters, digits, and . _ @ - behind the first", examples: ["alice"] });
export const role = z.enum(ROLES);
// As ranges, which every generator of requests can read: control characters (Cc) and surrogates without their other half.
const CONTROLS = String.raw`\u0000-\u001F\u007F-\u009F`;
const SURROGATES = String.raw`\uD800-\uDFFF`;

const label = z
  .string()
  .min(1)
  .max(128)
  .regex(new RegExp(`^[^${CONTROLS}${SURROGATES}]*$`, "u"))
  .meta({ description: "Up to 128 characters without control characters" });
const endUser = z
  .string()
  .min(1)
  .max(128)
  .regex(new RegExp(`^[^${CONTROLS}${SURROGATES}:]*$`, "u"))
  .meta({ description: "Whose quotas and events it counts for: any name without a colon. Default: whoever asks" });
const ttl = z
  .int()
  .min(1)
  .max(31_536_000)
  .meta({ description: "Seconds. Default a day; more than the portal allows is cut to that" });
const password = z.string().min(8).max(1_024).meta({ format: "password" });
export const identifier = z.string().min(1).max(128);

export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    requestId: z.string().optional(),
  })
  .meta({ id: "Problem", description: "Problem details (RFC 9457)" });

export const mintBody = z.strictObject({
  ttl: ttl.optional(),
  user: endUser.optional(),
  label: label.optional().meta({ description: "Revoking one credential revokes all of its user and label" }),
});
export const iceServer = z.object({
  urls: z.union([z.string(), z.array(z.string())]),
  username: z.string().optional(),
  credential: z.string().optional(),
});
export const mintResponse = z.object({ iceServers: z.array(iceServer), expiresAt: time });
export const generateBody = z.strictObject({ ttl: ttl.optional(), customIdentifier: endUser.optional() });
export const generateResponse = z.object({ iceServers: z.array(iceServer) });
export const turnRestQuery = z.object({
  service: z.literal("turn"),
  username: endUser.optional(),
  key: z.string().max(256).optional().meta({ description: "An access token, for clients that can't send a header" }),
  ttl: z.coerce.number().int().min(1).max(31_536_000).optional(),
});
export const turnRestResponse = z.object({
  username: z.string(),
  password: z.string(),
  ttl: z.int(),
  uris: z.array(z.string()),
});

export const relay = z.object({
  id: z.string(),
  name: z.string(),
  createdAt: time,
  linked: z.boolean(),
  linkedAt: time.optional(),
  portal: z.string().optional().meta({ description: "The portal that it is linked to" }),
  urls: z.array(z.string()),
  hints: z.array(z.string()).optional(),
  reference: z.string().optional().meta({ description: "Names the relay by its key: turnpike://KEY@HINT,HINT/REALM" }),
  region: z.string().optional(),
  version: z.string().optional(),
  load: z.number().optional(),
  allocations: z.int().optional(),
  draining: z.boolean().optional(),
});
export const newRelayBody = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
  lifetimeSeconds: z.int().min(60).max(315_360_000).optional().meta({ description: "Of its token. Default: no end" }),
});
export const newRelayResponse = z.object({
  relay,
  token: z.string().meta({ description: "tr_…, shown this once" }),
});

export const allocation = z.object({
  id: z.string(),
  relay: z.string(),
  user: z.string(),
  username: z.string(),
  scheme: z.string(),
  transport: z.string(),
  client: z.string(),
  relayed: z.array(z.string()),
  createdAt: time,
});

export const token = z.object({
  id: z.string(),
  prefix: z.string(),
  actor: z.string(),
  label: z.string(),
  createdAt: time,
  expiresAt: time.optional(),
  lastUsedAt: time.optional(),
});
export const newTokenBody = z.strictObject({
  label,
  user: userId.optional().meta({ description: "Default: whoever asks. For others only administrators" }),
  lifetimeSeconds: z.int().min(60).max(315_360_000).optional().meta({ description: "Default: no end" }),
});
export const newTokenResponse = z.object({
  token: z.string().meta({ description: "tp_…, shown this once" }),
  id: z.string(),
});

export const session = z.object({
  id: z.string(),
  actor: z.string(),
  createdAt: time,
  lastUsedAt: time,
  expiresAt: time,
  current: z.boolean(),
});

const maxAllocations = z.int().min(0).max(1_000_000);
export const user = z.object({
  id: z.string(),
  kind: z.enum(["user", "service"]),
  name: z.string().optional(),
  roles: z.array(role),
  disabled: z.boolean(),
  hasPassword: z.boolean(),
  isExternal: z.boolean().meta({ description: "Whether roles follow the external authentication" }),
  maxAllocations: maxAllocations.optional(),
  createdAt: time,
});
export const newUserBody = z.strictObject({
  id: userId,
  kind: z.enum(["user", "service"]).default("user"),
  name: label.optional(),
  roles: z.array(role).max(ROLES.length),
  password: password.optional(),
  maxAllocations: maxAllocations.optional(),
});
export const userChangesBody = z.strictObject({
  name: label.nullable().optional(),
  roles: z.array(role).max(ROLES.length).optional(),
  disabled: z.boolean().optional(),
  password: password.nullable().optional(),
  maxAllocations: maxAllocations.nullable().optional(),
});

export const loginBody = z.union([
  z.strictObject({ username: z.string().min(1).max(508), password: z.string().min(1).max(1_024) }),
  z.strictObject({ code: z.string().regex(/^[\w-]{43}$/) }),
]);
export const whoami = z.object({
  kind: z.enum(["user", "service"]),
  id: z.string(),
  name: z.string().optional(),
  roles: z.array(z.string()),
  scheme: z.string(),
  expiresAt: time.optional(),
  csrfToken: z.string().optional().meta({ description: "For the header x-csrf-token, if a session cookie was used" }),
});

export const cacheState = z.object({
  enabled: z.boolean(),
  expirySeconds: z.number(),
  size: z.int(),
  entries: z.int(),
  statistics: z.record(z.string(), z.number()),
});
export const cacheChangesBody = z.strictObject({
  enabled: z.boolean().optional(),
  expirySeconds: z.number().positive().max(86_400).optional(),
  size: z.int().min(0).max(1_000_000).optional(),
});
export const flushResponse = z.object({
  removed: z.int(),
  fleet: z.enum(["none", "told", "notTold"]).meta({ description: "Whether the other portals were told" }),
});

/** The body of a rotation. */
export const rotationBody = z.strictObject({
  keepSeconds: z.int().min(0).max(31_536_000).default(604_800).meta({
    description:
      "How long the secret before is still accepted: as long as what it minted may last (a week unless the portal was told otherwise). 0: it leaked, and what it minted is refused at once",
  }),
});

export const auditEntry = z.object({
  seq: z.int(),
  at: time,
  actor: z.string(),
  scheme: z.string().optional(),
  credentialId: z.string().optional(),
  action: z.string(),
  target: z.string(),
  details: z.record(z.string(), z.unknown()),
  requestId: z.string(),
});
