import type { OperationContext } from "@turnpike/authn";
import { ForbiddenError } from "../errors.ts";

/** What people and programs may be. */
export const ROLES: readonly ["admin", "operator", "minter", "viewer"] = ["admin", "operator", "minter", "viewer"];

/** One of {@link ROLES}. */
export type Role = (typeof ROLES)[number];

/** Whether that is a role. */
export function isRole(value: unknown): value is Role {
  return ROLES.some((role) => role === value);
}

/** Something that may be permitted. */
export type Permission =
  | "credentials.mint"
  | "credentials.revoke"
  | "relays.read"
  | "relays.write"
  | "relays.drain"
  | "allocations.read"
  | "allocations.end"
  | "events.read"
  | "cache.read"
  | "cache.write"
  | "users.read"
  | "users.write"
  | "tokens.own"
  | "tokens.all"
  | "sessions.own"
  | "sessions.all"
  | "audit.read";

/**
 * Who may do what: the whole of authorization. `own`: what everybody may do with what is theirs, whatever their role.
 * No relay stands here: relays have a door of their own.
 */
export const PERMISSIONS: Readonly<Record<Permission, readonly Role[]>> = {
  "credentials.mint": ["admin", "operator", "minter"],
  "credentials.revoke": ["admin", "operator", "minter"],
  "relays.read": ["admin", "operator", "viewer"],
  "relays.write": ["admin"],
  "relays.drain": ["admin", "operator"],
  "allocations.read": ["admin", "operator", "viewer"],
  "allocations.end": ["admin", "operator"],
  "events.read": ["admin", "operator", "viewer"],
  "cache.read": ["admin", "operator", "viewer"],
  "cache.write": ["admin", "operator"],
  "users.read": ["admin", "operator"],
  "users.write": ["admin"],
  "tokens.own": ["admin", "operator", "minter", "viewer"],
  "tokens.all": ["admin"],
  "sessions.own": ["admin", "operator", "minter", "viewer"],
  "sessions.all": ["admin"],
  "audit.read": ["admin"],
};

/** Whether whoever asks may do that. The program itself may do everything; relays may do nothing of this. */
export function mayDo(ctx: OperationContext, permission: Permission): boolean {
  const { actor } = ctx;
  if (actor === undefined || actor.kind === "relay") return false;
  if (actor.kind === "builtIn") return true;
  return actor.roles.some((role) => isRole(role) && PERMISSIONS[permission].includes(role));
}

/** The one check that every route and operation calls. @throws ForbiddenError */
export function authorize(ctx: OperationContext, permission: Permission): void {
  if (!mayDo(ctx, permission)) throw new ForbiddenError(`This needs the permission "${permission}".`);
}
