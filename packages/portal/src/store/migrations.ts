import { type Kysely, sql } from "kysely";
import type { Migration, MigrationProvider } from "kysely/migration";
import type { Dialect } from "./store.ts";

/** The database's steps, oldest first. A step that was released is never changed. */
export function migrations(dialect: Dialect): MigrationProvider {
  const steps: Record<string, Migration> = {
    "0001-first": { up: (db) => first(db, dialect) },
    "0002-external-users": { up: externalUsers },
  };
  return { getMigrations: () => Promise.resolve(steps) };
}

async function first(db: Kysely<unknown>, dialect: Dialect): Promise<void> {
  const time = "bigint" as const;
  await db.schema
    .createTable("settings")
    .addColumn("key", "text", (column) => column.primaryKey())
    .addColumn("value", "text", (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("users")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("name", "text")
    .addColumn("roles", "text", (column) => column.notNull())
    .addColumn("disabled", "integer", (column) => column.notNull())
    .addColumn("password_hash", "text")
    .addColumn("max_allocations", "integer")
    .addColumn("created_at", time, (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("tokens")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("token_digest", "text", (column) => column.notNull().unique())
    .addColumn("prefix", "text", (column) => column.notNull())
    .addColumn("actor_kind", "text", (column) => column.notNull())
    .addColumn("actor_id", "text", (column) => column.notNull())
    .addColumn("label", "text", (column) => column.notNull())
    .addColumn("created_at", time, (column) => column.notNull())
    .addColumn("expires_at", time)
    .addColumn("last_used_at", time)
    .execute();
  await db.schema
    .createTable("sessions")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("token_digest", "text", (column) => column.notNull().unique())
    .addColumn("actor_kind", "text", (column) => column.notNull())
    .addColumn("actor_id", "text", (column) => column.notNull())
    .addColumn("created_at", time, (column) => column.notNull())
    .addColumn("last_used_at", time, (column) => column.notNull())
    .addColumn("expires_at", time, (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("sign_in_codes")
    .addColumn("digest", "text", (column) => column.primaryKey())
    .addColumn("user_id", "text", (column) => column.notNull())
    .addColumn("expires_at", time, (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("relays")
    .addColumn("id", "text", (column) => column.primaryKey())
    .addColumn("name", "text", (column) => column.notNull().unique())
    .addColumn("created_at", time, (column) => column.notNull())
    .execute();
  await db.schema
    .createTable("credentials")
    .addColumn("username", "text", (column) => column.primaryKey())
    .addColumn("actor", "text", (column) => column.notNull())
    .addColumn("label", "text", (column) => column.notNull())
    .addColumn("relay_id", "text")
    .addColumn("minted_by", "text", (column) => column.notNull())
    .addColumn("created_at", time, (column) => column.notNull())
    .addColumn("expires_at", time, (column) => column.notNull())
    .addColumn("revoked_at", time)
    .execute();
  await sequence(db, dialect, "audit", [
    "at bigint not null",
    "actor text not null",
    "scheme text",
    "credential_id text",
    "action text not null",
    "target text not null",
    "details text not null",
    "request_id text not null",
  ]);
  await sequence(db, dialect, "outbox", ["at bigint not null", "relay_id text", "message text not null"]);
  await db.schema.createIndex("tokens_actor").on("tokens").columns(["actor_id"]).execute();
  await db.schema.createIndex("sessions_actor").on("sessions").columns(["actor_id"]).execute();
  await db.schema.createIndex("credentials_label").on("credentials").columns(["actor", "label"]).execute();
  await db.schema.createIndex("credentials_end").on("credentials").columns(["expires_at"]).execute();
}

async function externalUsers(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable("users")
    .addColumn("is_external", "integer", (column) => column.notNull().defaultTo(0))
    .execute();
}

/** A table whose rows are numbered in the order of their insertion; numbers are never used again. */
async function sequence(
  db: Kysely<unknown>,
  dialect: Dialect,
  table: string,
  columns: readonly string[],
): Promise<void> {
  const key =
    dialect === "sqlite"
      ? "seq integer primary key autoincrement"
      : "seq bigint generated always as identity primary key";
  await sql.raw(`create table ${table} (${[key, ...columns].join(", ")})`).execute(db);
}
