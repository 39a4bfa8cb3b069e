import { ambient } from "./ambient.ts";
import { base64, equalInConstantTime, utf8 } from "./bytes.ts";
import type { TimeLimitedCredential } from "./ice-servers.ts";
import {
  type Hashed,
  type KeyedHash,
  type KeyedHashAlgorithm,
  type SyncKeyedHash,
  webCrypto,
  whenHashed,
} from "./keyed-hash.ts";
import {
  formatTimeLimitedName,
  parseTimeLimitedName,
  type TimeLimitedForm,
  type TimeLimitedName,
} from "./time-limited-name.ts";

/** What minter and relay share: text is used as its UTF-8 bytes. */
export type Secret = string | Uint8Array;

/** How long a credential lasts if the caller does not say: a day, as the TURN REST draft recommends. */
export const DEFAULT_TTL_SECONDS = 86_400;

/** How long a credential can last unless {@link MintTimes.maxTtlSeconds} says otherwise: a week. */
export const DEFAULT_MAX_TTL_SECONDS = 604_800;

/** How long a credential lasts. */
export interface MintTimes {
  /** Seconds, at least 1. Default 86,400. More than `maxTtlSeconds` is clamped to that. */
  readonly ttlSeconds?: number;
  /** Seconds. Default 604,800. */
  readonly maxTtlSeconds?: number;
  /** Milliseconds since 1970. Default: the clock of the runtime. */
  readonly nowUnixMs?: number;
}

/** What {@link mintTimeLimited} needs. */
export interface MintOptions extends MintTimes {
  /** The first mints. (All verify: to rotate, put the new one first and drop the old one after the longest TTL.) */
  readonly secrets: Secret | readonly Secret[];
  /** Who it is for: what a relay's quotas and events know. Default: nobody, a bare timestamp. */
  readonly user?: string;
  /** Default: `timestamp:user`, or `timestamp` without a user. */
  readonly form?: TimeLimitedForm;
  /** Default `sha1`, which every TURN server understands. */
  readonly algorithm?: KeyedHashAlgorithm;
  /** Default {@link webCrypto}. With a {@link SyncKeyedHash} the result is there at once. */
  readonly keyedHash?: KeyedHash | SyncKeyedHash;
}

/**
 * Mints a time-limited credential: `username` says when it ends, `credential` is base64(HMAC(secret, username)).
 *
 * @example
 * ```ts
 * import { mintTimeLimited, toIceServers } from "@turnpike/credentials";
 * const credential = await mintTimeLimited({ secrets: "north", user: "alice", ttlSeconds: 3600 });
 * const iceServers = toIceServers({ urls: ["turn:relay.example"], credential });
 * ```
 * @throws RangeError if a TTL is not a whole number of seconds from 1 on, or the name would be too long.
 * @throws TypeError if there is no secret, or the user cannot be written in that form.
 */
export function mintTimeLimited(options: MintOptions & { readonly keyedHash: SyncKeyedHash }): TimeLimitedCredential;
export function mintTimeLimited(
  options: MintOptions & { readonly keyedHash?: KeyedHash },
): Promise<TimeLimitedCredential>;
export function mintTimeLimited(options: MintOptions): Hashed<TimeLimitedCredential> {
  const { user, form = user === undefined ? "timestamp" : "timestamp:user" } = options;
  const { ttlSeconds, expiresAtUnixSeconds } = expiryOf(options);
  if ((form === "timestamp") !== (user === undefined)) {
    throw new TypeError(
      `Cannot mint a credential: the form "${form}" ${user === undefined ? "needs a" : "has no"} user`,
    );
  }
  const username = formatTimeLimitedName(
    form === "timestamp" ? { form, expiresAtUnixSeconds } : { form, expiresAtUnixSeconds, user: user ?? "" },
  );
  const [secret] = secretList(options.secrets);
  return whenHashed(passwordOf({ ...options, username, secret }), (credential) => ({
    username,
    credential,
    expiresAtUnixSeconds,
    ttlSeconds,
  }));
}

/** One user name and one secret. */
export interface TimeLimitedPasswordOptions {
  readonly username: string;
  readonly secret: Secret;
  /** Default `sha1`. */
  readonly algorithm?: KeyedHashAlgorithm;
  /** Default {@link webCrypto}. */
  readonly keyedHash?: KeyedHash | SyncKeyedHash;
}

/** The password that belongs to a time-limited user name: base64(HMAC(secret, username)), with padding. */
export function timeLimitedPassword(
  options: TimeLimitedPasswordOptions & { readonly keyedHash: SyncKeyedHash },
): string;
export function timeLimitedPassword(
  options: TimeLimitedPasswordOptions & { readonly keyedHash?: KeyedHash },
): Promise<string>;
export function timeLimitedPassword(options: TimeLimitedPasswordOptions): Hashed<string> {
  return passwordOf(options);
}

