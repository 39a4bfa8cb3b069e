import { ambient } from "./ambient.ts";
import { base64, base64url, utf8, withoutPadding } from "./bytes.ts";
import type { TimeLimitedCredential } from "./ice-servers.ts";
import { type Hashed, type KeyedHash, type SyncKeyedHash, webCrypto, whenHashed } from "./keyed-hash.ts";
import { allHashed, expiryOf, judge, type MintTimes, secretList, type Verification } from "./shared-secret.ts";
import { formatTimeLimitedName, isPrintable, parseTimeLimitedName } from "./time-limited-name.ts";

/** The user name of a credential that a portal stamped for one relay: `<expiry>:<salt>`. */
export interface StampedName {
  /** When the credential ends: seconds since 1970. */
  readonly expiresAtUnixSeconds: number;
  /** All that follows the first colon. */
  readonly salt: string;
  /** What precedes the last dot of a salt `<userId>.<random>`. A salt without a dot names nobody. */
  readonly user?: string;
}

/**
 * Reads `<expiry>:<salt>`; `undefined` for any other name. It has the shape of the form `timestamp:user`: which of both
 * it is, only the password tells.
 */
export function parseStampedName(username: string): StampedName | undefined {
  const name = parseTimeLimitedName(username);
  if (name?.form !== "timestamp:user" || name.user === "") return undefined;
  const { expiresAtUnixSeconds, user: salt } = name;
  const dot = salt.lastIndexOf(".");
  return { expiresAtUnixSeconds, salt, ...(dot > 0 ? { user: salt.slice(0, dot) } : {}) };
}

/** One stamp. */
export interface StampPasswordOptions {
  readonly expiresAtUnixSeconds: number;
  readonly salt: string;
  /** The relay's own secret, as it told the portal: 64 hexadecimal digits, used as text. */
  readonly stampSecret: string;
  /** Default {@link webCrypto}. */
  readonly keyedHash?: KeyedHash | SyncKeyedHash;
}

/** The password of a stamp: base64 without padding of SHA-256(`<expiry>:<stampSecret>:<salt>`). */
export function stampPassword(options: StampPasswordOptions & { readonly keyedHash: SyncKeyedHash }): string;
export function stampPassword(options: StampPasswordOptions & { readonly keyedHash?: KeyedHash }): Promise<string>;
export function stampPassword(options: StampPasswordOptions): Hashed<string> {
  return passwordOf(options);
}

/** What {@link mintStamp} needs. */
export interface MintStampOptions extends MintTimes {
  /** Of the relay that is to accept it. */
  readonly stampSecret: string;
  /** Who it is for. Default: nobody, a random salt alone. */
  readonly user?: string;
  /** 12 to 32 random bytes. Default: 12 of the runtime's own. */
  readonly random?: Uint8Array;
  /** Default {@link webCrypto}. With a {@link SyncKeyedHash} the result is there at once. */
  readonly keyedHash?: KeyedHash | SyncKeyedHash;
}

/**
 * Mints a credential for one relay as its portal does: the salt is `<user>.<random>`, so that a user with five
 * credentials is still one user, whose quotas cover all five.
 *
 * @throws RangeError if a TTL is not a whole number of seconds from 1 on, the randomness is too short or too long, or
 *   the name would be.
 * @throws TypeError if the secret or the user is empty, or the user has control characters.
 */
export function mintStamp(options: MintStampOptions & { readonly keyedHash: SyncKeyedHash }): TimeLimitedCredential;
export function mintStamp(
  options: MintStampOptions & { readonly keyedHash?: KeyedHash },
): Promise<TimeLimitedCredential>;
export function mintStamp(options: MintStampOptions): Hashed<TimeLimitedCredential> {
  const { user, stampSecret, random = ambientRandom() } = options;
  const { ttlSeconds, expiresAtUnixSeconds } = expiryOf(options);
  if (random.length < 12 || random.length > 32) {
    throw new RangeError("Cannot stamp a credential: random must be 12 to 32 bytes");
  }
  if (user === "" || (user !== undefined && !isPrintable(user))) {
    throw new TypeError("Cannot stamp a credential: the user is empty, or has control characters or lone surrogates");
  }
  const salt = user === undefined ? base64url(random) : `${user}.${base64url(random)}`;
  const username = formatTimeLimitedName({ form: "timestamp:user", expiresAtUnixSeconds, user: salt });
  return whenHashed(passwordOf({ ...options, expiresAtUnixSeconds, salt, stampSecret }), (credential) => ({
    username,
    credential,
    expiresAtUnixSeconds,
    ttlSeconds,
  }));
}

/** What {@link verifyStamp} needs. */
export interface VerifyStampOptions {
  readonly username: string;
  readonly credential: string;
  /** Any of them may have stamped. */
  readonly stampSecrets: string | readonly string[];
  /** Refuse a credential that has more than this left. Default: no limit. */
  readonly maxTtlSeconds?: number;
  /** Milliseconds since 1970. Default: the clock of the runtime. */
  readonly nowUnixMs?: number;
  /** Default {@link webCrypto}. */
  readonly keyedHash?: KeyedHash | SyncKeyedHash;
}

/**
 * Verifies a stamp, as `verifyTimeLimited` does for shared secrets.
 *
 * @throws TypeError if there is no secret; RangeError if `maxTtlSeconds` is not a positive number.
 */
export function verifyStamp(
  options: VerifyStampOptions & { readonly keyedHash: SyncKeyedHash },
): Verification<StampedName>;
export function verifyStamp(
  options: VerifyStampOptions & { readonly keyedHash?: KeyedHash },
): Promise<Verification<StampedName>>;
export function verifyStamp(options: VerifyStampOptions): Hashed<Verification<StampedName>> {
  const name = parseStampedName(options.username);
  const { expiresAtUnixSeconds, salt } = name ?? { expiresAtUnixSeconds: 0, salt: "" };
  const passwords = secretList(options.stampSecrets).map((secret) =>
    passwordOf({ ...options, expiresAtUnixSeconds, salt, stampSecret: String(secret) }),
  );
  return whenHashed(allHashed(passwords), (expected) => {
    if (name === undefined) return { ok: false, reason: "badFormat" };
    return judge({ expected, credential: options.credential, name, times: options });
  });
}

function passwordOf(options: StampPasswordOptions): Hashed<string> {
  const { expiresAtUnixSeconds, salt, stampSecret, keyedHash = webCrypto } = options;
  if (stampSecret === "") throw new TypeError("Cannot stamp a credential: the stamp secret is empty");
  const stamped = utf8(`${String(expiresAtUnixSeconds)}:${stampSecret}:${salt}`);
  return whenHashed<Uint8Array, string>(keyedHash.digest("sha256", stamped), (digest) =>
    withoutPadding(base64(digest)),
  );
}

function ambientRandom(): Uint8Array {
  const random = new Uint8Array(12);
  ambient.crypto.getRandomValues(random);
  return random;
}
