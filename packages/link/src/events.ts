import { z } from "zod";

const text = (max: number): z.ZodString => z.string().max(max);
const unixMs = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** 32 random bytes of a relay, in lower-case hexadecimal: it stamps and verifies credentials with them. */
const stampSecret = z.string().regex(/^[0-9a-f]{64}$/);

/** Payload of `phx_join` on the topic `relay`. */
export const joinPayload: z.ZodObject<{ stamp_secret: z.ZodString }> = z.object({ stamp_secret: stampSecret });

/** A living allocation, as a relay tells of it. */
export interface AllocationRecord {
  /** Unique in the life of the relay. */
  readonly id: string;
  readonly actor: string;
  readonly username: string;
  readonly scheme: string;
  /** How the client came: `udp`, `tcp`, `tls`, `dtls`, `ws`, `wss`. */
  readonly transport: string;
  /** The client's transport address, as text. */
  readonly client: string;
  /** Relayed transport addresses, as text. */
  readonly relayed: readonly string[];
  readonly created_at_unix_ms: number;
}

const allocationRecord: z.ZodType<AllocationRecord> = z.object({
  id: text(128).min(1),
  actor: text(512),
  username: text(1024),
  scheme: text(64),
  transport: text(16),
  client: text(128),
  relayed: z.array(text(128)).max(4),
  created_at_unix_ms: unixMs,
});

/** What a relay says of itself now and then, and after each join. */
export interface PresencePayload {
  /** Between 0 (idle) and 1 (nothing left). */
  readonly load: number;
  readonly allocations: number;
  readonly version: string;
  readonly draining: boolean;
  /** What clients are given: `stun:` and `turn:` URLs (RFC 7064, RFC 7065). */
  readonly urls: readonly string[];
  /** How the relay can be reached otherwise. */
  readonly hints?: readonly string[] | undefined;
  /** What names it by its key, and how to reach it: `turnpike://KEY@HINT,HINT/REALM`. */
  readonly reference?: string | undefined;
  /** Where it stands, for choices by distance: free text such as `eu-west-1`. */
  readonly region?: string | undefined;
}

const presence: z.ZodType<PresencePayload> = z.object({
  load: z.number().min(0).max(1),
  allocations: count,
  version: text(64),
  draining: z.boolean(),
  urls: z.array(text(256).regex(/^(?:stuns?|turns?):[^\s@\p{Cc}]+$/u)).max(16),
  hints: z.array(text(512)).max(16).optional(),
  reference: text(2048)
    .regex(/^turnpike:\/\/[a-z2-7]{52}@[^\s@\p{Cc}]*$/u)
    .optional(),
  region: text(64).optional(),
});

/** One lifecycle event on its way to operators. */
export interface RelayEvent {
  readonly type: string;
  readonly at_unix_ms: number;
  readonly actor?: string | undefined;
  readonly username?: string | undefined;
  readonly allocation?: string | undefined;
  /** Why something ended, failed or was refused. */
  readonly reason?: string | undefined;
  /** Of `allocationCreated`. */
  readonly record?: AllocationRecord | undefined;
  /** Anything else; numbers and short texts. */
  readonly details?: Readonly<Record<string, string | number | boolean>> | undefined;
}

const relayEvent: z.ZodType<RelayEvent> = z.object({
  type: text(64).min(1),
  at_unix_ms: unixMs,
  actor: text(512).optional(),
  username: text(1024).optional(),
  allocation: text(128).optional(),
  reason: text(128).optional(),
  record: allocationRecord.optional(),
  details: z.record(text(64), z.union([text(512), z.number(), z.boolean()])).optional(),
});

/** Events in one message, at most: more go in the next. */
export const MAX_EVENTS_PER_MESSAGE = 100;

/** Allocations in one message, at most: the last part has `complete`. */
export const MAX_ALLOCATIONS_PER_MESSAGE = 500;

/** A part of the list of living allocations. */
export interface AllocationsPayload {
  readonly allocations: readonly AllocationRecord[];
  /** True in the first part: what was known before is forgotten. */
  readonly first: boolean;
  /** Events that were dropped since the last message, because the link was away or slow. */
  readonly dropped_events?: number | undefined;
}

/** Lifecycle events, oldest first. */
export interface EventsPayload {
  readonly events: readonly RelayEvent[];
  /** Events that were dropped since the last message, because the link was away or slow. */
  readonly dropped?: number | undefined;
}

/** What a relay tells its portal, after it joined. */
export type RelayMessage =
  | { readonly event: "presence"; readonly payload: PresencePayload }
  | { readonly event: "allocations"; readonly payload: AllocationsPayload }
  | { readonly event: "events"; readonly payload: EventsPayload };