/** What {@link verifyTimeLimited} needs. */
export interface VerifyOptions {
  readonly username: string;
  readonly credential: string;
  /** Any of them may have minted. */
  readonly secrets: Secret | readonly Secret[];
  /** Default `sha1`. */
  readonly algorithm?: KeyedHashAlgorithm;
  /** Refuse a credential that has more than this left, whoever minted it. Default: no limit. */
  readonly maxTtlSeconds?: number;
  /** Milliseconds since 1970. Default: the clock of the runtime. */
  readonly nowUnixMs?: number;
  /** Default {@link webCrypto}. */
  readonly keyedHash?: KeyedHash | SyncKeyedHash;
}

/** What became of it. `badFormat`: the name is not time-limited; `tooLong`: more left than `maxTtlSeconds`. */
export type Verification<Name> =
  | { readonly ok: true; readonly name: Name; /** Which of `secrets` minted it. */ readonly secretIndex: number }
  | { readonly ok: false; readonly reason: "badFormat" | "badCredentials" }
  | { readonly ok: false; readonly reason: "expired" | "tooLong"; readonly name: Name };

/**
 * Verifies a time-limited credential in all three forms. The comparison takes the same time for every wrong password,
 * and the time is looked at only after the password was right.
 *
 * @throws TypeError if there is no secret; RangeError if `maxTtlSeconds` is not a positive number.
 */
export function verifyTimeLimited(
  options: VerifyOptions & { readonly keyedHash: SyncKeyedHash },
): Verification<TimeLimitedName>;
export function verifyTimeLimited(
  options: VerifyOptions & { readonly keyedHash?: KeyedHash },
): Promise<Verification<TimeLimitedName>>;
export function verifyTimeLimited(options: VerifyOptions): Hashed<Verification<TimeLimitedName>> {
  const passwords = secretList(options.secrets).map((secret) => passwordOf({ ...options, secret }));
  return whenHashed(allHashed(passwords), (expected) => {
    const name = parseTimeLimitedName(options.username);
    if (name === undefined) return { ok: false, reason: "badFormat" };
    return judge({ expected, credential: options.credential, name, times: options });
  });
}

/** Compares with every candidate, then looks at the clock. */
export function judge<Name extends { readonly expiresAtUnixSeconds: number }>(options: {
  readonly expected: readonly string[];
  readonly credential: string;
  readonly name: Name;
  readonly times: { readonly maxTtlSeconds?: number; readonly nowUnixMs?: number };
}): Verification<Name> {
  const { name, times } = options;
  const { nowUnixMs = ambient.Date.now(), maxTtlSeconds = Infinity } = times;
  if (!(maxTtlSeconds > 0)) {
    throw new RangeError("Cannot verify a credential: maxTtlSeconds must be a positive number");
  }
  const presented = utf8(options.credential);
  const secretIndex = options.expected
    .map((candidate) => equalInConstantTime(presented, utf8(candidate)))
    .indexOf(true);
  if (secretIndex === -1) return { ok: false, reason: "badCredentials" };
  const leftMs = name.expiresAtUnixSeconds * 1000 - nowUnixMs;
  if (!(leftMs > 0)) return { ok: false, reason: "expired", name };
  if (leftMs > maxTtlSeconds * 1000) return { ok: false, reason: "tooLong", name };
  return { ok: true, name, secretIndex };
}

/** The clamped TTL and the second in which it ends. */
export function expiryOf(times: MintTimes): { readonly ttlSeconds: number; readonly expiresAtUnixSeconds: number } {
  const { ttlSeconds = DEFAULT_TTL_SECONDS, maxTtlSeconds = DEFAULT_MAX_TTL_SECONDS } = times;
  for (const [name, value] of Object.entries({ ttlSeconds, maxTtlSeconds })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`Cannot mint a credential: ${name} must be a whole number of seconds, at least 1`);
    }
  }
  const clamped = Math.min(ttlSeconds, maxTtlSeconds);
  const nowSeconds = Math.floor((times.nowUnixMs ?? ambient.Date.now()) / 1000);
  return { ttlSeconds: clamped, expiresAtUnixSeconds: nowSeconds + clamped };
}

/** One or several, never none and none empty. */
export function secretList(secrets: Secret | readonly Secret[]): readonly [Secret, ...Secret[]] {
  const list = typeof secrets === "string" || secrets instanceof Uint8Array ? [secrets] : secrets;
  const [first, ...others] = list;
  if (first === undefined || list.some((secret) => secret.length === 0)) {
    throw new TypeError("Cannot use the shared secrets: there is none, or an empty one");
  }
  return [first, ...others];
}

function passwordOf(options: TimeLimitedPasswordOptions): Hashed<string> {
  const { username, secret, algorithm = "sha1", keyedHash = webCrypto } = options;
  const key = typeof secret === "string" ? utf8(secret) : secret;
  return whenHashed<Uint8Array, string>(keyedHash.hmac(algorithm, key, [utf8(username)]), base64);
}

/** All of them, at once if they are all there. */
export function allHashed<Value>(values: readonly Hashed<Value>[]): Hashed<readonly Value[]> {
  const ready: Value[] = [];
  for (const value of values) {
    if (value instanceof Promise) return Promise.all(values);
    ready.push(value);
  }
  return ready;
}
