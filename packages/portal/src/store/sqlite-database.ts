import { closeSync, openSync } from "node:fs";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { SqliteDatabase, SqliteStatement } from "kysely";

/** The keywords that a statement with rows begins with; `returning` gives rows to the others. */
const READS = /^\s*(?:select|with|pragma|explain)\b|\breturning\b/i;

/**
 * SQLite of `node:sqlite`, as Kysely's dialect wants it. A file is opened with a write-ahead log, which is synced at
 * each commit: what was answered is on the disk. A file that isn't there yet is made for its owner
 * alone: it holds what credentials are minted by.
 */
export function openSqliteDatabase(path: string): SqliteDatabase {
  if (path !== "" && path !== ":memory:" && !path.startsWith("file:")) createPrivateFile(path);
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true });
  database.exec("pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000;");
  return {
    close: () => database.close(),
    prepare(sql): SqliteStatement {
      const statement = database.prepare(sql);
      return {
        reader: READS.test(sql),
        all: (parameters) => statement.all(...parameters.map(toInput)),
        run: (parameters) => statement.run(...parameters.map(toInput)),
        iterate: (parameters) => statement.iterate(...parameters.map(toInput)),
      };
    },
  };
}

function toInput(value: unknown): SQLInputValue {
  if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "bigint")
    return value;
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`Cannot store a ${typeof value}`);
}

/** SQLite gives its log and its shared memory the mode of the database, which it would open to everybody's eyes. */
function createPrivateFile(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    // Its owner may have given it another mode; and to open it here would cost SQLite the locks of this process.
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}
