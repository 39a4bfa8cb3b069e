import { parseTimeLimitedName } from "@turnpike/credentials";
import { normalizeUser } from "./user.ts";

/** What can be revoked: one credential by its user name or id, all that share a label, all of a user. */
export type RevocationKind = "username" | "credentialId" | "label" | "actor";

/** One revocation. */
export interface Revocation {
  readonly by: RevocationKind;
  readonly value: string;
  /**
   * Until when it must be remembered, in wall-clock milliseconds: the end of the last credential that it means. May be
   * left out for a time-limited user name, which says its end itself.
   */
  readonly untilUnixMs?: number;
}

/** What a revocation is compared with. */
export interface RevocableCredential {
  readonly username: string;
  readonly actor: string;
  readonly credentialId?: string | undefined;
  readonly label?: string | undefined;
}

/** What {@link createRevocationList} needs. */
export interface RevocationListOptions {
  /** How many are remembered. Default 100,000. */
  readonly maxEntries?: number;
  /** Each new revocation, so that the allocations that live by it can be ended. */
  readonly onRevoked?: (revocation: Required<Revocation>) => void;
  /** A living revocation was forgotten because the list is full: the one that would have ended first. */
  readonly onOverflow?: (forgotten: Required<Revocation>) => void;
}

/** Credentials that are refused although they verify. */
export interface RevocationList {
  /**
   * Remembers a revocation; a second one of the same thing prolongs the first.
   *
   * @throws TypeError if there is no `untilUnixMs` and the value is not a time-limited user name.
   * @throws RangeError if `untilUnixMs` is not a finite number.
   */
  revoke(revocation: Revocation, options: { readonly nowUnixMs: number }): void;
  /** Whether any of its names is revoked. */
  isRevoked(credential: RevocableCredential, options: { readonly nowUnixMs: number }): boolean;
  /** How many are remembered, some of which may have ended. */
  readonly size: number;
}

const DEFAULT_MAX_ENTRIES = 100_000;

/**
 * A bounded list of revocations, each forgotten when what it means has ended. A full list drops what has ended first, and
 * then the revocation that has the least time left, of which `onOverflow` is told.
 *
 * @throws RangeError if `maxEntries` is not a whole number, at least 1.
 */
export function createRevocationList(options: RevocationListOptions = {}): RevocationList {
  const { maxEntries = DEFAULT_MAX_ENTRIES } = options;
  if (!Number.isInteger(maxEntries) || maxEntries < 1) {
    throw new RangeError("Cannot make a revocation list: maxEntries must be a whole number, at least 1");
  }
  const entries = new Map<string, Required<Revocation>>();

  const isListed = (by: RevocationKind, value: string | undefined, nowUnixMs: number): boolean => {
    if (value === undefined) return false;
    const name = nameOf(by, value);
    const entry = entries.get(name);
    if (entry === undefined) return false;
    const hasEnded = entry.untilUnixMs <= nowUnixMs;
    if (hasEnded) entries.delete(name);
    return !hasEnded;
  };

  return {
    revoke(revocation, { nowUnixMs }) {
      const { by, value } = revocation;
      const untilUnixMs = endOf(revocation);
      if (untilUnixMs <= nowUnixMs) return;
      const name = nameOf(by, value);
      const known = entries.get(name);
      if (known === undefined && entries.size >= maxEntries) makeRoom(entries, { nowUnixMs, ...options });
      const entry = { by, value, untilUnixMs: Math.max(untilUnixMs, known?.untilUnixMs ?? 0) };
      entries.set(name, entry);
      if (known === undefined) options.onRevoked?.(entry);
    },
    isRevoked({ username, actor, credentialId, label }, { nowUnixMs }) {
      if (entries.size === 0) return false;
      return (
        isListed("username", username, nowUnixMs) ||
        isListed("credentialId", credentialId, nowUnixMs) ||
        isListed("label", label, nowUnixMs) ||
        isListed("actor", actor, nowUnixMs)
      );
    },
    get size() {
      return entries.size;
    },
  };
}

function makeRoom(
  entries: Map<string, Required<Revocation>>,
  { nowUnixMs, onOverflow }: RevocationListOptions & { readonly nowUnixMs: number },
): void {
  let first: readonly [string, Required<Revocation>] | undefined;
  let dropped = 0;
  for (const [name, entry] of entries) {
    if (entry.untilUnixMs <= nowUnixMs) {
      entries.delete(name);
      dropped += 1;
    } else if (first === undefined || entry.untilUnixMs < first[1].untilUnixMs) {
      first = [name, entry];
    }
  }
  if (dropped > 0 || first === undefined) return;
  entries.delete(first[0]);
  onOverflow?.(first[1]);
}

function endOf({ by, value, untilUnixMs }: Revocation): number {
  if (untilUnixMs !== undefined) {
    if (Number.isFinite(untilUnixMs)) return untilUnixMs;
    throw new RangeError("Cannot revoke: untilUnixMs must be a finite number of milliseconds");
  }
  const name = by === "username" ? parseTimeLimitedName(value) : undefined;
  if (name === undefined) {
    throw new TypeError("Cannot revoke: untilUnixMs is missing, and the value is not a time-limited user name");
  }
  return name.expiresAtUnixSeconds * 1000;
}

/** Injective, since no kind has a colon in it. */
function nameOf(by: RevocationKind, value: string): string {
  return `${by}:${by === "actor" ? normalizeUser(value) : value}`;
}
