import type { ExternalActor } from "@turnpike/authn";
import type { Kysely } from "kysely";
import { isRole, type Role } from "../access/roles.ts";
import type { Database } from "./schema.ts";

/** Names of roles from their column; what isn't one is left out. */
export function readRoles(text: string): readonly Role[] {
  const value: unknown = JSON.parse(text);
  return Array.isArray(value) ? value.filter(isRole) : [];
}

/** Who that is today; `undefined`: gone or disabled. */
export async function findActor(
  db: Kysely<Database>,
  { kind, id }: { readonly kind: string; readonly id: string },
): Promise<ExternalActor | undefined> {
  if (kind === "relay") {
    const relay = await db.selectFrom("relays").select("id").where("id", "=", id).executeTakeFirst();
    return relay && { kind: "relay", id: relay.id };
  }
  const user = await db.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
  if (user === undefined || user.disabled !== 0) return undefined;
  const roles = readRoles(user.roles);
  if (user.kind === "service") return { kind: "service", id, roles };
  return { kind: "user", id, ...(user.name === null ? {} : { name: user.name }), roles };
}

/** {@link findActor} for a whole list: whoever stands in it many times is looked up once. */
export function actorFinder(
  db: Kysely<Database>,
): (who: { readonly kind: string; readonly id: string }) => Promise<ExternalActor | undefined> {
  const found = new Map<string, Promise<ExternalActor | undefined>>();
  return (who) => {
    const key = JSON.stringify([who.kind, who.id]);
    const known = found.get(key) ?? findActor(db, who);
    found.set(key, known);
    return known;
  };
}
