import { timingSafeEqual } from "node:crypto";
import { decodeBase32, encodeBase32 } from "./base32.ts";
import { printable } from "./hint-error.ts";
import { maximumHintCount, maximumHintLength } from "./hint.ts";

/**
 * Says how to reach a peer and how to recognise it:
 * `turnpike://<base32 of the SHA-256 of its public key>@hint,hint/realm`, hints and realm percent-encoded.
 */
export interface Reference {
  /** SHA-256 of the peer's public key (SubjectPublicKeyInfo, DER): 32 bytes. */
  readonly keyDigest: Uint8Array;
  /** Ways to reach it, best first; no part of its identity. */
  readonly hints: readonly string[];
  /** The realm it serves. May be empty. */
  readonly realm: string;
}

/**
 * The server name (RFC 6066 §3) that TLS asks for when it goes by a reference: a server that has a certificate for the
 * world as well knows by it which of its keys is meant. It is the same for all, and says nothing of whom.
 */
export const referenceServerName = "reference.turnpike.invalid";

/** Longest reference that is read, in characters. */
export const maximumReferenceLength = 16_384;

/** Longest realm, in characters (RFC 8489 §14.9). */
export const maximumRealmLength = 127;

/** A reference that cannot be read, and where reading failed. */
export class InvalidReferenceError extends Error {
  override readonly name = "InvalidReferenceError";
  readonly code: "too-long" | "bad-scheme" | "bad-key" | "bad-encoding" | "too-many-hints" | "bad-hint" | "bad-realm";
  /** In characters from the start. */
  readonly offset: number;

  constructor(options: {
    readonly code: InvalidReferenceError["code"];
    readonly problem: string;
    readonly text: string;
    readonly offset: number;
  }) {
    super(`Cannot read reference "${printable(options.text)}": ${options.problem} (at ${options.offset})`);
    this.code = options.code;
    this.offset = options.offset;
  }
}

const scheme = "turnpike://";

/** Writes a reference. @throws TypeError if a part of it could not be read back. */
export function formatReference(reference: Reference): string {
  try {
    const hints = reference.hints.map((hint) => encode(hint, ":[]")).join(",");
    const text = `${scheme}${encodeBase32(reference.keyDigest)}@${hints}/${encode(reference.realm, "")}`;
    const read = parseReference(text);
    // A single empty hint would read back as none.
    if (read.hints.length !== reference.hints.length) throw new TypeError("A hint is empty");
    return text;
  } catch (error) {
    throw new TypeError("Cannot write the reference: a part of it breaks its rules", { cause: error });
  }
}

/** Reads a reference. Its hints are not judged here: a type unknown today may be known tomorrow. */
export function parseReference(text: string): Reference {
  const fail = (code: InvalidReferenceError["code"], problem: string, offset: number): never => {
    throw new InvalidReferenceError({ code, problem, text, offset });
  };
  if (text.length > maximumReferenceLength) return fail("too-long", "it is too long", maximumReferenceLength);
  if (!text.startsWith(scheme)) return fail("bad-scheme", `it must begin with ${scheme}`, 0);
  const at = text.indexOf("@", scheme.length);
  const keyDigest = at < 0 ? undefined : decodeBase32(text.slice(scheme.length, at), 32);
  if (keyDigest === undefined) {
    return fail("bad-key", "the key must be 52 characters of lower-case base32 before an @", scheme.length);
  }
  const slash = text.indexOf("/", at);
  if (slash < 0) return fail("bad-realm", "a slash and the realm must follow the hints", text.length);
  const realm = decode(text.slice(slash + 1));
  if (realm === undefined) return fail("bad-encoding", "the realm is not percent-encoded UTF-8", slash + 1);
  if (realm.length > maximumRealmLength || hasControl(realm))
    return fail("bad-realm", "the realm is not one", slash + 1);
  const hints: string[] = [];
  const list = text.slice(at + 1, slash);
  let offset = at + 1;
  for (const part of list === "" ? [] : list.split(",", maximumHintCount + 1)) {
    const hint = decode(part);
    if (hint === undefined) return fail("bad-encoding", "a hint is not percent-encoded UTF-8", offset);
    if (hints.length === maximumHintCount) return fail("too-many-hints", "it has more than 16 hints", offset);
    if (hint === "" || hint.length > maximumHintLength || hasControl(hint))
      return fail("bad-hint", "a hint is not one", offset);
    hints.push(hint);
    offset += part.length + 1;
  }
  return { keyDigest, hints, realm };
}

/** True if two references mean the same peer and realm, whatever hints they carry. */
export function sameIdentity(left: Reference, right: Reference): boolean {
  return left.realm === right.realm && timingSafeEqual(left.keyDigest, right.keyDigest);
}

/** Percent-encodes everything but RFC 3986's unreserved characters and those of `keep`. */
function encode(text: string, keep: string): string {
  return encodeURIComponent(text).replaceAll(/%[0-9A-F]{2}|[!'()*]/gu, (sequence) => {
    const character = sequence.length === 3 ? String.fromCharCode(Number.parseInt(sequence.slice(1), 16)) : sequence;
    if (keep.includes(character)) return character;
    return sequence.length === 3 ? sequence : `%${sequence.charCodeAt(0).toString(16).toUpperCase()}`;
  });
}

function decode(text: string): string | undefined {
  for (const character of text) if (!/[A-Za-z0-9\-._~:[\]%!$&'()*+;=]/u.test(character)) return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function hasControl(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
  }
  return false;
}
