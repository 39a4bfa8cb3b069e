import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from "node:crypto";

/** The common name that every certificate carries: it tells nothing apart. */
const subject = "turnpike";

/** A key and a certificate that it signed itself, both PEM. */
export interface SelfSigned {
  readonly privateKey: string;
  readonly certificate: string;
}

/**
 * Makes an Ed25519 key and a self-signed certificate around it (RFC 5280, RFC 8410). The certificate is only an envelope
 * for the key: it says no name that matters, and never expires, which RFC 5280 §4.1.2.5 writes as the year 9999.
 */
export function createSelfSigned(): SelfSigned {
  const pair = generateKeyPairSync("ed25519", {
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  const publicKey = createPublicKey(pair.publicKey).export({ type: "spki", format: "der" });
  const privateKey = createPrivateKey(pair.privateKey);
  const ed25519 = sequence(Buffer.from([0x06, 0x03, 0x2b, 0x65, 0x70]));
  const commonName = sequence(Buffer.from([0x06, 0x03, 0x55, 0x04, 0x03]), element(0x0c, Buffer.from(subject)));
  const name = sequence(element(0x31, commonName));
  const validity = sequence(element(0x17, Buffer.from("700101000000Z")), element(0x18, Buffer.from("99991231235959Z")));
  // A positive serial number of 16 bytes (RFC 5280 §4.1.2.2).
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const version3 = element(0xa0, element(0x02, Buffer.from([2])));
  const body = sequence(version3, element(0x02, serial), ed25519, name, validity, name, publicKey);
  const signature = element(0x03, Buffer.concat([Buffer.from([0]), sign(null, body, privateKey)]));
  const certificate = sequence(body, ed25519, signature);
  const lines = certificate.toString("base64").match(/.{1,64}/gu) ?? [];
  return {
    privateKey: pair.privateKey,
    certificate: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
  };
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return element(0x30, Buffer.concat(parts));
}

/** A DER element: tag, length in its shortest form (X.690 §10.1), content. */
function element(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >>> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
