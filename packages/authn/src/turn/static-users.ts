import { longTermKey, opaqueString, userhashOf } from "@turnpike/stun";
import type { Secret } from "../core/secret.ts";
import type { PasswordAlgorithm, TurnRequest } from "./request.ts";
import {
  PASSWORD_ALGORITHMS,
  proven,
  type TurnEnvironment,
  type TurnScheme,
  type TurnSchemeFactory,
  type TurnSchemeResult,
  unproven,
} from "./scheme.ts";

/** A user of the configuration. */
export interface StaticUser {
  readonly name: string;
  /** From it the keys of both algorithms are made. Give this or `key`. */
  readonly password?: string | Secret;
  /**
   * A stored key in hexadecimal: 32 digits are the MD5 key, 64 the SHA-256 key of `name:realm:password`. A user may be
   * listed twice, once with either.
   */
  readonly key?: string | Secret;
}

/** What {@link staticUsers} needs. */
export interface StaticUsersOptions {
  readonly users: readonly StaticUser[];
}

interface Entry {
  readonly name: string;
  readonly keys: Partial<Record<PasswordAlgorithm, Uint8Array>>;
}

/**
 * The scheme `static`: users with passwords or stored keys. The keys are made once, when the authenticator is; a request
 * costs one integrity check, whether its user exists or not.
 *
 * The factory throws TypeError for a name or password that is no OpaqueString, a malformed key, a user without or with
 * both of password and key, a user who is listed twice, and stored keys of which no algorithm has all.
 */
export function staticUsers(options: StaticUsersOptions): TurnSchemeFactory {
  return (environment) => {
    const { realm, crypto } = environment;
    const byName = new Map<string, Entry>();
    for (const user of options.users) addUser(byName, user, environment);
    const byUserhash = new Map<string, Entry>();
    for (const entry of byName.values()) {
      byUserhash.set(hex(userhashOf({ username: entry.name, realm, crypto })), entry);
    }
    const find = (request: TurnRequest): Entry | undefined =>
      request.username === undefined
        ? byUserhash.get(request.userhash === undefined ? "" : hex(request.userhash))
        : byName.get(request.username);

    return {
      name: "static",
      passwordAlgorithms: commonAlgorithms(byName),
      resolvesUserhash: true,
      authenticate: (_ctx, request) => decide(request, find(request), environment),
    } satisfies TurnScheme;
  };
}

function decide(request: TurnRequest, entry: Entry | undefined, environment: TurnEnvironment): TurnSchemeResult {
  const { passwordAlgorithm } = request;
  const key = entry?.keys[passwordAlgorithm];
  // Who doesn't exist costs as much as who does.
  const right = request.checkIntegrity(key ?? environment.decoyKey(passwordAlgorithm));
  // Made for the known as well, so that both take the same time.
  const shown = request.username ?? hashName(request.userhash);
  if (entry === undefined) return unproven("unknownActor", shown);
  if (key === undefined || !right) return unproven("badCredentials", entry.name);
  return proven(entry.name, { username: entry.name, key, credentialId: entry.name });
}

function addUser(byName: Map<string, Entry>, user: StaticUser, environment: TurnEnvironment): void {
  const name = opaqueString(user.name);
  if (name === undefined || Buffer.byteLength(name) > MAX_USERNAME_BYTES) {
    throw new TypeError(
      `Cannot use ${JSON.stringify(user.name.slice(0, 80))} as a user: a name is 1 to 508 bytes without control characters (RFC 8265 §4)`,
    );
  }
  const keys = keysOf(name, user, environment);
  const known = byName.get(name);
  const twice = known !== undefined && PASSWORD_ALGORITHMS.some((one) => known.keys[one] && keys[one]);
  if (twice) throw new TypeError(`Cannot use user ${JSON.stringify(name)}: it is listed twice`);
  byName.set(name, { name, keys: { ...known?.keys, ...keys } });
}

function keysOf(username: string, user: StaticUser, { realm, crypto }: TurnEnvironment): Entry["keys"] {
  const who = `user ${JSON.stringify(username)}`;
  if ((user.password === undefined) === (user.key === undefined)) {
    throw new TypeError(`Cannot use ${who}: it needs either a password or a key`);
  }
  if (user.password !== undefined) {
    const password = reveal(user.password);
    if (opaqueString(password) === undefined) {
      throw new TypeError(`Cannot use ${who}: its password is empty or has control characters (RFC 8265 §4)`);
    }
    const keyOf = (algorithm: PasswordAlgorithm) => longTermKey({ algorithm, username, realm, password, crypto });
    return { md5: keyOf("md5"), sha256: keyOf("sha256") };
  }
  const digits = reveal(user.key ?? "");
  if (/^[0-9a-f]{32}$/iu.test(digits)) return { md5: Buffer.from(digits, "hex") };
  if (/^[0-9a-f]{64}$/iu.test(digits)) return { sha256: Buffer.from(digits, "hex") };
  throw new TypeError(`Cannot use ${who}: its key must be 32 (MD5) or 64 (SHA-256) hexadecimal digits`);
}

function commonAlgorithms(byName: ReadonlyMap<string, Entry>): readonly PasswordAlgorithm[] {
  const entries = [...byName.values()];
  const common = PASSWORD_ALGORITHMS.filter((algorithm) => entries.every(({ keys }) => keys[algorithm] !== undefined));
  if (common.length > 0) return common;
  const without = (algorithm: PasswordAlgorithm): string =>
    JSON.stringify(entries.find(({ keys }) => keys[algorithm] === undefined)?.name);
  throw new TypeError(
    `Cannot use these static users: ${without("sha256")} has no SHA-256 key and ${without("md5")} no MD5 key, so that no ` +
      "password algorithm serves both; give every user a password, or keys of one kind",
  );
}

function reveal(secret: string | Secret): string {
  return typeof secret === "string" ? secret : secret.reveal();
}

/** Eight digits of a USERHASH: enough for a log line. */
function hashName(userhash: Uint8Array | undefined): string {
  return `#${hex(userhash?.subarray(0, 4) ?? new Uint8Array())}`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** USERNAME is shorter than 509 bytes (RFC 8489 §14.3). */
const MAX_USERNAME_BYTES = 508;
