import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** Bytes of randomness in a token: nobody guesses 256 bits, so an unsalted digest at rest is enough. */
const TOKEN_BYTES = 32;

/** What such a token looks like: 43 characters of base64url. */
export const TOKEN_FORM: RegExp = /^[A-Za-z0-9_-]{43}$/;

/** Makes bytes that nobody can foretell. An input, so that tests know them. */
export type RandomBytes = (length: number) => Uint8Array;

/** A fresh token. */
export function createToken(random: RandomBytes = randomBytes): string {
  return Buffer.from(random(TOKEN_BYTES)).toString("base64url");
}

/** A fresh public name of 96 bits. */
export function createId(random: RandomBytes = randomBytes): string {
  return Buffer.from(random(12)).toString("base64url");
}

/** How a token stands at rest: SHA-256, base64url. */
export function digestToken(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}

/**
 * Equality in a time that tells nothing of the contents. A store looks a digest up by its index, whose time depends on
 * the digest; that tells an attacker nothing, who can't choose digests.
 */
export function equalConstantTime(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
