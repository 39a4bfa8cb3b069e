import { parseStampedName, parseTimeLimitedName } from "@turnpike/credentials";

/**
 * The one spelling of a user, by which quotas, events, penalties and revocations know it: width mapping, lower case and
 * normalization form C, as UsernameCaseMapped does (RFC 8265 §3.3.1).
 *
 * USERNAME itself is an OpaqueString, so `Alice` and `alice` are two credentials and each has its own key. They are one
 * actor all the same, for a backend that takes any spelling (LDAP, most web services) would otherwise give whoever varies
 * the case a fresh quota with every spelling. Two static users that differ in case alone share one quota.
 */
export function normalizeUser(user: string): string {
  // Asked for each allocation: of most names nothing is to be changed.
  if (PLAIN.test(user)) return user;
  return user
    .replaceAll(WIDTHS, (character) => character.normalize("NFKC"))
    .toLowerCase()
    .normalize("NFC");
}

/**
 * Whose credentials a user name claims to be, before anything is proven: a time-limited name counts for its user, so that
 * a guesser gains nothing by another timestamp. A stamped name counts for the user of its salt.
 */
export function claimedUser(username: string): string {
  const stamped = parseStampedName(username)?.user;
  if (stamped !== undefined) return normalizeUser(stamped);
  const name = parseTimeLimitedName(username);
  const user = name === undefined || name.form === "timestamp" || name.user === "" ? username : name.user;
  return normalizeUser(user);
}

/** ASCII without capital letters. */
const PLAIN = /^[\x20-\x40\x5b-\x7e]*$/u;
/** Halfwidth and fullwidth forms, and the ideographic space (RFC 8265 §3.3.1 step 1). */
const WIDTHS = /[\u3000\uff00-\uffef]/gu;
