import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Duplex } from "node:stream";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { encodeBase32 } from "./base32.ts";
import { createSelfSigned } from "./certificate.ts";
import { reasonOf } from "./clock.ts";
import { HeldCarrier } from "./held-carrier.ts";
import { guardStream } from "./network.ts";
import { createSecretFile, readSecretFile } from "./secret-file.ts";
import { keyDigestOf } from "./tls-client.ts";
import { endOutsideReads } from "./tls-end.ts";

export { SecretFileError } from "./secret-file.ts";

/** The key that a reference names, and the TLS that proves it. Printing it shows the public part only. */
export class Identity {
  /** SHA-256 of the public key (SubjectPublicKeyInfo, DER): 32 bytes. */
  readonly keyDigest: Uint8Array;
  /** The certificate, PEM. */
  readonly certificate: string;
  readonly #privateKey: string;
  readonly #context: SecureContext;

  /** @throws TypeError if key and certificate cannot be read or do not belong together. */
  constructor(pem: { readonly privateKey: string; readonly certificate: string }) {
    const certificate = new X509Certificate(pem.certificate);
    if (!certificate.checkPrivateKey(createPrivateKey(pem.privateKey))) {
      throw new TypeError("The private key of the identity does not belong to its certificate");
    }
    this.keyDigest = keyDigestOf(certificate);
    this.certificate = certificate.toString();
    this.#privateKey = pem.privateKey;
    this.#context = createSecureContext({ cert: pem.certificate, key: pem.privateKey, minVersion: "TLSv1.3" });
  }

  /** Key and certificate for a TLS server of one's own, PEM. */
  tlsOptions(): { readonly key: string; readonly cert: string } {
    return { key: this.#privateKey, cert: this.certificate };
  }

  /**
   * Proves this identity to the peer on `stream`: TLS 1.3 as the server. Resolves when the handshake is done; closes the
   * stream if it fails or `signal` is aborted.
   */
  accept(stream: Duplex, options: { readonly signal: AbortSignal }): Promise<Duplex> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      const carrier = new HeldCarrier(stream);
      const socket = new TLSSocket(carrier, { isServer: true, secureContext: this.#context, requestCert: false });
      carrier.watch(socket);
      const fail = (error: Error): void => {
        signal.removeEventListener("abort", onAbort);
        socket.destroy();
        carrier.destroy();
        reject(error);
      };
      const onAbort = (): void => fail(reasonOf(signal));
      const onClose = (): void => fail(new Error("The peer closed the connection during the TLS handshake"));
      guardStream(socket);
      socket.once("error", fail);
      socket.once("close", onClose);
      socket.once("secure", () => {
        signal.removeEventListener("abort", onAbort);
        socket.removeListener("error", fail);
        socket.removeListener("close", onClose);
        resolve(endOutsideReads(socket));
      });
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** The public part: what a reference spells. */
  toJSON(): string {
    return encodeBase32(this.keyDigest);
  }
}

/** Makes a new identity, in memory only. */
export function createIdentity(): Identity {
  return new Identity(createSelfSigned());
}

/**
 * The identity in a file (PEM: key, then certificate), made at the first start with mode 0600.
 *
 * @throws SecretFileError if others may read the file.
 */
export async function loadIdentity(options: { readonly file: string }): Promise<Identity> {
  const existing = await readSecretFile(options.file);
  if (existing !== undefined) return readIdentity(existing, options.file);
  const { privateKey, certificate } = createSelfSigned();
  await createSecretFile(options.file, `${privateKey}${certificate}`);
  const written = await readSecretFile(options.file);
  return readIdentity(written ?? "", options.file);
}

function readIdentity(pem: string, file: string): Identity {
  const block = (label: string): string => {
    const begin = pem.indexOf(`-----BEGIN ${label}-----`);
    const end = pem.indexOf(`-----END ${label}-----`);
    if (begin < 0 || end < begin) throw new TypeError(`Cannot read the identity ${file}: it holds no ${label}`);
    return `${pem.slice(begin, end)}-----END ${label}-----\n`;
  };
  return new Identity({ privateKey: block("PRIVATE KEY"), certificate: block("CERTIFICATE") });
}
