import type { ExternalActor } from "../core/actor.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import type { OperationContext } from "../core/operation-context.ts";
import type { SchemeResult } from "../core/scheme.ts";
import type { HttpScheme, OpenApiSecurityScheme } from "./http-scheme.ts";
import type { ClientCertificate, HttpRequest } from "./request.ts";

/** Configuration of {@link ClientCertificateScheme}. */
export interface ClientCertificateOptions {
  /** Whose certificate this is; `undefined` if nobody's. It was issued by an authority that the listener trusts. */
  readonly actorOf: (
    ctx: OperationContext,
    certificate: ClientCertificate,
  ) => ExternalActor | undefined | Promise<ExternalActor | undefined>;
  readonly clock?: Clock;
}

/**
 * The certificate of the TLS handshake. The listener asks for one (`requestCert`) and knows the authorities (`ca`); with
 * `rejectUnauthorized: false` a client without one can use another scheme, and one with a bad one fails here.
 */
export class ClientCertificateScheme implements HttpScheme {
  readonly name = "client-certificate";
  readonly openApi: Readonly<Record<string, OpenApiSecurityScheme>> = {
    clientCertificate: { type: "mutualTLS", description: "Client certificate of the TLS connection." },
  };
  readonly #actorOf: ClientCertificateOptions["actorOf"];
  readonly #clock: Clock;

  constructor(options: ClientCertificateOptions) {
    this.#actorOf = options.actorOf;
    this.#clock = options.clock ?? systemClock;
  }

  async authenticate(ctx: OperationContext, { clientCertificate }: HttpRequest): Promise<SchemeResult> {
    if (clientCertificate === undefined) return { kind: "notRequested" };
    const { commonName, fingerprintSha256, validToUnixMs } = clientCertificate;
    const attemptedActor = commonName ?? fingerprintSha256;
    if (!clientCertificate.authorized) {
      const note = clientCertificate.authorizationError ?? "the certificate isn't trusted";
      return { kind: "failed", reason: { kind: "badCredentials", attemptedActor, note } };
    }
    // A connection may outlive the certificate that opened it.
    if (this.#clock.unixMs() >= validToUnixMs) return { kind: "failed", reason: { kind: "expired", attemptedActor } };
    const actor = await this.#actorOf(ctx, clientCertificate);
    if (actor === undefined) return { kind: "failed", reason: { kind: "unknownActor", attemptedActor } };
    return {
      kind: "authenticated",
      actor,
      details: { credentialId: `sha256:${fingerprintSha256}`, expiresAtUnixMs: validToUnixMs },
    };
  }

  /** TLS asks for certificates, HTTP has no challenge for it. */
  challenges(): readonly string[] {
    return [];
  }
}
