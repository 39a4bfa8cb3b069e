import { actorLabel, type Clock, OperationContext, systemClock } from "@turnpike/authn";
import { Kysely, PostgresDialect, sql, SqliteDialect, type Transaction } from "kysely";
import { Migrator } from "kysely/migration";
import { Pool, types } from "pg";
import { migrations } from "./migrations.ts";
import type { Database } from "./schema.ts";
import { openSqliteDatabase } from "./sqlite-database.ts";

/** Which database it is. */
export type Dialect = "sqlite" | "postgres";

/** What {@link openStore} takes. */
export interface StoreOptions {
  /** `postgres://…`, the path of a file, or `:memory:`. */
  readonly location: string;
  readonly clock?: Clock;
}

/** What a change is called in the audit log. */
export interface Mutation {
  /** Such as `user.created`. */
  readonly action: string;
  readonly target: string;
  /** Plain data without secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A database at hand, with everything that its users share. */
export class Store {
  readonly dialect: Dialect;
  readonly clock: Clock;
  readonly #db: Kysely<Database>;

  constructor(options: { readonly db: Kysely<Database>; readonly dialect: Dialect; readonly clock: Clock }) {
    this.#db = options.db;
    this.dialect = options.dialect;
    this.clock = options.clock;
  }

  /** For reading. Every use names on whose behalf. */
  reader(ctx: OperationContext): Kysely<Database> {
    OperationContext.assert(ctx);
    return this.#db;
  }

  /** Changes something that nobody has to be told of, such as a time of use. */
  async note<Result>(ctx: OperationContext, work: (db: Kysely<Database>) => Promise<Result>): Promise<Result> {
    OperationContext.assert(ctx);
    return work(this.#db);
  }

  /**
   * Changes something: in one transaction with its line in the audit log. `work` may say that nothing was there to be
   * changed by returning `undefined` or `false`; then nothing is logged.
   */
  async mutate<Result>(
    ctx: OperationContext,
    mutation: Mutation,
    work: (trx: Transaction<Database>) => Promise<Result>,
  ): Promise<Result> {
    OperationContext.assert(ctx);
    return this.#db.transaction().execute(async (trx) => {
      const result = await work(trx);
      if (result !== undefined && result !== false) await this.#audit(trx, ctx, mutation);
      return result;
    });
  }

  /** Lets nobody else in until the transaction ends, so that rows get their numbers in the order of their commits. */
  async serialize(trx: Transaction<Database>): Promise<void> {
    // One writer at a time is what SQLite has anyway.
    if (this.dialect === "postgres") await sql`select pg_advisory_xact_lock(7240123)`.execute(trx);
  }

  close(): Promise<void> {
    return this.#db.destroy();
  }

  async #audit(trx: Transaction<Database>, ctx: OperationContext, mutation: Mutation): Promise<void> {
    const { authentication } = ctx;
    const proof = authentication?.kind === "authenticated" ? authentication : undefined;
    await trx
      .insertInto("audit")
      .values({
        at: this.clock.unixMs(),
        actor: ctx.actor === undefined ? "nobody" : actorLabel(ctx.actor),
        scheme: proof?.scheme ?? null,
        credential_id: proof?.details.credentialId ?? null,
        action: mutation.action,
        target: mutation.target,
        details: JSON.stringify(mutation.details ?? {}),
        request_id: ctx.requestId,
      })
      .execute();
  }
}

/**
 * Opens a store and brings its database up to date.
 *
 * @throws Error if the database can't be opened, or was made by a later version
 */
export async function openStore({ location, clock = systemClock }: StoreOptions): Promise<Store> {
  const isPostgres = /^postgres(?:ql)?:\/\//.test(location);
  const dialect: Dialect = isPostgres ? "postgres" : "sqlite";
  const db = new Kysely<Database>({
    dialect: isPostgres
      ? new PostgresDialect({ pool: openPool(location) })
      : new SqliteDialect({ database: () => Promise.resolve(openSqliteDatabase(location)) }),
  });
  const { error } = await new Migrator({ db, provider: migrations(dialect) }).migrateToLatest();
  if (error !== undefined) {
    await db.destroy();
    throw new Error(`Cannot open the store: ${messageOf(error)}`, { cause: error });
  }
  return new Store({ db, dialect, clock });
}

const INT8 = types.builtins.INT8;

function openPool(connectionString: string): Pool {
  const pool = new Pool({
    connectionString,
    max: 10,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: 10_000,
    types: {
      // Times and counts stay far below 2^53.
      getTypeParser: (id, format) => (id === INT8 ? Number : types.getTypeParser(id, format)),
    },
  });
  // A connection that breaks while it is idle is made anew with the next question.
  pool.on("error", () => {});
  // The pool listens to idle connections only. One that breaks between two statements of a transaction says so itself;
  // its next statement fails, and with it the transaction.
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}
