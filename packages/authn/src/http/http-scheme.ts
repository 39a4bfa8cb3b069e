import type { Details, FailureReason, HttpSchemeName, Scheme } from "../core/scheme.ts";
import type { HttpRequest } from "./request.ts";

/** A security scheme object of OpenAPI 3.1 (§4.8.27), as far as these schemes need it. */
export type OpenApiSecurityScheme =
  | { readonly type: "apiKey"; readonly in: "cookie" | "header"; readonly name: string; readonly description: string }
  | {
      readonly type: "http";
      readonly scheme: string;
      readonly bearerFormat?: string;
      readonly description: string;
    }
  | { readonly type: "openIdConnect"; readonly openIdConnectUrl: string; readonly description: string }
  | { readonly type: "mutualTLS"; readonly description: string };

/** A {@link Scheme} for HTTP requests, with what clients are told of it. */
export interface HttpScheme<D extends Details = Details> extends Scheme<HttpRequest, D> {
  readonly name: HttpSchemeName;
  /** The challenges of `WWW-Authenticate` (RFC 9110 §11.6.1), if the scheme has any. */
  challenges(realm: string): readonly string[];
  /**
   * Whose secret the request tries, before anything is proven: penalties are counted by it. Absent, or `undefined`: a
   * failure has no penalty.
   */
  claimedUser?(request: HttpRequest): string | undefined;
  /** Further fields of a refusal by this scheme, such as the one that takes a dead cookie back. */
  rejectionHeaders?(request: HttpRequest, reason: FailureReason): Readonly<Record<string, string>>;
  /** Entries for `components.securitySchemes`, by name. */
  readonly openApi: Readonly<Record<string, OpenApiSecurityScheme>>;
}

/** A `quoted-string` of RFC 9110 §5.6.4. What can't stand in one is left out. */
export function quoted(text: string): string {
  return `"${text.replaceAll(/[^\t\u0020-\u007E]/g, "").replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}
