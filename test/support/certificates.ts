import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";
import { ipBytes, parseIpAddress } from "@turnpike/stun";

/** A key and its certificate, both PEM. */
export interface TestCertificate {
  readonly key: string;
  readonly cert: string;
  /** SHA-256 of the public key, as a pin. */
  readonly spki: Buffer;
}

/** A certificate authority that lives as long as a test. */
export class TestAuthority {
  readonly #pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  /** The authority's own certificate, PEM: what clients trust. */
  readonly ca: string;

  constructor() {
    const extensions = [extension("551d13", true, sequence(element(0x01, Buffer.from([0xff]))))];
    this.ca = pem("CERTIFICATE", certificate("Test CA", this.#pair.publicKey, this.#pair.privateKey, extensions));
  }

  /** A certificate for DNS names and IP addresses (RFC 5280 §4.2.1.6). */
  issue(names: readonly string[]): TestCertificate {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const alternatives = names.map((name) => {
      const ip = parseIpAddress(name);
      return ip === undefined ? element(0x82, Buffer.from(name)) : element(0x87, ipBytes(ip));
    });
    const extensions = [extension("551d11", false, sequence(...alternatives))];
    const der = certificate("leaf", publicKey, this.#pair.privateKey, extensions);
    return {
      key: privateKey.export({ type: "pkcs8", format: "pem" }),
      cert: pem("CERTIFICATE", der),
      spki: publicKey.export({ type: "spki", format: "der" }),
    };
  }
}

function certificate(subject: string, publicKey: KeyObject, signer: KeyObject, extensions: readonly Buffer[]): Buffer {
  const name = (text: string): Buffer =>
    sequence(element(0x31, sequence(oid("550403"), element(0x0c, Buffer.from(text)))));
  const algorithm = sequence(oid("2a8648ce3d040302"));
  const validity = sequence(element(0x17, Buffer.from("200101000000Z")), element(0x18, Buffer.from("99991231235959Z")));
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  const body = sequence(
    element(0xa0, element(0x02, Buffer.from([2]))),
    element(0x02, serial),
    algorithm,
    name("Test CA"),
    validity,
    name(subject),
    createPublicKey(publicKey.export({ type: "spki", format: "pem" })).export({ type: "spki", format: "der" }),
    element(0xa3, sequence(...extensions)),
  );
  const key = createPrivateKey(signer.export({ type: "pkcs8", format: "pem" }));
  const signature = sign("sha256", body, key);
  return sequence(body, algorithm, element(0x03, Buffer.concat([Buffer.from([0]), signature])));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  const parts = [oid(id), ...(critical ? [element(0x01, Buffer.from([0xff]))] : []), element(0x04, value)];
  return sequence(...parts);
}

function oid(hex: string): Buffer {
  return element(0x06, Buffer.from(hex, "hex"));
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

function pem(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/gu) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
