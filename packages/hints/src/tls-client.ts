import { createHash, timingSafeEqual, type X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
import { reasonOf } from "./clock.ts";
import type { PeerIdentity } from "./handler.ts";
import { HeldCarrier } from "./held-carrier.ts";
import { guardStream } from "./network.ts";
import { endOutsideReads } from "./tls-end.ts";

/** The peer is not who it should be. Nothing was sent to it but the handshake. */
export class IdentityError extends Error {
  override readonly name = "IdentityError";
  readonly code: "wrong-key" | "wrong-name";

  constructor(code: IdentityError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What {@link startTls} needs. */
export interface StartTlsOptions {
  /** The host that the certificate must be valid for, unless a key is pinned. Absent: only the key counts. */
  readonly host?: string | undefined;
  readonly ca?: readonly string[] | undefined;
  readonly alpnProtocols?: readonly string[] | undefined;
  readonly identity?: PeerIdentity | undefined;
  /** Default TLSv1.2. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
  readonly signal: AbortSignal;
}

/**
 * Speaks TLS over an open stream, as the client. Resolves when the peer has proven who it is; until then not one byte of
 * the caller's is accepted, and a peer that fails the proof sees the stream end.
 *
 * @throws IdentityError
 */
export function startTls(stream: Duplex, options: StartTlsOptions): Promise<Duplex> {
  const { host, identity, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      stream.destroy();
      reject(reasonOf(signal));
      return;
    }
    const socket = connect({
      socket: stream,
      ...(host === undefined ? {} : { host, servername: isIP(host) === 0 ? host : "" }),
      ...(options.ca === undefined ? {} : { ca: [...options.ca] }),
      ...(options.alpnProtocols === undefined ? {} : { ALPNProtocols: [...options.alpnProtocols] }),
      minVersion: options.minVersion ?? "TLSv1.2",
      // Judged below, where a pinned key can stand in for a name; the proof of possession is TLS's own.
      rejectUnauthorized: false,
    });
    if (stream instanceof HeldCarrier) stream.watch(socket);
    const fail = (error: Error): void => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      stream.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(reasonOf(signal));
    const onClose = (): void => fail(new Error("The peer closed the connection during the TLS handshake"));
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", fail);
    socket.once("close", onClose);
    socket.once("secureConnect", () => {
      const problem = judge(socket, options);
      if (problem !== undefined) {
        fail(problem);
        return;
      }
      signal.removeEventListener("abort", onAbort);
      socket.removeListener("error", fail);
      socket.removeListener("close", onClose);
      resolve(guardStream(endOutsideReads(socket)));
    });
    if (identity === undefined && host === undefined) fail(new TypeError("TLS needs a host or a key to check"));
  });
}

/** SHA-256 of a certificate's public key (SubjectPublicKeyInfo, DER). */
export function keyDigestOf(certificate: X509Certificate): Uint8Array {
  return createHash("sha256")
    .update(certificate.publicKey.export({ type: "spki", format: "der" }))
    .digest();
}

function judge(socket: TLSSocket, options: StartTlsOptions): IdentityError | undefined {
  const { host, identity } = options;
  const certificate = socket.getPeerX509Certificate();
  if (identity !== undefined && certificate !== undefined) {
    if (timingSafeEqual(keyDigestOf(certificate), identity.keyDigest)) return undefined;
  }
  if (identity?.kind === "pin" || host === undefined) {
    return new IdentityError("wrong-key", "The peer has another key than the one that identifies it");
  }
  if (socket.authorized) return undefined;
  const error: unknown = socket.authorizationError;
  const why = error instanceof Error ? error.message : String(error);
  return new IdentityError("wrong-name", `The certificate does not prove that the peer is ${host}: ${why}`, {
    cause: error,
  });
}
