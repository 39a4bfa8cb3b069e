import type { TransportAddress } from "@turnpike/stun";

/** How a key is made from a password (RFC 8489 §18.5.1). */
export type PasswordAlgorithm = "md5" | "sha256";

/**
 * A TURN request that carries an integrity attribute and a valid nonce. The engine's `AuthenticationRequest` is one: a
 * test holds both shapes together, since neither room imports the other.
 */
export interface TurnRequest {
  readonly method: "allocate" | "refresh" | "createPermission" | "channelBind" | "connect" | "connectionBind";
  /** USERNAME, already checked to be an OpaqueString (RFC 8265 §4). Absent if USERHASH was sent. */
  readonly username?: string;
  /** USERHASH: SHA-256 of `username:realm` (RFC 8489 §14.4), 32 bytes. */
  readonly userhash?: Uint8Array;
  readonly realm: string;
  /** ACCESS-TOKEN (RFC 7635 §6.2), as received. */
  readonly accessToken?: Uint8Array;
  /** How a key is made from a password: the PASSWORD-ALGORITHM of the request (MD5 if it named none). */
  readonly passwordAlgorithm: PasswordAlgorithm;
  /** The 12 bytes that name the transaction on its five-tuple: a retransmission has the same. */
  readonly transactionId: Uint8Array;
  readonly client: TransportAddress;
  readonly transport: "udp" | "tcp" | "tls" | "dtls" | "ws" | "wss";
  /** Wall-clock milliseconds since 1970, for expiry. */
  readonly unixMs: number;
  /** Names the question, if the decision is `pending`. */
  readonly questionId: number;
  /**
   * Whether the message's integrity attribute was made with `key`. Constant-time. A pending decision calls it later, so
   * it must not look at a buffer that is used again.
   */
  checkIntegrity(key: Uint8Array): boolean;
}

/** What is decided of a request: the engine's `AuthenticationDecision` but for `discarded`, which penalties add. */
export type TurnDecision =
  | {
      readonly kind: "authenticated";
      /** The user name as it was proven. */
      readonly username: string;
      /** Who that is, by {@link normalizeUser}: quotas, events and revocations know the user by it. */
      readonly actor: string;
      /** Which scheme decided. */
      readonly scheme: string;
      /** The key that `checkIntegrity` accepted. */
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
      /** `unknownActor`, `badCredentials` and `expired` get the same 401; `badFormat` a 400; `unavailable` a 500. */
      readonly kind: "failed";
      readonly reason: "unknownActor" | "badCredentials" | "expired" | "badFormat" | "unavailable";
      /** The attempted actor, for logs and events only. */
      readonly actor?: string;
      readonly scheme?: string;
    }
  /** No configured scheme knows such credentials: 401. */
  | { readonly kind: "notRequested" }
  /** The answer comes later, to those who listen by `onAnswer`. */
  | { readonly kind: "pending" };
