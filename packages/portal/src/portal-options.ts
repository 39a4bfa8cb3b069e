import type { AddressInfo } from "node:net";
import type {
  Clock,
  CredentialCache,
  CredentialVerifier,
  HttpScheme,
  Logger,
  OperationContext,
  Penalties,
} from "@turnpike/authn";
import type { PortalIssuer, PortalSignatureKey } from "./access/named-schemes.ts";
import type { RegisteredRoute } from "./http/access.ts";
import type { Minted } from "./minter.ts";
import type { Services } from "./services.ts";
import type { PortalTelemetryOptions } from "./telemetry/portal-telemetry.ts";

/** A scheme for the API, by its name in the configuration, or one that was made elsewhere. */
export type PortalScheme = "session-cookie" | "access-token" | "basic" | "bearer" | "http-signature" | HttpScheme;

/** What {@link startPortal} takes. */
export interface PortalOptions {
  /** `postgres://…`, the path of a SQLite file, or `:memory:`. */
  readonly store: string;
  /** `ADDRESS:PORT`, `[ADDRESS]:PORT`; port 0 finds a free one. Default `127.0.0.1:8080`. */
  readonly listen?: string;
  /** `redis://…` that portals of one fleet share. Default: this portal is the only one. */
  readonly fleet?: string;
  /** How browsers reach it. Default: from `listen`, by http. */
  readonly publicUrl?: string;
  /** Of the API, in order of precedence. Default: `session-cookie`, `access-token`. */
  readonly schemes?: readonly PortalScheme[];
  /** Passwords that somebody else knows, for signing in and for the scheme `basic`. */
  readonly verifier?: CredentialVerifier;
  /** For the scheme `bearer`. */
  readonly issuers?: readonly PortalIssuer[];
  /** For the scheme `http-signature`. Each portal remembers for itself which nonces it has seen. */
  readonly signatureKeys?: readonly PortalSignatureKey[];
  /** What is before them, for `/v1/external-auth/cache`. */
  readonly cache?: CredentialCache;
  /** Whose forwarding fields are believed: addresses or prefixes. Default: nobody's. */
  readonly trustProxy?: readonly string[];
  /** Requests that one network may make in a minute. Default 600. */
  readonly requestsPerMinute?: number;
  /** How long a credential can last, in seconds. Default a week. */
  readonly maxTtlSeconds?: number;
  /** How many relays a client is given. Default 2. */
  readonly relaysPerClient?: number;
  /** How many allocations a user may have at once who isn't told otherwise. Default: no limit. */
  readonly defaultMaxAllocations?: number;
  /** Regions by address prefix: `{ "192.0.2.0/24": "eu-west" }`. */
  readonly regions?: Readonly<Record<string, string>>;
  /** How many days an entry of the audit log is kept; 0: for ever. Default 365. */
  readonly auditDays?: number;
  readonly penalties?: Penalties;
  /** Where metrics and traces go. Default: nowhere. */
  readonly telemetry?: PortalTelemetryOptions;
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Of the program, for the OpenAPI document. */
  readonly version?: string;
}

/** What the first start makes: to be shown once. */
export interface FirstStart {
  /** `tp_…` of the administrator. */
  readonly token: string;
  /** Signs the administrator in once, within an hour. */
  readonly signInUrl: string;
}

/** A running portal. */
export interface Portal {
  readonly url: string;
  readonly address: AddressInfo;
  readonly services: Services;
  readonly routes: readonly RegisteredRoute[];
  /** Present if this was the first start of its store. */
  readonly firstStart?: FirstStart;
  /** The OpenAPI document. */
  openApi(): unknown;
  /**
   * Registers a relay of that name if there is none, and makes a token that it links with: `tr_…`. `replace`: its other
   * tokens are good no more.
   */
  createRelayToken(ctx: OperationContext, name: string, options?: { readonly replace?: boolean }): Promise<string>;
  /** Mints as `POST /v1/credentials`, as soon as a relay with these URLs has told of itself. */
  mintFor(ctx: OperationContext, request: { readonly user: string; readonly urls: readonly string[] }): Promise<Minted>;
  /** A link that signs the user in once, within an hour. @throws NotFoundError if there is none, or a disabled one */
  createSignInUrl(ctx: OperationContext, userId: string): Promise<string>;
  /** Answers what is under way, lets the relays go, and closes the store. */
  stop(): Promise<void>;
}