const relayMessage: z.ZodType<RelayMessage> = z.discriminatedUnion("event", [
  z.object({ event: z.literal("presence"), payload: presence }),
  z.object({
    event: z.literal("allocations"),
    payload: z.object({
      allocations: z.array(allocationRecord).max(MAX_ALLOCATIONS_PER_MESSAGE),
      first: z.boolean(),
      dropped_events: count.optional(),
    }),
  }),
  z.object({
    event: z.literal("events"),
    payload: z.object({ events: z.array(relayEvent).max(MAX_EVENTS_PER_MESSAGE), dropped: count.optional() }),
  }),
]);

/** A credential, label or user that is refused until a time. */
export interface LinkRevocation {
  readonly by: "username" | "credentialId" | "label" | "actor";
  readonly value: string;
  /** Until when it must be remembered: the end of the last credential that it means. */
  readonly until_unix_ms: number;
}

/** Revocations in one message, at most. */
export const MAX_REVOCATIONS_PER_MESSAGE = 500;

/** Users in one message of quotas, at most. */
export const MAX_QUOTAS_PER_MESSAGE = 500;

/** How many allocations users may have at once. Replaces what was said before, unless it is `partial`. */
export interface QuotaPayload {
  /** Of users who are not named. Absent: no limit. Not in a part. */
  readonly default?: number | undefined;
  /** By actor. Null: as if they had never been named. */
  readonly users: Readonly<Record<string, number | null>>;
  /** True: what was said before holds for all whom this doesn't name. */
  readonly partial?: boolean | undefined;
}

/** What a portal tells a relay, beside `init` and `disconnect`. */
export type PortalMessage =
  | { readonly event: "revoke"; readonly payload: { readonly revocations: readonly LinkRevocation[] } }
  | { readonly event: "disconnect_user"; readonly payload: { readonly actor: string } }
  | { readonly event: "end_allocation"; readonly payload: { readonly allocation: string } }
  | { readonly event: "drain"; readonly payload: Readonly<Record<string, never>> }
  | { readonly event: "quota"; readonly payload: QuotaPayload }
  | { readonly event: "fleet_secrets"; readonly payload: { readonly secrets: readonly string[] } };

const portalMessage: z.ZodType<PortalMessage> = z.discriminatedUnion("event", [
  z.object({
    event: z.literal("revoke"),
    payload: z.object({
      revocations: z
        .array(
          z.object({
            by: z.enum(["username", "credentialId", "label", "actor"]),
            value: text(1024).min(1),
            until_unix_ms: unixMs,
          }),
        )
        .max(MAX_REVOCATIONS_PER_MESSAGE),
    }),
  }),
  z.object({ event: z.literal("disconnect_user"), payload: z.object({ actor: text(512).min(1) }) }),
  z.object({ event: z.literal("end_allocation"), payload: z.object({ allocation: text(128).min(1) }) }),
  z.object({ event: z.literal("drain"), payload: z.object({}) }),
  z.object({
    event: z.literal("quota"),
    payload: z.object({
      default: count.optional(),
      users: z.record(text(512), count.nullable()),
      partial: z.boolean().optional(),
    }),
  }),
  z.object({
    event: z.literal("fleet_secrets"),
    payload: z.object({ secrets: z.array(text(256).min(16)).max(8) }),
  }),
]);

/** A message of the other end that was read; `unknown`: an event that this end doesn't know and ignores. */
export type ReadMessage<Message> =
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "unknown" }
  | { readonly kind: "error"; readonly message: string };

const RELAY_EVENTS: readonly string[] = ["presence", "allocations", "events"];
const PORTAL_EVENTS: readonly string[] = [
  "revoke",
  "disconnect_user",
  "end_allocation",
  "drain",
  "quota",
  "fleet_secrets",
];

/** Reads what a relay sent. */
export function readRelayMessage(frame: {
  readonly event: string;
  readonly payload: unknown;
}): ReadMessage<RelayMessage> {
  return read(relayMessage, RELAY_EVENTS, frame);
}

/** Reads what a portal sent. */
export function readPortalMessage(frame: {
  readonly event: string;
  readonly payload: unknown;
}): ReadMessage<PortalMessage> {
  return read(portalMessage, PORTAL_EVENTS, frame);
}

function read<Message>(
  schema: z.ZodType<Message>,
  known: readonly string[],
  { event, payload }: { readonly event: string; readonly payload: unknown },
): ReadMessage<Message> {
  if (!known.includes(event)) return { kind: "unknown" };
  const parsed = schema.safeParse({ event, payload });
  if (parsed.success) return { kind: "message", message: parsed.data };
  const [issue] = parsed.error.issues;
  // The place and the kind of the fault; never the value, which may be a secret.
  return { kind: "error", message: `${event}: ${issue?.path.join(".") ?? ""} ${issue?.code ?? "is wrong"}` };
}
