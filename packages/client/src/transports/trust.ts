import { createHash, timingSafeEqual, X509Certificate } from "node:crypto";
import { TurnClientError } from "../errors.ts";

/**
 * PEM certificates to trust, each perhaps several.
 *
 * @throws TypeError if there is none in one of them: TLS would trust nobody, and say so of the server.
 */
export function readAuthorities(ca: string | readonly string[]): string[] {
  const pems = [ca].flat();
  if (pems.length === 0) throw new TypeError("Cannot use ca: there is no certificate in it");
  if (!pems.every((pem) => beginsWithCertificate(pem))) {
    throw new TypeError("Cannot use ca: expected certificates as PEM (-----BEGIN CERTIFICATE-----)");
  }
  return pems;
}

function beginsWithCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

/** A pin's digest. @throws TypeError if it is none. */
export function readPin(pin: string): Buffer {
  const bytes = Buffer.from(pin.replace(/^sha256\//u, ""), "base64");
  if (bytes.length !== 32) throw new TypeError(`Cannot use pin ${JSON.stringify(pin)}: expected SHA-256 in Base64`);
  return bytes;
}

/** Whether a certificate has one of the keys. */
export function isPinned(certificate: X509Certificate | undefined, pins: readonly Buffer[]): boolean {
  if (certificate === undefined) return false;
  const spki = certificate.publicKey.export({ type: "spki", format: "der" });
  const actual = createHash("sha256").update(spki).digest();
  return pins.some((pin) => timingSafeEqual(pin, actual));
}

/** What a server is turned down with that has none of the keys. */
export function notPinned(serverName: string): TurnClientError {
  return new TurnClientError("certificateRejected", `Cannot trust ${serverName}: its key is none of the pinned ones`);
}
