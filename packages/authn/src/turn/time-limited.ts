import {
  type KeyedHashAlgorithm,
  parseStampedName,
  parseTimeLimitedName,
  stampPassword,
  timeLimitedPassword,
} from "@turnpike/credentials";
import { longTermKey } from "@turnpike/stun";
import type { TurnSchemeName } from "../core/scheme.ts";
import type { Secret } from "../core/secret.ts";
import type { TurnRequest } from "./request.ts";
import {
  PASSWORD_ALGORITHMS,
  proven,
  refused,
  type TurnEnvironment,
  type TurnScheme,
  type TurnSchemeFactory,
  type TurnSchemeResult,
  unproven,
} from "./scheme.ts";

/** Secrets, or where to look them up at each request: those that a portal sends come and go. */
export type Secrets = readonly (string | Secret)[] | (() => readonly (string | Secret)[]);

/** What {@link sharedSecrets} needs. */
export interface SharedSecretsOptions {
  /** Any of them may have minted. */
  readonly secrets: Secrets;
  /** The keyed hash of the minters. Default `sha1`. */
  readonly algorithm?: KeyedHashAlgorithm;
  /** Refuse credentials that have more than this left. Default: no limit. */
  readonly maxTtlSeconds?: number;
}

/** What {@link portalStamps} needs. */
export interface PortalStampsOptions {
  /** The relay's own, and perhaps its predecessor: what it tells its portal. */
  readonly stampSecrets: Secrets;
  /** Refuse credentials that have more than this left. Default: no limit. */
  readonly maxTtlSeconds?: number;
}

/**
 * The scheme `shared-secret`: time-limited names in the forms `timestamp:user`, `user:timestamp` and `timestamp`. The
 * actor is the user without its timestamp; a name without a user is an actor of its own.
 *
 * The shape of such a name belongs to nobody alone (a portal's stamp has it, a static user may): where no secret
 * verifies, the answer is `notRequested`. Whether a credential has ended is looked at only after it was proven.
 *
 * The factory throws TypeError for a fixed list of secrets that is empty or has an empty one.
 */
export function sharedSecrets(options: SharedSecretsOptions): TurnSchemeFactory {
  const { algorithm = "sha1" } = options;
  return (environment) => {
    const keyedHash = environment.crypto;
    return timeLimitedScheme("shared-secret", environment, {
      secrets: options.secrets,
      maxTtlSeconds: options.maxTtlSeconds,
      parse(username) {
        const name = parseTimeLimitedName(username);
        if (name === undefined) return undefined;
        const user = name.form === "timestamp" || name.user === "" ? username : name.user;
        return { expiresAtUnixSeconds: name.expiresAtUnixSeconds, user };
      },
      passwordOf: (username, secret) => timeLimitedPassword({ username, secret, algorithm, keyedHash }),
    });
  };
}

/**
 * The scheme `portal`: credentials that a portal stamped for this relay, `<expiry>:<user>.<random>`. The actor is the
 * user; a salt without one is an actor of its own. For the rest it is as {@link sharedSecrets}.
 *
 * The factory throws TypeError for a fixed list of secrets that is empty or has an empty one.
 */
export function portalStamps(options: PortalStampsOptions): TurnSchemeFactory {
  return (environment) => {
    const keyedHash = environment.crypto;
    return timeLimitedScheme("portal", environment, {
      secrets: options.stampSecrets,
      maxTtlSeconds: options.maxTtlSeconds,
      parse(username) {
        const name = parseStampedName(username);
        return name && { ...name, user: name.user ?? name.salt };
      },
      passwordOf(_username, stampSecret, { expiresAtUnixSeconds, salt = "" }) {
        return stampPassword({ expiresAtUnixSeconds, salt, stampSecret, keyedHash });
      },
    });
  };
}

interface ParsedName {
  readonly expiresAtUnixSeconds: number;
  readonly user: string;
  readonly salt?: string;
}

interface Kind {
  readonly secrets: Secrets;
  readonly maxTtlSeconds: number | undefined;
  parse(username: string): ParsedName | undefined;
  passwordOf(username: string, secret: string, name: ParsedName): string;
}

function timeLimitedScheme(name: TurnSchemeName, environment: TurnEnvironment, kind: Kind): TurnScheme {
  const { secrets, maxTtlSeconds = Infinity } = kind;
  if (!(maxTtlSeconds > 0)) {
    throw new RangeError(`Cannot configure the scheme "${name}": maxTtlSeconds must be a positive number`);
  }
  if (typeof secrets !== "function" && secrets.length === 0) {
    throw new TypeError(`Cannot configure the scheme "${name}": it has no secret`);
  }
  const list = typeof secrets === "function" ? secrets : () => secrets;
  if (typeof secrets !== "function") revealAll(name, secrets);
  return {
    name,
    passwordAlgorithms: PASSWORD_ALGORITHMS,
    // The timestamp is in the hash: nobody can list them all.
    resolvesUserhash: false,
    authenticate(_ctx, request) {
      const { username } = request;
      if (username === undefined) return { kind: "notRequested" };
      const parsed = kind.parse(username);
      if (parsed === undefined) return unproven("unknownActor", username);
      const passwords = revealAll(name, list()).map((secret) => kind.passwordOf(username, secret, parsed));
      const key = firstKey(request, { username, passwords, environment });
      if (key === undefined) return unproven("badCredentials", parsed.user);
      return judge(request, { username, parsed, key, maxTtlSeconds });
    },
  };
}

/** The key of the password that the message was made with. */
function firstKey(
  request: TurnRequest,
  options: {
    readonly username: string;
    readonly passwords: readonly string[];
    readonly environment: TurnEnvironment;
  },
): Uint8Array | undefined {
  const { username, environment } = options;
  const { realm, crypto } = environment;
  for (const password of options.passwords) {
    const key = longTermKey({ algorithm: request.passwordAlgorithm, username, realm, password, crypto });
    if (request.checkIntegrity(key)) return key;
  }
  return undefined;
}

function judge(
  request: TurnRequest,
  credential: {
    readonly username: string;
    readonly parsed: ParsedName;
    readonly key: Uint8Array;
    readonly maxTtlSeconds: number;
  },
): TurnSchemeResult {
  const { username, parsed, key, maxTtlSeconds } = credential;
  const expiresAtUnixMs = parsed.expiresAtUnixSeconds * 1000;
  const leftMs = expiresAtUnixMs - request.unixMs;
  if (!(leftMs > 0)) return refused("expired", { user: parsed.user });
  if (leftMs > maxTtlSeconds * 1000) {
    return refused("badCredentials", { user: parsed.user, note: "lasts longer than maxTtlSeconds" });
  }
  return proven(parsed.user, { username, key, expiresAtUnixMs, credentialId: username });
}

function revealAll(name: TurnSchemeName, secrets: readonly (string | Secret)[]): readonly string[] {
  return secrets.map((secret) => {
    const text = typeof secret === "string" ? secret : secret.reveal();
    if (text === "") throw new TypeError(`Cannot use the secrets of the scheme "${name}": one of them is empty`);
    return text;
  });
}
