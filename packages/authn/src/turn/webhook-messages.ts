import type { PasswordAlgorithm, TurnRequest } from "./request.ts";

/** What a webhook is asked. JSON as it stands here is the body of the HTTP call. */
export interface WebhookQuestion {
  readonly version: 1;
  readonly method: TurnRequest["method"];
  readonly realm: string;
  readonly username?: string;
  /** Hexadecimal; instead of `username` (RFC 8489 §14.4). */
  readonly userhash?: string;
  /** Which kind of key the request was made with. */
  readonly passwordAlgorithm: PasswordAlgorithm;
  readonly clientAddress: string;
  readonly transport: TurnRequest["transport"];
}

/** What a webhook says of a user: the key or the password, a refusal, or that it doesn't know the user. */
export type WebhookAnswer =
  | {
      readonly result: "allow";
      /** Hexadecimal: the key of the algorithm that was asked for, 32 or 64 digits. Give this or `password`. */
      readonly key?: string | undefined;
      readonly password?: string | undefined;
      /** Needed if `userhash` was asked. */
      readonly username?: string | undefined;
      /** Who that is, for quotas and events. Default: the user name. */
      readonly actor?: string | undefined;
      /** When the credential ends: seconds since 1970. Default: never. */
      readonly expiresAt?: number | undefined;
      /** Names the credential for revocation. Default: the user name. */
      readonly credentialId?: string | undefined;
      /** Links credentials that are revoked together. */
      readonly label?: string | undefined;
    }
  | { readonly result: "deny" }
  | { readonly result: "unknown" };
