import type { TransportAddress } from "@turnpike/stun";
import type { ClientTransport } from "./contract.ts";

/** The TURN requests that are authenticated. */
export type AuthenticatedMethod =
  | "allocate"
  | "refresh"
  | "createPermission"
  | "channelBind"
  | "connect"
  | "connectionBind";

/**
 * A request that carries MESSAGE-INTEGRITY and a valid nonce, as an authentication scheme sees it. A scheme proposes
 * keys and lets the request prove them: the engine alone knows the message.
 */
export interface AuthenticationRequest {
  readonly method: AuthenticatedMethod;
  /** USERNAME, already checked to be an OpaqueString (RFC 8265 §4). Absent if USERHASH was sent. */
  readonly username?: string;
  /** USERHASH: SHA-256 of `username:realm` (RFC 8489 §14.4), 32 bytes. */
  readonly userhash?: Uint8Array;
  readonly realm: string;
  /** ACCESS-TOKEN (RFC 7635 §6.2), as received. */
  readonly accessToken?: Uint8Array;
  /** How a key is made from a password: the PASSWORD-ALGORITHM of the request (MD5 if it named none). */
  readonly passwordAlgorithm: "md5" | "sha256";
  /** The 12 bytes that name the transaction on its five-tuple: a retransmission has the same. */
  readonly transactionId: Uint8Array;
  readonly client: TransportAddress;
  readonly transport: ClientTransport;
  /** Wall-clock milliseconds since 1970, for expiry. */
  readonly unixMs: number;
  /** Give it back in the `authentication` answer, if the decision is `pending`. */
  readonly questionId: number;
  /** Whether the message's integrity attribute was made with `key`. Constant-time. */
  checkIntegrity(key: Uint8Array): boolean;
}

/** What an authenticator says of a request. */
export type AuthenticationDecision =
  | {
      readonly kind: "authenticated";
      /** The user name as it was proven (without it USERHASH requests could not be logged). */
      readonly username: string;
      /** Who that is: quotas and events know the actor, not the user name with its timestamp. */
      readonly actor: string;
      /** Which scheme decided. */
      readonly scheme: string;
      /** The key that `checkIntegrity` accepted: it answers the request and stays with the allocation. */
      readonly key: Uint8Array;
      /** When the credential ends, in wall-clock milliseconds. */
      readonly expiresAtUnixMs?: number;
      /** True if no lifetime may exceed the credential's, as RFC 7635 §9 demands of access tokens. Default false. */
      readonly boundsLifetime?: boolean;
      /** Names the credential for revocation and the audit log. Never a secret. */
      readonly credentialId?: string;
      /** Links credentials that are revoked together. */
      readonly label?: string;
    }
  | {
      /** `unknownActor` and `badCredentials` get the same 401; `badFormat` a 400; `unavailable` a 500. */
      readonly kind: "failed";
      readonly reason: "unknownActor" | "badCredentials" | "expired" | "badFormat" | "unavailable";
      /** The attempted actor, for logs and events only. */
      readonly actor?: string;
      readonly scheme?: string;
    }
  /** No configured scheme knows such credentials: 401. */
  | { readonly kind: "notRequested" }
  /** No answer at all, and no event: for those who are banned, and for who asks too much. */
  | { readonly kind: "discarded" }
  /** The answer comes later, as an {@link Answer} of kind `authentication`. */
  | { readonly kind: "pending" };
