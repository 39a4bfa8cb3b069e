import type { ExternalActor } from "../core/actor.ts";
import type { OperationContext } from "../core/operation-context.ts";
import type { FailureReason, SchemeResult } from "../core/scheme.ts";
import { Secret } from "../core/secret.ts";
import type { CredentialVerifier, Verified, VerifierResult } from "../verifiers/verifier.ts";
import { type HttpScheme, type OpenApiSecurityScheme, quoted } from "./http-scheme.ts";
import { authorizationCredentials, type HttpRequest } from "./request.ts";

/** More than the longest user name and password, in characters of base64. */
const MAX_CREDENTIALS_LENGTH = 4_096;

/** Configuration of {@link BasicScheme}. */
export interface BasicOptions {
  /** Whoever knows the passwords. */
  readonly verifier: CredentialVerifier;
  /** Who that is here; `undefined` refuses a user whom the provider knows. Default: a user of the same id and roles. */
  readonly actorOf?: (
    ctx: OperationContext,
    verified: Verified,
  ) => ExternalActor | undefined | Promise<ExternalActor | undefined>;
}

/** User name and password by `Authorization: Basic` (RFC 7617, in UTF-8), proven by a {@link CredentialVerifier}. */
export class BasicScheme implements HttpScheme {
  readonly name = "basic";
  readonly openApi: Readonly<Record<string, OpenApiSecurityScheme>> = {
    basic: { type: "http", scheme: "basic", description: "User name and password." },
  };
  readonly #verifier: CredentialVerifier;
  readonly #actorOf: NonNullable<BasicOptions["actorOf"]>;

  constructor(options: BasicOptions) {
    this.#verifier = options.verifier;
    this.#actorOf = options.actorOf ?? ((_ctx, verified) => userOf(verified));
  }

  async authenticate(ctx: OperationContext, request: HttpRequest): Promise<SchemeResult> {
    const credentials = authorizationCredentials(request, "basic");
    if (credentials === undefined) return { kind: "notRequested" };
    const parsed = parseBasic(credentials);
    if (typeof parsed === "string") return { kind: "failed", reason: { kind: "badFormat", detail: parsed } };
    const result = await this.#verifier.verify(ctx, { ...parsed, signal: ctx.signal });
    if (result.kind === "rejected") return { kind: "failed", reason: rejectionReason(result, parsed.username) };
    if (result.kind === "unavailable") {
      return { kind: "unavailable", cause: result.cause, attemptedActor: parsed.username };
    }
    const actor = await this.#actorOf(ctx, result);
    if (actor === undefined) {
      const reason: FailureReason = { kind: "unknownActor", attemptedActor: parsed.username, note: "not a user here" };
      return { kind: "failed", reason };
    }
    const { expiresAtUnixMs } = result;
    return { kind: "authenticated", actor, details: expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs } };
  }

  claimedUser(request: HttpRequest): string | undefined {
    const credentials = authorizationCredentials(request, "basic");
    const parsed = credentials === undefined ? "" : parseBasic(credentials);
    if (typeof parsed === "string") return undefined;
    return this.#verifier.normalizeUsername?.(parsed.username) ?? parsed.username;
  }

  challenges(realm: string): readonly string[] {
    return [`Basic realm=${quoted(realm)}, charset="UTF-8"`];
  }
}

/** What is wrong with a rejected user, as every scheme that asks a verifier says it. */
export function rejectionReason(
  { reason, detail }: Extract<VerifierResult, { kind: "rejected" }>,
  attemptedActor: string,
): FailureReason {
  return {
    kind: reason === "unknownUser" ? "unknownActor" : "badCredentials",
    attemptedActor,
    ...(reason === "locked" ? { note: detail ?? "locked" } : detail === undefined ? {} : { note: detail }),
  };
}

function userOf({ subject, displayName, roles }: Verified): ExternalActor {
  return { kind: "user", id: subject, ...(displayName === undefined ? {} : { name: displayName }), roles };
}

/** RFC 7617 §2: base64 of user-id, colon, password, neither with control characters. A text says what is wrong. */
function parseBasic(credentials: string): { readonly username: string; readonly password: Secret } | string {
  if (credentials.length > MAX_CREDENTIALS_LENGTH) return "the Basic credentials are too long";
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(credentials)) return "the Basic credentials are not base64";
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(credentials, "base64"));
  } catch {
    return "the Basic credentials are not UTF-8";
  }
  const colon = text.indexOf(":");
  if (colon === -1) return "the Basic credentials have no colon after the user name";
  if (/\p{Cc}/u.test(text)) return "the Basic credentials hold a control character";
  // RFC 7617 §2.1 has both normalised to form C.
  return {
    username: text.slice(0, colon).normalize("NFC"),
    password: new Secret(text.slice(colon + 1).normalize("NFC")),
  };
}
