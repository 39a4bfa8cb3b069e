import type { StunCrypto } from "@turnpike/stun";
import type { Clock, Scheduler } from "../core/clock.ts";
import type { Details, Scheme, SchemeResult, TurnSchemeName } from "../core/scheme.ts";
import { Secret } from "../core/secret.ts";
import type { PasswordAlgorithm, TurnRequest } from "./request.ts";
import { normalizeUser } from "./user.ts";

/** What is known of a proven TURN credential. */
export interface TurnDetails extends Details {
  /** The user name as it was proven: with USERHASH the request doesn't have it. */
  readonly username: string;
  /** What the message's integrity was made with. */
  readonly key: Secret;
  /** True if no allocation may live longer than the credential (RFC 7635 §9). */
  readonly boundsLifetime?: boolean;
  /** Links credentials that are revoked together. */
  readonly label?: string;
}

/** What a TURN scheme says of a request. */
export type TurnSchemeResult = SchemeResult<TurnDetails>;

/** A scheme for TURN requests: it proposes keys, and the request proves one of them. */
export interface TurnScheme extends Scheme<TurnRequest, TurnDetails> {
  readonly name: TurnSchemeName;
  /** For which algorithms it has the key of every user: PASSWORD-ALGORITHMS offers what all schemes have. */
  readonly passwordAlgorithms: readonly PasswordAlgorithm[];
  /** Whether it finds the user of a USERHASH; the username-anonymity bit is offered if all schemes do. */
  readonly resolvesUserhash: boolean;
  /** What THIRD-PARTY-AUTHORIZATION says in a challenge (RFC 7635 §6.1): only `oauth` has it. */
  readonly thirdPartyAuthorization?: string;
}

/** What every scheme of an authenticator shares. */
export interface TurnEnvironment {
  readonly realm: string;
  readonly crypto: StunCrypto;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  /** A key that nobody has, of the length that `algorithm` makes. */
  decoyKey(algorithm: PasswordAlgorithm): Uint8Array;
}

/** Makes a scheme for one authenticator. */
export type TurnSchemeFactory = (environment: TurnEnvironment) => TurnScheme;

/** Both, in order of preference. */
export const PASSWORD_ALGORITHMS: readonly PasswordAlgorithm[] = ["sha256", "md5"];

/** A proven credential. */
export function proven(
  user: string,
  details: Omit<TurnDetails, "key"> & { readonly key: Uint8Array },
): TurnSchemeResult {
  const id = normalizeUser(user);
  const name = details.username === id ? {} : { name: details.username };
  return {
    kind: "authenticated",
    actor: { kind: "user", id, ...name, roles: [] },
    details: { ...details, key: new Secret(details.key) },
  };
}

/** Nothing that this scheme knows, though another may: the reason counts if none does. */
export function unproven(kind: "unknownActor" | "badCredentials", user: string | undefined): TurnSchemeResult {
  return { kind: "notRequested", unproven: { kind, ...attempted(user) } };
}

/** This scheme's own credential, and wrong. */
export function refused(
  kind: "unknownActor" | "badCredentials" | "expired",
  { user, note }: { readonly user?: string | undefined; readonly note?: string },
): TurnSchemeResult {
  return { kind: "failed", reason: { kind, ...attempted(user), ...(note === undefined ? {} : { note }) } };
}

function attempted(user: string | undefined): { readonly attemptedActor?: string } {
  return user === undefined ? {} : { attemptedActor: normalizeUser(user) };
}
