import type { ExternalActor } from "./actor.ts";
import type { OperationContext } from "./operation-context.ts";

/** The names of the schemes for HTTP requests, as configurations write them. */
export const HTTP_SCHEME_NAMES = [
  "session-cookie",
  "access-token",
  "http-signature",
  "basic",
  "bearer",
  "client-certificate",
  "spoof",
] as const;

/** The names of the schemes for TURN requests, as configurations write them. */
export const TURN_SCHEME_NAMES = ["portal", "static", "shared-secret", "oauth", "webhook"] as const;

export type HttpSchemeName = (typeof HTTP_SCHEME_NAMES)[number];
export type TurnSchemeName = (typeof TURN_SCHEME_NAMES)[number];
export type SchemeName = HttpSchemeName | TurnSchemeName;

/** The names of the schemes that were asked, in order. For logs and events; a client never sees it. */
export type SchemesTried = readonly SchemeName[];

/** What is known of a proven credential, besides whose it is. Schemes with more to say extend it. */
export interface Details {
  /** When the credential ends, in wall-clock milliseconds since 1970. */
  readonly expiresAtUnixMs?: number;
  /** Names the credential for revocation and the audit log. Never a secret. */
  readonly credentialId?: string;
}

/** Why a request that tried to authenticate did not. */
export type FailureReason =
  /** The credential can't be parsed. `detail` is told to the client: it says what is wrong with the form, no more. */
  | { readonly kind: "badFormat"; readonly detail: string }
  /** The credential is right, but another site may have had a browser send it. `detail` is told to the client. */
  | { readonly kind: "forged"; readonly detail: string; readonly attemptedActor: string }
  | {
      /** `unknownActor`, `badCredentials` and `expired` look the same to the client, to the byte. */
      readonly kind: "unknownActor" | "badCredentials" | "expired";
      /** Who it claimed to be, if it said. For logs and events only. */
      readonly attemptedActor?: string;
      /** What exactly was wrong, such as `locked` or `replayed`. For logs and events only; never a secret. */
      readonly note?: string;
    };

/** What a scheme says of a request. */
export type SchemeResult<D extends Details = Details> =
  | {
      /** The request carries nothing for this scheme: the next one is asked. */
      readonly kind: "notRequested";
      /**
       * Set if it carries something of this scheme's form that didn't verify, where the form isn't this scheme's alone:
       * a later scheme may own it. If none does, the first such reason is the failure, `unknownActor` only if there is no
       * other.
       */
      readonly unproven?: FailureReason;
    }
  | { readonly kind: "authenticated"; readonly actor: ExternalActor; readonly details: D }
  /** The request is this scheme's, and wrong: no other scheme is asked. */
  | { readonly kind: "failed"; readonly reason: FailureReason }
  /** Whoever could tell can't be reached: neither right nor wrong (HTTP 503, STUN 500), and no other scheme is asked. */
  | { readonly kind: "unavailable"; readonly cause: unknown; readonly attemptedActor?: string };

/**
 * One way to find out who is asking. It looks at the request for its own kind of credential and nothing else.
 * It may answer at once or later; what it throws counts as `unavailable`.
 */
export interface Scheme<Request, D extends Details = Details> {
  readonly name: SchemeName;
  /** `ctx` is the authenticator's own context, for stores and verifiers: it carries the request id and the logger. */
  authenticate(ctx: OperationContext, request: Request): SchemeResult<D> | Promise<SchemeResult<D>>;
}
