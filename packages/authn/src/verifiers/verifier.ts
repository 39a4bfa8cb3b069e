import type { OperationContext } from "../core/operation-context.ts";
import type { Secret } from "../core/secret.ts";

/** What a person typed, or a client sent by Basic. */
export interface Credentials {
  readonly username: string;
  readonly password: Secret;
  /** Ends the question when nobody waits for the answer any more. Default: the context's. */
  readonly signal?: AbortSignal | undefined;
}

/** The password is right. */
export interface Verified {
  readonly kind: "verified";
  /** Stable and unique at this provider. */
  readonly subject: string;
  /** What people call the user. */
  readonly displayName?: string;
  /** As the provider names them. */
  readonly groups: readonly string[];
  /** What this installation makes of the groups; sorted, without duplicates. */
  readonly roles: readonly string[];
  /** When the account or its password ends, in wall-clock milliseconds since 1970. */
  readonly expiresAtUnixMs?: number;
  /** Where the answer came from. Default: the provider itself. `stale`: past its time, the provider being away. */
  readonly source?: "cache" | "stale";
}

/** The provider answered, and the answer is no. Clients get the same 401 for every reason. */
export interface Rejected {
  readonly kind: "rejected";
  /** `locked`: the account is locked, disabled or expired, whatever the password. */
  readonly reason: "unknownUser" | "badCredentials" | "locked";
  /** More of it, for logs only. Never a secret. */
  readonly detail?: string;
}

/** The provider gave no answer that can be trusted: HTTP 503, never 401. */
export interface VerifierUnavailable {
  readonly kind: "unavailable";
  /** Why, for logs only. Never holds a secret. */
  readonly cause: Error;
}

/** What a verifier says of a user name and password. */
export type VerifierResult = Verified | Rejected | VerifierUnavailable;

/**
 * Asks whoever knows the passwords. The rules of every implementation, held by one contract suite:
 *
 * - It never throws and never rejects for what a user or the provider does: those are results.
 * - Whatever is not a clear yes or no is `unavailable`.
 * - An empty password, and what can't be a user name, is rejected without asking.
 * - Time, connections and waiting are bounded.
 */
export interface CredentialVerifier {
  /** Names the provider in keys, logs and events. */
  readonly provider: string;
  /**
   * The form of a user name under which two spellings are one user to the provider. Default: only the same spelling is
   * the same user.
   */
  normalizeUsername?(username: string): string;
  verify(ctx: OperationContext, credentials: Credentials): Promise<VerifierResult>;
  /** Lets connections and workers go. Questions under way are answered `unavailable`. */
  close?(): Promise<void>;
}

/** The longest user name that is asked about, in bytes of UTF-8: RFC 8489 §14.3 allows 508. */
export const MAX_USERNAME_BYTES = 508;

/** The longest password that is asked about, in bytes of UTF-8. */
export const MAX_PASSWORD_BYTES = 1024;

// Controls end a line or a C string somewhere down the road; a lone surrogate has no bytes of its own.
const IMPOSSIBLE_IN_USERNAME = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * Rejects what no provider is to be asked: an empty password is an *unauthenticated* bind to LDAP (RFC 4513 §5.1.2),
 * which succeeds.
 */
export function rejectImpossible({ username, password }: Credentials): Rejected | undefined {
  if (username === "" || Buffer.byteLength(username) > MAX_USERNAME_BYTES) {
    return { kind: "rejected", reason: "unknownUser", detail: "user name is empty or too long" };
  }
  if (IMPOSSIBLE_IN_USERNAME.test(username)) {
    return { kind: "rejected", reason: "unknownUser", detail: "user name holds a control character" };
  }
  const clear = password.reveal();
  if (clear === "") return { kind: "rejected", reason: "badCredentials", detail: "password is empty" };
  if (Buffer.byteLength(clear) > MAX_PASSWORD_BYTES) {
    return { kind: "rejected", reason: "badCredentials", detail: "password is too long" };
  }
  // Where passwords pass through C strings, what stands behind a NUL would not count.
  if (clear.includes("\0")) {
    return { kind: "rejected", reason: "badCredentials", detail: "password holds a NUL" };
  }
  return undefined;
}

/** An `unavailable` result; whatever was thrown becomes an `Error`. */
export function unavailable(message: string, cause?: unknown): VerifierUnavailable {
  return { kind: "unavailable", cause: new Error(message, cause === undefined ? undefined : { cause }) };
}

/**
 * One form for the spellings of a user name that directories hold to be equal: compatibility forms (NFKC), case and
 * runs of spaces (RFC 4518 §2) don't count.
 */
export function foldUsername(username: string): string {
  return username.normalize("NFKC").toLowerCase().trim().replaceAll(/\s+/gu, " ");
}
