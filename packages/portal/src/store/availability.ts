/** What `pg` says of a connection that is gone, in errors without a code. */
const LOST =
  /^(?:Connection terminated|Connection ended|Client has encountered a connection error|Client was closed|timeout exceeded when trying to connect)/;
/** The system's, of a connection that could not be made or broke. */
const SYSTEM_CODES: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
  "ENOTFOUND",
  "EAI_AGAIN",
]);
/**
 * SQLSTATE (PostgreSQL, appendix A): 08 connection exception, 53 insufficient resources, 57P the server stops or starts,
 * 57014 a statement took too long, 40001 and 40P01 others were quicker.
 */
const STATES = /^(?:08|53|57P)...?$|^57014$|^40001$|^40P01$/;
/** SQLITE_BUSY: somebody else writes for longer than we wait. */
const SQLITE_BUSY = 5;

/** Whether an error says that the database can't be asked at the moment, and not that what was asked is wrong. */
export function isStoreAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.every(isStoreAway);
  const code: unknown = "code" in error ? error.code : undefined;
  if (code === "ERR_SQLITE_ERROR") return "errcode" in error && error.errcode === SQLITE_BUSY;
  return SYSTEM_CODES.has(code) || (typeof code === "string" && STATES.test(code)) || LOST.test(error.message);
}
