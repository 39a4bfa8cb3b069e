import { createSecretKey, type KeyObject } from "node:crypto";
import type { ExternalActor } from "../core/actor.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import type { OperationContext } from "../core/operation-context.ts";
import type { FailureReason, SchemeResult } from "../core/scheme.ts";
import { type HttpScheme, type OpenApiSecurityScheme, quoted } from "./http-scheme.ts";
import {
  matchesContentDigest,
  type MessageSignature,
  parseSignatures,
  type SignatureAlgorithm,
  verifySignature,
} from "./message-signature.ts";
import { MemoryNonceStore, type NonceStore } from "./nonce-store.ts";
import { headerValue, type HttpRequest } from "./request.ts";

const SECOND_MS = 1_000;
const DEFAULT_WINDOW_SECONDS = 300;
const DEFAULT_SKEW_SECONDS = 30;
const MAX_SIGNATURES = 4;
const MIN_NONCE_LENGTH = 8;
const MAX_NONCE_LENGTH = 128;

/** A key that requests may be signed with. */
export interface SignatureKey {
  readonly algorithm: SignatureAlgorithm;
  /** The Ed25519 public key, or the shared secret. */
  readonly key: KeyObject;
  readonly actor: ExternalActor;
  /** Wall-clock milliseconds since 1970. */
  readonly expiresAtUnixMs?: number;
}

/** Configuration of {@link HttpSignatureScheme}. */
export interface HttpSignatureOptions {
  /** The key of this `keyid`, if there is one. */
  readonly findKey: (
    ctx: OperationContext,
    keyId: string,
  ) => SignatureKey | undefined | Promise<SignatureKey | undefined>;
  /** Fields that must be covered besides method, target and, if there is a body, its digest. Lower case. */
  readonly requiredFields?: readonly string[];
  /** How old a signature may be. Default 300. */
  readonly windowSeconds?: number;
  /** How far the signer's clock may be ahead. Default 30. */
  readonly skewSeconds?: number;
  /** Where nonces are remembered for the window. Default: in memory; several portals need a common one. */
  readonly nonces?: NonceStore;
  readonly clock?: Clock;
}

/**
 * HTTP Message Signatures (RFC 9421) by Ed25519 or HMAC-SHA-256. A signature has `created`, `keyid` and a `nonce` that
 * is good once, and covers `@method`, the target (`@target-uri`, or `@authority` with `@request-target` or `@path` and
 * `@query`) and, if there is a body, `content-digest`.
 */
export class HttpSignatureScheme implements HttpScheme {
  readonly name = "http-signature";
  readonly openApi: Readonly<Record<string, OpenApiSecurityScheme>> = {
    httpSignature: {
      type: "apiKey",
      in: "header",
      name: "Signature",
      description: "HTTP Message Signature (RFC 9421) with its `Signature-Input`: Ed25519 or HMAC-SHA-256.",
    },
  };
  readonly #options: HttpSignatureOptions;
  readonly #windowMs: number;
  readonly #skewMs: number;
  readonly #nonces: NonceStore;
  readonly #clock: Clock;

  /** @throws RangeError if a duration is negative or the window is empty */
  constructor(options: HttpSignatureOptions) {
    const { windowSeconds = DEFAULT_WINDOW_SECONDS, skewSeconds = DEFAULT_SKEW_SECONDS } = options;
    if (!(windowSeconds > 0 && skewSeconds >= 0)) {
      throw new RangeError("Cannot check signatures: windowSeconds must be more than 0, skewSeconds at least 0");
    }
    this.#options = options;
    this.#windowMs = windowSeconds * SECOND_MS;
    this.#skewMs = skewSeconds * SECOND_MS;
    this.#clock = options.clock ?? systemClock;
    this.#nonces = options.nonces ?? new MemoryNonceStore({ clock: this.#clock });
  }

