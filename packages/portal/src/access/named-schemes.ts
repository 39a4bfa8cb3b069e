import type { KeyObject } from "node:crypto";
import {
  BearerScheme,
  type Clock,
  type ExternalActor,
  HttpSignatureScheme,
  type OperationContext,
  type SignatureAlgorithm,
} from "@turnpike/authn";
import { findActor } from "../store/actors.ts";
import type { Store } from "../store/store.ts";

/** An OpenID Connect provider whose JWT access tokens are taken for users of the portal. */
export interface PortalIssuer {
  /** As `iss` says it, to the letter; https, or http on loopback. */
  readonly issuer: string;
  /** One of these must stand in `aud`. */
  readonly audience: readonly string[];
  /** Where its keys are. Default: found by OpenID Connect Discovery. */
  readonly jwksUri?: string;
  /** The claim that holds the id of the portal's user, whose roles count. Default `sub`. */
  readonly userClaim?: string;
}

/** A key that requests are signed with (RFC 9421) on behalf of a user of the portal. */
export interface PortalSignatureKey {
  /** As `keyid` names it. */
  readonly id: string;
  /** Whose requests these are. */
  readonly user: string;
  readonly algorithm: SignatureAlgorithm;
  /** The Ed25519 public key, or the shared secret. */
  readonly key: KeyObject;
}

/** What the schemes below look users up in. */
interface Parts {
  readonly store: Store;
  readonly clock: Clock;
}

/**
 * The scheme `bearer`: a token speaks for the portal's user whom its claim names. Who isn't a user here is refused, whatever
 * the issuer says.
 *
 * @throws TypeError if there is no issuer, one is named twice, or a URL is neither https nor on loopback
 */
export function bearerOf(issuers: readonly PortalIssuer[], { store, clock }: Parts): BearerScheme {
  return new BearerScheme({
    clock,
    issuers: issuers.map(({ userClaim = "sub", ...issuer }) => ({
      ...issuer,
      actorOf: (ctx, claims) => {
        // Some providers let people write any address into their own profile.
        if (userClaim === "email" && claims["email_verified"] !== true) return undefined;
        const id = claims[userClaim];
        return typeof id === "string" ? userOf(ctx, store, id) : undefined;
      },
    })),
  });
}

/** The scheme `http-signature`: a key speaks for one user. @throws TypeError if there is no key, or two have one id */
export function signaturesOf(keys: readonly PortalSignatureKey[], { store, clock }: Parts): HttpSignatureScheme {
  if (keys.length === 0) throw new TypeError('Cannot configure the scheme "http-signature" without a key');
  const byId = new Map(keys.map((key) => [key.id, key]));
  if (byId.size !== keys.length)
    throw new TypeError('Cannot configure the scheme "http-signature": two keys have one id');
  return new HttpSignatureScheme({
    clock,
    async findKey(ctx, keyId) {
      const found = byId.get(keyId);
      const actor = found && (await userOf(ctx, store, found.user));
      return found && actor && { algorithm: found.algorithm, key: found.key, actor };
    },
  });
}

function userOf(ctx: OperationContext, store: Store, id: string): Promise<ExternalActor | undefined> {
  return findActor(store.reader(ctx), { kind: "user", id });
}