  async authenticate(ctx: OperationContext, request: HttpRequest): Promise<SchemeResult> {
    const signatures = parseSignatures(request, { maxSignatures: MAX_SIGNATURES });
    if (typeof signatures === "string") return badFormat(signatures);
    const [signature, second] = signatures;
    if (signature === undefined) return { kind: "notRequested" };
    // Which of several speaks for the client would be for it to say, and nothing says it.
    if (second !== undefined) return badFormat("the request has more than one signature");
    const flaw = coverageFlaw(request, signature.components, this.#options.requiredFields ?? []);
    if (flaw !== undefined) return badFormat(flaw);
    const { keyid, created, nonce } = signature.parameters;
    if (keyid === undefined) return badFormat("the signature has no keyid");
    if (created === undefined) return badFormat("the signature has no created");
    if (nonce === undefined || nonce.length < MIN_NONCE_LENGTH || nonce.length > MAX_NONCE_LENGTH) {
      return badFormat(`the signature has no nonce of ${MIN_NONCE_LENGTH} to ${MAX_NONCE_LENGTH} characters`);
    }
    return this.#prove(ctx, { request, signature, keyid, nonce, createdUnixMs: created * SECOND_MS });
  }

  challenges(realm: string): readonly string[] {
    return [`Signature realm=${quoted(realm)}`];
  }

  async #prove(ctx: OperationContext, claim: Claim): Promise<SchemeResult> {
    const { request, signature, keyid, nonce, createdUnixMs } = claim;
    const key = await this.#options.findKey(ctx, keyid);
    const verified = verifySignature(signature, key ?? DECOY);
    if (key === undefined) return failed("unknownActor", keyid, "unknown keyid");
    const { alg, expires } = signature.parameters;
    if (alg !== undefined && alg !== key.algorithm) return failed("badCredentials", keyid, "alg is not the key's");
    if (!verified) return failed("badCredentials", keyid, "the signature doesn't verify");
    const nowUnixMs = this.#clock.unixMs();
    if (key.expiresAtUnixMs !== undefined && nowUnixMs >= key.expiresAtUnixMs) return failed("expired", keyid, "key");
    if (nowUnixMs - createdUnixMs >= this.#windowMs) return failed("expired", keyid, "signature is too old");
    if (expires !== undefined && nowUnixMs >= expires * SECOND_MS) return failed("expired", keyid, "signature");
    if (createdUnixMs - nowUnixMs > this.#skewMs) return failed("badCredentials", keyid, "created in the future");
    const digestFlaw = bodyFlaw(request);
    if (digestFlaw !== undefined) return digestFlaw;
    // Last, so that only who has the key can fill the store.
    const remembered = await this.#nonces.remember(ctx, {
      keyId: keyid,
      nonce,
      forMs: createdUnixMs + this.#windowMs - nowUnixMs,
    });
    if (remembered === "replayed") return failed("badCredentials", keyid, "replayed nonce");
    if (remembered === "full") {
      return { kind: "unavailable", cause: new Error("the nonces of this key fill the store"), attemptedActor: keyid };
    }
    return {
      kind: "authenticated",
      actor: key.actor,
      details: {
        credentialId: keyid,
        ...(key.expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs: key.expiresAtUnixMs }),
      },
    };
  }
}

interface Claim {
  readonly request: HttpRequest;
  readonly signature: MessageSignature;
  readonly keyid: string;
  readonly nonce: string;
  readonly createdUnixMs: number;
}

/** Checked in place of an unknown key, so that asking for one costs the same. */
const DECOY = { algorithm: "hmac-sha256", key: createSecretKey(Buffer.alloc(32)) } as const;

function badFormat(detail: string): SchemeResult {
  return { kind: "failed", reason: { kind: "badFormat", detail } };
}

function failed(
  kind: Exclude<FailureReason["kind"], "badFormat" | "forged">,
  attemptedActor: string,
  note: string,
): SchemeResult {
  return { kind: "failed", reason: { kind, attemptedActor, note } };
}

function coverageFlaw(
  request: HttpRequest,
  components: readonly string[],
  requiredFields: readonly string[],
): string | undefined {
  const covers = (name: string): boolean => components.includes(name);
  if (!covers("@method")) return 'the signature does not cover "@method"';
  const path = covers("@request-target") || (covers("@path") && covers("@query"));
  if (!covers("@target-uri") && !(covers("@authority") && path)) {
    return 'the signature does not cover the target: "@target-uri", or "@authority", "@path" and "@query"';
  }
  const required = hasBody(request) ? [...requiredFields, "content-digest"] : requiredFields;
  const missing = required.find((name) => !covers(name));
  return missing === undefined ? undefined : `the signature does not cover "${missing}"`;
}

function hasBody(request: HttpRequest): boolean {
  const length = headerValue(request, "content-length");
  const body = request.body !== undefined && request.body.length > 0;
  return body || (length !== undefined && length !== "0") || headerValue(request, "transfer-encoding") !== undefined;
}

function bodyFlaw(request: HttpRequest): SchemeResult | undefined {
  const field = headerValue(request, "content-digest");
  if (!hasBody(request) || field === undefined) return undefined;
  if (request.body === undefined) {
    const cause = new Error(
      "an HTTP signature covers the body: read it before authentication and hand it to the adapter",
    );
    return { kind: "unavailable", cause };
  }
  return matchesContentDigest(field, request.body) ? undefined : badFormat("Content-Digest is not that of the body");
}
